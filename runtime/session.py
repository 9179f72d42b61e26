"""A session: an open bundle that serves one stream of frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from edgeflow.ir.bundle import Bundle, open_bundle
from edgeflow.ir.errors import BackendError, InputError
from edgeflow.ir.interface import Interface, Tensor, held_shape
from edgeflow.ir.plan import Plan
from edgeflow.runtime.backends import Backend, open_backend
from edgeflow.runtime.checking.other_processor import prove_here
from edgeflow.runtime.device import device_of
from edgeflow.runtime.process_memory import check_maps, give_back
from edgeflow.runtime.stream.decisions import in_order
from edgeflow.runtime.stream.execute import Executor, Watch
from edgeflow.runtime.stream.loading import load_graphs, twins
from edgeflow.runtime.stream.policy import Own, Policy
from edgeflow.runtime.stream.room import check_room, no_room_now
from edgeflow.runtime.stream.rows import Array
from edgeflow.runtime.stream.trace import Result

KEPT_SIZES = 4
"""Frame sizes that a session keeps engines for; of more, the one that was used longest ago is let go."""


@dataclass(frozen=True)
class _Lanes:
    """What runs frames of one size: an executor for each frame in flight, and those that are idle."""

    executors: tuple[Executor, ...]
    idle: SimpleQueue[Executor] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        for executor in self.executors:
            self.idle.put(executor)

    @property
    def busy(self) -> bool:
        """Whether a frame is running."""
        return self.idle.qsize() < len(self.executors)

    def reset(self) -> None:
        """Forget all states."""
        for executor in self.executors:
            executor.reset()


class Session:
    """Runs a bundle, frame after frame, keeping its states.

    Engines are loaded when the first frame of a size comes, and kept for the last `KEPT_SIZES` sizes. A session is one stream: it
    serves one thread at a time, or as many as it has frames in flight. A frame of another size begins a new stream: states are
    forgotten. It may be used in a `with` block, which closes it.

    Args:
        bundle: an open bundle, or the path of one.
        policy: what to make of the model's decisions; its own by default.
        library: engine library; the target's by default.
        threads: CPU threads; all that the process may use by default.
        exact: images come out as (3, h, w) float32 before rounding, for comparisons.
        prove: where the processor is of another kind than the one that judged int8 engines at export, compare them
            with their goldens before the first frame, once (`other_processor.py`).
        in_flight: frames that may run at a time, each called for by a thread of its own. Two hide what a frame
            does not do on all threads; each takes working memory of its own. For models without states, on CPUs.
        watch: told after every run of an engine what it read and wrote, see `edgeflow.runtime.stream.execute.Watch`.

    Raises:
        BundleError: the bundle is damaged.
        BackendError: the engine library is missing.
        InputError: `bundle` is neither a bundle nor a path, `threads` is below 1, or the policy does not suit the model.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        *,
        policy: Policy | None = None,
        library: str | None = None,
        threads: int | None = None,
        exact: bool = False,
        prove: bool = True,
        in_flight: int = 1,
        watch: Watch | None = None,
    ) -> None:
        if policy is not None and not hasattr(policy, "choose"):
            raise InputError(f"a policy is one of edgeflow.runtime, such as Fixed(...), got {policy!r}")
        if threads is not None and threads < 1:
            raise InputError(
                f"engines run on a thread or more, got {threads}: leave threads out for all there are"
            )
        self.bundle = _opened(bundle)
        self.in_flight = in_flight
        name = library or self.bundle.manifest.target["library"]
        self.backend: Backend = open_backend(name, threads, lanes=in_flight)
        self.device = device_of(self.bundle, self.backend)
        self._policy = policy or Own()
        self._in_order = self.looks_back  # which also refuses a policy that the model does not suit
        self._exact, self._prove, self._watch = exact, prove, watch
        self._lanes: dict[tuple[int, int], _Lanes] = {}  # the last used stands last
        self._size: tuple[int, int] | None = None
        self._frames = 0
        self._closed = False
        self._preparing = Lock()
        self._process = os.getpid()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = f"{self._size[1]}x{self._size[0]} frames" if self._size else "no frame yet"
        state = "closed" if self._closed else size
        return f"<Session of {self.bundle.path} by {self.backend.name} {self.backend.version}, {self.backend.threads} threads, {state}>"

    def close(self) -> None:
        """Let go of the engines and their memory; a closed session runs no more frames."""
        with self._preparing:
            self._closed = True
            self._lanes.clear()
            self._size = None
        give_back()

    def __call__(self, *inputs: Array) -> Any:
        """Run one frame and return its output, or a tuple of them."""
        outputs = self.run(*inputs).outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, *inputs: Array) -> Result:
        """Run one frame.

        Args:
            inputs: images (h, w, 3) uint8, clips (t, h, w, 3) uint8, tensors float32 without batch dimension.

        Raises:
            InputError: an input's shape or type is wrong; as many threads as may be are running a frame, or one of another
                size; or the process was forked since the session was opened.
            BackendError: an engine cannot run, or what it makes is not finite; the stream is as it was before the frame.
        """
        with self._preparing:
            lanes = self._accept(inputs)
            self._frames = number = self._frames + 1
            try:
                executor = lanes.idle.get_nowait()
            except Empty:
                raise _busy() from None
        try:
            return executor.run(inputs)
        except BackendError as error:
            raise type(error)(f"frame {number} of this session: {error}") from error
        except MemoryError as error:
            raise BackendError(
                f"frame {number} of this session: {no_room_now(executor.plan, executor.size)}"
            ) from error
        finally:
            lanes.idle.put(executor)

    def _accept(self, inputs: tuple[Array, ...]) -> _Lanes:
        """Check a frame's inputs; what runs it. The first frame of a size has the engines loaded."""
        if self._closed:
            raise InputError("this session was closed: open another one")
        if os.getpid() != self._process:
            raise InputError(
                "this session was opened before the process forked, and its engines' threads did not come along: "
                "open the session in the process that runs it"
            )
        plans = self.bundle.manifest.plans
        plan = next(iter(plans.values()))
        frame = _given_size(plan.inputs, inputs)
        if frame != (0, 0):
            plan = select_plan(plans, *frame)
        check_inputs(plan.inputs, inputs)
        if self.bundle.manifest.task.timed:
            check_time(inputs[-1])
        if self._size is None:
            self.prepare(*frame)
        elif frame not in ((0, 0), self._size):
            self._turn_to(frame)
        assert self._size is not None
        return self._lanes[self._size]

    def _turn_to(self, size: tuple[int, int]) -> None:
        """Serve another size (height, width) from now on: as a new stream."""
        assert self._size is not None
        if self._lanes[self._size].busy:
            raise _busy()
        if size not in self._lanes:
            self.prepare(*size)
            return
        lanes = self._lanes[size] = self._lanes.pop(size)
        lanes.reset()
        self._size = size

    def prepare(
        self, height: int = 0, width: int = 0, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Load all engines for a frame size, in pixels (0 for models whose sizes are fixed).

        Raises:
            InputError: no plan is for this size, memory is too short for it, the model cannot do what the policy asks for, or its frames must
                run in order and several in flight were asked for.
            BackendError: the library refuses a graph, or computes it wrongly on this processor.
        """
        plan = select_plan(self.bundle.manifest.plans, height, width)
        size = declared_size(plan.inputs) or (height, width)
        if self._in_order and self.in_flight > 1:
            raise InputError(
                "this model looks back at earlier frames, so they run one after the other: leave in_flight at 1"
            )
        self._make_room(plan, size)
        if self._prove:
            prove_here(self.bundle, plan, self.backend)
        loaded = load_graphs(self.bundle, plan, self.backend, size, self._exact, progress)
        graphs = [loaded, *(twins(loaded) for _ in range(self.in_flight - 1))]
        self._lanes[size] = _Lanes(
            tuple(
                Executor(plan, own, self.backend.memory, self._policy, size, self._exact, self._watch)
                for own in graphs
            )
        )
        self._size = size

    def _make_room(self, plan: Plan, size: tuple[int, int]) -> None:
        """Let go of sizes that were not used for long, and of all others where memory is too short for this one beside them."""
        if self._lanes.pop(size, None) and size == self._size:
            self._size = None
        if len(self._lanes) >= KEPT_SIZES:
            self._lanes.pop(next(iter(self._lanes)))
            give_back()
        check_maps()
        try:
            check_room(plan, size)
        except InputError:
            if not self._lanes:
                raise
            self._lanes.clear()
            self._size = None
            give_back()
            check_room(plan, size)

    @property
    def looks_back(self) -> bool:
        """Whether a frame's outputs depend on earlier frames: by states, or by rules that remember."""
        return any([in_order(plan, self._policy) for plan in self.bundle.manifest.plans.values()])

    def reset(self) -> None:
        """Forget all states: a new stream, or a scene cut."""
        if self._size is not None:
            self._lanes[self._size].reset()

    @property
    def executor(self) -> Executor | None:
        """The loaded engines of the size that is served, once there are any."""
        return None if self._size is None else self._lanes[self._size].executors[0]


def _opened(bundle: object) -> Bundle:
    """The bundle that a session was given, open.

    Raises:
        InputError: it is neither a bundle nor a path.
        BundleError: as `open_bundle`.
    """
    if isinstance(bundle, Bundle):
        return bundle
    if isinstance(bundle, str | Path):
        return open_bundle(bundle)
    hint = ": give its `path`" if isinstance(getattr(bundle, "path", None), Path) else ""
    raise InputError(
        f"a session takes the path of a bundle, or what open_bundle returned, got {type(bundle).__name__}{hint}"
    )


def _busy() -> InputError:
    return InputError(
        "another thread is running a frame in this session: a session is one stream, open one per thread, "
        "or one with more frames in_flight"
    )


def select_plan(plans: Mapping[str, Plan], height: int, width: int) -> Plan:
    """The plan for a frame size.

    Raises:
        InputError: the bundle was exported for other sizes.
    """
    kinds = (f"{width}x{height}", "any", "portrait" if height > width else "landscape")
    for kind in kinds:
        if kind in plans:
            return plans[kind]
    raise InputError(
        f"this bundle is for {', '.join(plans)} frames, got {width}x{height}: "
        "resize the frames, or export a bundle for theirs (`edgeflow export --size` says if the model cannot take it)"
    )


def fitting_size(plans: Mapping[str, Plan], height: int, width: int) -> tuple[int, int]:
    """(height, width) that frames of a size have to be resized to: their own if a plan is for it.

    Of several fixed sizes, the one whose shape is nearest.
    """
    sizes = [size for plan in plans.values() if (size := declared_size(plan.inputs))]
    if not sizes or (height, width) in sizes:
        return height, width
    return min(sizes, key=lambda size: abs(log(size[1] / size[0] * height / width)))


def kept_size(plans: Mapping[str, Plan], height: int, width: int) -> tuple[int, int]:
    """(height, width) of frames that stay as they are, of a model that makes pictures between them.

    Raises:
        InputError: the bundle was exported for other sizes.
    """
    wanted = fitting_size(plans, height, width)
    if wanted != (height, width):
        raise InputError(
            f"the video is {width}x{height}, the bundle for {wanted[1]}x{wanted[0]}, and makes pictures between a film's own frames, which "
            f"stay as they are: give a video of that size, or make a bundle with --size {width}x{height}"
        )
    return wanted


def picture_size(bundle: Bundle, height: int, width: int) -> tuple[int, int]:
    """The (height, width) of the pictures that a bundle makes of frames of a size."""
    plans = bundle.manifest.plans
    sizes = {declared_size(plan.inputs): declared_size(plan.outputs) for plan in plans.values()}
    scale = next((made.scale for made in bundle.manifest.task.outputs if made.kind == "image"), 1.0)
    return sizes.get((height, width)) or (round(height * scale), round(width * scale))


def _given_size(specs: tuple[Interface, ...], inputs: tuple[Array, ...]) -> tuple[int, int]:
    """(height, width) of the first image given; (0, 0) if there is none."""
    for spec, array in zip(specs, inputs, strict=False):
        if spec.image and isinstance(array, np.ndarray) and array.ndim == len(spec.shape):
            return array.shape[-3], array.shape[-2]
    return 0, 0


def declared_size(specs: tuple[Interface, ...]) -> tuple[int, int] | None:
    """(height, width) of the first image whose size is fixed."""
    for spec in specs:
        if isinstance(spec, Tensor):
            continue
        if isinstance(spec.height, int) and isinstance(spec.width, int):
            return spec.height, spec.width
    return None


def check_time(time: Array) -> None:
    """Compare the time at which a picture is wanted with what lies between two frames.

    Raises:
        InputError: it is not from 0 to 1.
    """
    if not ((time >= 0) & (time <= 1)).all():  # NaN is not, either
        raise InputError(
            f"a picture is wanted at {time.item():g}: times go from 0, the first frame, to 1, the next one"
        )


def check_inputs(specs: tuple[Interface, ...], inputs: tuple[Array, ...]) -> dict[str, int]:
    """Compare inputs with what the program declares; returns the free dimensions.

    Raises:
        InputError: names the input, what was expected and what was given.
    """
    if len(inputs) != len(specs):
        raise InputError(
            f"the model takes {len(specs)} inputs ({', '.join(s.name for s in specs)}), got {len(inputs)}"
        )
    dims: dict[str, int] = {}
    for spec, array in zip(specs, inputs, strict=True):
        wanted = held_shape(spec.shape) if spec.image else spec.shape
        dtype = np.uint8 if spec.image else np.float32
        expected = f"{np.dtype(dtype).name} of shape ({', '.join(map(str, wanted))})"
        if not isinstance(array, np.ndarray):
            raise InputError(f"input {spec.name}: expected {expected}, got {type(array).__name__}")
        fits = len(wanted) == array.ndim and all(
            dims.setdefault(w, a) == a
            if isinstance(w, str) and w in ("height", "width")
            else isinstance(w, str) or w == a
            for w, a in zip(wanted, array.shape, strict=True)
        )
        if not fits or array.dtype != dtype or 0 in array.shape:
            raise InputError(
                f"input {spec.name}: expected {expected}, got {array.dtype.name} of shape {array.shape}"
                + (f"; the frame is {dims['width']}x{dims['height']}" if len(dims) == 2 else "")
            )
    return dims
