"""Policies: what the runtime makes of the model's own decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeflow.ir.errors import InputError
from edgeflow.ir.route import Axis, Choice, Variable


class Policy(Protocol):
    """Turns the model's decision for every region into the one that is taken."""

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse what these axes do not offer."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """Chosen index per region: (regions,), from the model's own."""


class Argmax:
    """The model's own decision."""

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Nothing to refuse."""

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The model's own decision."""
        return own


class Fixed:
    """The same value for every region, for the axes named; the model decides the others.

    >>> Fixed(exit=3).choose(Variable("exit", Axis(1, 2, 3)), np.array([0, 1]))
    array([2, 2])
    """

    def __init__(self, **values: Choice) -> None:
        self._values = values

    def check(self, axes: Mapping[str, Axis]) -> None:
        """Refuse an axis or a value that does not exist.

        Raises:
            InputError: the model has no such axis.
            FlowError: the axis has no such value.
        """
        own = {name.split(".")[0]: axis for name, axis in axes.items()}
        for name, value in self._values.items():
            if name not in own:
                raise InputError(f"no axis {name!r} to fix: the bundle has {', '.join(own) or 'none'}")
            own[name].index(value)

    def choose(self, variable: Variable, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The fixed value's index, or the model's own decision."""
        name = variable.name.split(".")[0]
        if name not in self._values:
            return own
        return np.full_like(own, variable.axis.index(self._values[name]))
