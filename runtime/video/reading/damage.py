"""What was wrong with a film on the way: counted, placed in time, and said in a line."""

from __future__ import annotations

from dataclasses import dataclass, field

_NEAR = 1.0
"""Seconds within which faults are one place."""
_NAMED = 5


@dataclass(frozen=True)
class Place:
    """A place in a film where something is wrong.

    Attributes:
        kind: `damaged` (data that cannot be decoded), `gap` (no pictures for a while) or `silence` (no sound for a while).
        seconds: into the film.
        length: in seconds.
        count: packets or pictures.
    """

    kind: str
    seconds: float
    length: float = 0.0
    count: int = 1


@dataclass
class Damage:
    """Collects places; faults close to each other are one."""

    places: list[Place] = field(default_factory=list)

    def note(self, kind: str, seconds: float, length: float = 0.0) -> None:
        """Something is wrong at a time."""
        for number in range(len(self.places) - 1, max(len(self.places) - 4, -1), -1):
            last = self.places[number]
            if last.kind == kind and abs(seconds - last.seconds - last.length) <= _NEAR:
                whole = max(last.length, seconds + length - last.seconds)
                self.places[number] = Place(kind, last.seconds, whole, last.count + 1)
                return
        self.places.append(Place(kind, max(seconds, 0.0), length))

    @property
    def damaged(self) -> bool:
        """Whether data was found that cannot be decoded."""
        return any(place.kind == "damaged" for place in self.places)

    def lines(self, name: str) -> tuple[str, ...]:
        """What to tell the user, one line for each kind.

        Args:
            name: of the film.
        """
        return tuple(line for line in (self._broken(name), self._gaps(name), self._silence(name)) if line)

    def _broken(self, name: str) -> str:
        found = self._of("damaged")
        if not found:
            return ""
        return f"{name}: damaged at {_times(found)}; the last good picture stands there, and everything keeps its time"

    def _gaps(self, name: str) -> str:
        found = self._of("gap")
        why = "lost to the damage" if self.damaged else "a pause, or pictures that were lost"
        return (
            f"{name}: no pictures for {_lengths(found)} ({why}); the one before stands still" if found else ""
        )

    def _silence(self, name: str) -> str:
        found = self._of("silence")
        return f"{name}: no sound for {_lengths(found)}: damaged, or a pause" if found else ""

    def _of(self, kind: str) -> list[Place]:
        return [place for place in self.places if place.kind == kind]


def _times(places: list[Place]) -> str:
    named = ", ".join(f"{place.seconds:.2f} s" for place in places[:_NAMED])
    return named + (f" and {len(places) - _NAMED} more places" if len(places) > _NAMED else "")


def _lengths(places: list[Place]) -> str:
    named = ", ".join(f"{place.length:.2f} s at {place.seconds:.2f} s" for place in places[:_NAMED])
    return named + (f" and {len(places) - _NAMED} more times" if len(places) > _NAMED else "")
