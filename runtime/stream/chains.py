"""Chains of a plan as one stream runs them: which one to run ahead of its decisions, and whether these agreed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.plan import Chain, Plan, StageGraph
from edgeflow.ir.route import Axis, Choice


class Guesses:
    """Which of a chain's routes to run while they are not decided: what the call before took, at first the likeliest.

    Args:
        plan: whose chains they are.
        axes: by variable.
    """

    def __init__(self, plan: Plan, axes: Mapping[str, Axis]) -> None:
        self._axes = axes
        self.chains = {chain.first: chain for chain in plan.chains}

    def guess(
        self,
        chain: Chain,
        decided: Mapping[str, NDArray[np.intp]],
        before: Mapping[str, NDArray[np.intp]],
    ) -> StageGraph | None:
        """The graph to run; None where none fits what is decided already, and what the call before took.

        Args:
            chain: of the plan.
            decided: chosen index per variable, of this call so far.
            before: the same of the whole call before; empty at first.
        """
        known = {**before, **decided}
        for graph in chain.graphs:
            if all(self._is(name, value, known) for name, value in graph.variant if name in known):
                return graph
        return None

    def agrees(self, graph: StageGraph, decided: Mapping[str, NDArray[np.intp]]) -> bool:
        """Whether everything that was decided so far is what a chain's graph was built for."""
        return all(self._is(name, value, decided) for name, value in graph.variant if name in decided)

    def _is(self, name: str, value: Choice, chosen: Mapping[str, NDArray[np.intp]]) -> bool:
        return int(chosen[name][0]) == self._axes[name].index(value)
