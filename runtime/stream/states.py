"""What lives across the frames of a stream: a tensor for each state and region."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.bfloat16 import to_held
from edgeflow.ir.interface import held_shape
from edgeflow.ir.plan import Plan
from edgeflow.ir.program import Shape, State
from edgeflow.runtime.backends.memory import Memory
from edgeflow.runtime.stream.rows import Array, Rows


class States:
    """The states of a plan, for frames of one size; regions stand in their own order.

    Args:
        plan: whose states they are.
        memory: that they lie in.
        counts: regions of each state, by its name.
        sizes: a shape with the frame's dimensions filled in.

    Attributes:
        regions: that each state belongs to, by its name.
    """

    def __init__(
        self, plan: Plan, memory: Memory, counts: dict[str, int], sizes: Callable[[Shape], tuple[int, ...]]
    ) -> None:
        self.regions = {state.name: state.regions for state in plan.states}
        self._plan, self._memory, self._counts, self._sizes = plan, memory, counts, sizes
        self._now: dict[str, Array] = {}
        self._spare: dict[str, Array] = {}

    def reset(self) -> None:
        """Let every state hold its initial value."""
        self._now, self._spare = (
            {state.name: self._initial(state) for state in self._plan.states} for _ in range(2)
        )

    def rows(self, name: str, order: NDArray[np.intp]) -> Rows:
        """A state as the frame before left it, its regions in an order."""
        return Rows.of(self._now[name], order)

    def write(self, name: str, rows: Rows, order: NDArray[np.intp]) -> None:
        """Copy what is kept, once nothing reads the old state any more: engines' arrays are written again."""
        spare, natural = self._spare[name], np.argsort(order)
        taken = rows.take(natural, self._memory, lambda count: spare)
        if taken is not spare:
            self._memory.copy_rows(taken, np.arange(len(natural)), spare)
        self._now[name], self._spare[name] = spare, self._now[name]

    def _initial(self, state: State) -> Array:
        """What a state holds after a reset, in the type that engines read it in."""
        graphs = [graph for stage in self._plan.stages for graph in stage.graphs]
        dtypes = {port.value: port.dtype for graph in graphs for port in graph.inputs}
        count = self._counts[state.name]
        shape = self._sizes(held_shape(state.shape) if state.image else state.shape)
        fill = np.full((count, *shape), state.fill)
        array = to_held(fill, "uint8" if state.image else dtypes.get(state.name, "float32"))
        kept = self._memory.empty(array.shape, array.dtype)
        self._memory.copy_rows(self._memory.upload(array), np.arange(count), kept)
        return kept
