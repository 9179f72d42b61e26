"""`edgeflow run --policy budget`: the options, and what is said of the calls that held it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeflow.cli.console import err
from edgeflow.ir.errors import InputError
from edgeflow.runtime import Budget, Session
from edgeflow.runtime.stream.trace import Result

WORD = "budget"
PERCENTILE = 95.0


def asked_budget(policies: list[str], budget_ms: float | None, percentile: float | None) -> Budget | None:
    """The policy that --policy budget, --budget-ms and --percentile ask for; None if they ask for none.

    Raises:
        InputError: one of them is missing, or says what cannot be.
    """
    if WORD not in policies:
        for option, value in (("--budget-ms", budget_ms), ("--percentile", percentile)):
            if value is not None:
                raise InputError(f"{option} {value:g} is for --policy budget: give that as well")
        return None
    if len(policies) > 1:
        raise InputError("--policy budget decides all axes: give no other --policy")
    if budget_ms is None:
        raise InputError("--policy budget wants the milliseconds of a frame: give --budget-ms, such as 33")
    return Budget(budget_ms, PERCENTILE if percentile is None else percentile)


@dataclass
class Timed:
    """A session that notes how long its calls took."""

    session: Session
    budget: Budget
    took: list[float] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """Frames that may run at a time."""
        return self.session.in_flight

    @property
    def looks_back(self) -> bool:
        """Whether outputs depend on earlier frames."""
        return self.session.looks_back

    def run(self, *frames: Any) -> Result:
        """See `Session.run`."""
        result = self.session.run(*frames)
        self.took.append(result.trace.total_ms)
        return result

    def reset(self) -> None:
        """See `Session.reset`."""
        self.session.reset()

    def report(self) -> dict[str, float]:
        """Milliseconds of the calls, and the share of them within the budget."""
        if not self.took:
            return {}
        took = np.array(self.took)
        return {
            "budget_ms": self.budget.milliseconds,
            "percentile": self.budget.percentile,
            "calls": len(took),
            "within": float((took <= self.budget.milliseconds).mean()),
            "reached_ms": float(np.percentile(took, self.budget.percentile)),
            "median_ms": float(np.median(took)),
            "max_ms": float(took.max()),
        }

    def say(self) -> None:
        """The same in a line."""
        if said := self.report():
            err.print(
                f"deadline: {said['within']:.1%} of {said['calls']:.0f} calls within {said['budget_ms']:g} ms; median {said['median_ms']:.1f}, "
                f"p{said['percentile']:g} {said['reached_ms']:.1f}, max {said['max_ms']:.1f} ms",
                soft_wrap=True,
            )
