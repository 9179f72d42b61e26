"""Films that several workers make: who does what, what is done again elsewhere, and what became of each film.

    look a film over -> make its spans, in any order -> join them

Workers are processes here (`local_crew`) or anything that takes tasks and may die at any time. What a worker began when it died is given to
another one, a bounded number of times. All that is whole lies beside the results (`writing/span_parts`), so nothing hangs on who made it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeflow.ir.errors import BackendError, EdgeflowError
from edgeflow.runtime.video.films import Job
from edgeflow.runtime.video.making import Maker
from edgeflow.runtime.video.spans import Span
from edgeflow.runtime.video.writing.span_parts import Plan, SpanParts

TRIES = 3
"""Workers that may die at a task before it is given up."""


@dataclass(frozen=True)
class Task:
    """What one worker does: looks a film over (no plan yet), makes a span of it, or joins its pieces (all are whole).

    Attributes:
        kind: `look`, `make` or `join`.
        job: the film.
        span: that is made.
    """

    kind: str
    job: Job
    span: Span | None = None

    def __str__(self) -> str:
        if self.span is None:
            return {"look": "looking it over", "join": "joining its pieces"}[self.kind]
        end = "its end" if self.span.end is None else f"frame {self.span.end - 1}"
        return f"piece {self.span.number} (frame {self.span.first} to {end})"


@dataclass(frozen=True)
class Said:
    """What became of a task.

    Attributes:
        result: of the task.
        fault: why there is none, in a line; empty if there is.
        again: whether another worker may do it: this one died, or had no memory for it.
    """

    result: Any = None
    fault: str = ""
    again: bool = False


class Crew(Protocol):
    """Workers, by numbers from 0. One that dies is replaced by another of the same number."""

    @property
    def size(self) -> int:
        """How many there are."""

    def give(self, worker: int, task: Task) -> None:
        """Have an idle worker do a task."""

    def wait(self) -> tuple[int, Said]:
        """Wait until a worker is done, or dead: its number, and what became of its task."""


def performed(maker: Maker, task: Task) -> Said:
    """Do a task; whatever goes wrong is said."""
    try:
        return Said(_perform(maker, task))
    except MemoryError:
        return Said(fault="out of memory", again=True)
    except BackendError as error:
        return Said(fault=_line(error), again=isinstance(error.__cause__, MemoryError))
    except (EdgeflowError, OSError) as error:
        return Said(fault=_line(error))
    except Exception as error:  # ours to mend; other films can be made
        return Said(fault=f"{type(error).__name__}: {_line(error)} (a fault of edgeflow, please report it)")


def _perform(maker: Maker, task: Task) -> Any:
    if task.kind == "look":
        return maker.look(task.job)
    if task.span is not None:
        return maker.make(task.job, task.span)
    return maker.join(task.job)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@dataclass
class Film:
    """What is known of a film that is being made.

    Attributes:
        job: from what to what.
        plan: its spans, once it was looked over.
        kept: pieces that earlier runs made.
        made: pieces made now.
        left: numbers of the spans that are not made.
        written: pictures in its pieces.
        done: whether it is whole.
        failed: why it cannot be made; empty if it can.
        remarks: what the user should know, one line each.
    """

    job: Job
    plan: Plan | None = None
    kept: int = 0
    made: int = 0
    left: set[int] = field(default_factory=set)
    written: int = 0
    done: bool = False
    failed: str = ""
    remarks: tuple[str, ...] = ()


class Batch:
    """Has a crew make films.

    Args:
        jobs: the films, in the order in which they are begun.
        crew: that makes them.
        on_film: told when a film is done or failed.
        on_line: told what else there is to say, in a line.
        on_piece: told after each piece how many of those known are whole, and how many are known.

    Attributes:
        films: what became of each.
        again: tasks that were given to another worker.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        crew: Crew,
        on_film: Callable[[Film], None],
        on_line: Callable[[str], None],
        on_piece: Callable[[int, int], None],
    ) -> None:
        self.films = {job: Film(job) for job in jobs}
        self.again = 0
        self._crew = crew
        self._on_film, self._on_line, self._on_piece = on_film, on_line, on_piece
        self._waiting = deque(Task("look", job) for job in jobs)
        self._busy: dict[int, Task] = {}
        self._deaths: Counter[Task] = Counter()
        self._died_at: dict[Task, int] = {}

    def run(self) -> None:
        """Make all of them."""
        while self._waiting or self._busy:
            for worker in range(self._crew.size):
                if worker not in self._busy and (task := self._next(worker)) is not None:
                    self._busy[worker] = task
                    self._crew.give(worker, task)
            worker, said = self._crew.wait()
            task = self._busy.pop(worker)
            if said.again:
                self._fell(worker, task, said.fault)
            elif said.fault:
                self._fail(self.films[task.job], said.fault)
            else:
                self._ended(task, said.result)

    def _next(self, worker: int) -> Task | None:
        """The first task that did not kill this worker before; that one, too, where no other could do it."""
        for task in self._waiting:
            if self._died_at.get(task) != worker or self._crew.size == 1:
                self._waiting.remove(task)
                return task
        return self._waiting.popleft() if self._waiting and not self._busy else None

    def _fell(self, worker: int, task: Task, why: str) -> None:
        """A worker died at a task."""
        film = self.films[task.job]
        self._deaths[task] += 1
        if film.failed:
            return
        if self._deaths[task] >= TRIES:
            self._fail(film, f"{task}: {TRIES} workers failed at it, the last one with: {why}")
            return
        self._on_line(f"{task.job.source.name}: {task}: {why}; another worker does it")
        self.again += 1
        self._died_at[task] = worker
        self._waiting.appendleft(task)

    def _fail(self, film: Film, why: str) -> None:
        if film.failed:
            return
        film.failed = why
        self._waiting = deque(task for task in self._waiting if task.job != film.job)
        self._on_film(film)

    def _ended(self, task: Task, result: Any) -> None:
        film = self.films[task.job]
        if task.kind == "look":
            self._looked_over(film, result)
        elif task.kind == "make":
            assert task.span is not None
            film.made += 1
            film.written += result.written
            film.left.discard(task.span.number)
            self._count()
        else:
            film.done = True
            film.remarks += result
            self._on_film(film)
            return
        if not film.left and not film.failed:
            self._waiting.appendleft(Task("join", film.job))

    def _looked_over(self, film: Film, plan: Plan) -> None:
        """A film's spans are known: those that are not made come before all other films'."""
        whole = SpanParts(film.job.output).whole()
        film.plan, film.remarks = plan, plan.remarks
        left = [span for span in plan.spans if span.number not in whole]
        film.kept = len(plan.spans) - len(left)
        film.written = sum(piece.written for piece in whole.values())
        film.left = {span.number for span in left}
        begun = sum(task.kind == "make" for task in self._waiting)
        for place, span in enumerate(left):
            self._waiting.insert(begun + place, Task("make", film.job, span))
        self._count()

    def _count(self) -> None:
        films = [film for film in self.films.values() if film.plan and not film.failed]
        known = sum(len(film.plan.spans) for film in films if film.plan)
        self._on_piece(known - sum(len(film.left) for film in films), known)
