"""A run of the flow that keeps what every call read and made, and makes only what is asked for, once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

import torch

from edgeflow.flow.eager import EagerFlow, EagerValue
from edgeflow.flow.flow import NOTHING, leaves, rebuild
from edgeflow.flow.module import RoutedModule
from edgeflow.ir.program import FRAME
from edgeflow.ir.route import NEVER, Choice, Condition, Variable
from edgeflow.ir.rules import StreamContext

T = TypeVar("T")


class Memory:
    """What was made of tensors. They are known by identity, and are kept so that no other takes their place."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[Sequence[Any], Any]] = {}

    def once(self, what: Hashable, read: Sequence[torch.Tensor], make: Callable[[], T]) -> T:
        """What `make` made the first time that this was asked of these tensors."""
        key = (what, tuple(id(tensor) for tensor in read))
        if key not in self._made:
            self._made[key] = (read, make())
        made: T = self._made[key][1]
        return made


class OnDemand(Sequence[torch.Tensor | None]):
    """A tensor per region, each made when it is first read.

    Args:
        count: of regions.
        make: the tensor of one region; None where no call made one.
    """

    def __init__(self, count: int, make: Callable[[int], torch.Tensor | None]) -> None:
        self._count, self._make = count, make
        self._made: dict[int, torch.Tensor | None] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, region: int) -> torch.Tensor | None: ...
    @overload
    def __getitem__(self, region: slice) -> Sequence[torch.Tensor | None]: ...
    def __getitem__(self, region: Any) -> Any:
        if isinstance(region, slice):
            return [self[i] for i in range(*region.indices(self._count))]
        if not 0 <= region < self._count:
            raise IndexError(region)
        if region not in self._made:
            self._made[region] = self._make(region)
        return self._made[region]


class Recording(EagerFlow):
    """One frame's run, region by region. States are read, and not written.

    Args:
        memory: of runs before this one on the same inputs.
        model: whose flow it is.
        fixed: values of decisions.
        states: that the frame before left.

    Attributes:
        calls: what every call read and made, in order.
    """

    def __init__(
        self,
        memory: Memory,
        model: RoutedModule,
        fixed: Mapping[str, Choice],
        states: dict[str, torch.Tensor],
    ) -> None:
        super().__init__(model, fixed, StreamContext(), states, {})
        self._memory = memory
        self.calls: list[tuple[tuple[EagerValue, ...], tuple[EagerValue, ...]]] = []

    def tile(self, *frames: EagerValue, **geometry: Any) -> Any:  # noqa: D102
        tile = super().tile

        def cut() -> Any:
            return tile(*frames, **geometry), *list(self.grids.items())[-1]

        what = ("tile", len(self.grids), *sorted(geometry.items()))
        read = [tensor for frame in frames if (tensor := frame.tensors[0]) is not None]
        made, regions, grid = self._memory.once(what, read, cut)
        self.grids[regions] = grid
        return made

    def _stitch(self, tiles: EagerValue, blend: bool) -> EagerValue:
        stitch = super()._stitch
        return _value(FRAME, OnDemand(1, lambda _: stitch(tiles, blend).tensors[0]))

    def _keep(self, state: str, value: EagerValue, condition: Condition) -> None:
        return

    def _call(
        self,
        segment: Any,
        inputs: tuple[EagerValue, ...],
        when: Condition,
        otherwise: Any,
        axes: dict[str, Variable],
        constants: dict[str, Any],
    ) -> Any:
        regions, count = inputs[0].regions, len(inputs[0].tensors)
        mask = self._mask(when, regions, count)
        name = self._name(segment)

        def run(region: int) -> Any:
            chosen = {k: v.axis.values[self._chosen_at(v, region)] for k, v in axes.items()}
            read = [_made(value, region) for value in inputs]
            return run_once(self._memory, name, segment, read, {**chosen, **constants})

        sides = () if otherwise is None or otherwise is NOTHING else leaves(otherwise)
        running = [i for i in (count // 2, *range(count)) if mask[i]]
        if not running and not sides:
            made: Any = EagerValue(regions, [None] * count)
        elif not running:
            made = otherwise
        else:
            # As in tracing, a segment returns one structure on all routes: it is run for that once.
            like = self._memory.once(("structure", name), (), lambda: run(running[0]))
            parts = [
                OnDemand(
                    count,
                    lambda i, k=k: (  # type: ignore[misc]
                        leaves(run(i))[k] if mask[i] else sides[k].tensors[i] if sides else None
                    ),
                )
                for k in range(len(leaves(like)))
            ]
            made = rebuild(like, [_value(regions, part) for part in parts])
        if when != NEVER:  # such a call is not part of the program
            self.calls.append((inputs, leaves(made)))
        return made


def run_once(
    memory: Memory, name: str, segment: Any, read: Sequence[torch.Tensor], keywords: Mapping[str, Any]
) -> Any:
    """What a segment makes of tensors (1, ...); from memory if it ran on them before."""
    what = (name, repr(sorted(keywords.items())))
    return memory.once(what, read, lambda: segment(*(tensor.clone() for tensor in read), **keywords))


def _value(regions: str, tensors: OnDemand) -> EagerValue:
    return EagerValue(regions, cast("list[torch.Tensor | None]", tensors))


def _made(value: EagerValue, region: int) -> torch.Tensor:
    tensor = value.tensors[region]
    return value.known()[region] if tensor is None else tensor  # which says what is wrong
