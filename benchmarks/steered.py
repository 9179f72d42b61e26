"""The eager model under a policy of the runtime, so that both take the same routes."""

from __future__ import annotations

from typing import Any

from edgeflow.flow import Eager, RoutedModule
from edgeflow.flow.eager import EagerFlow
from edgeflow.runtime.stream.policy import Own, Policy


def steered(model: RoutedModule, policy: Policy | None, watching: type[EagerFlow] = EagerFlow) -> Eager:
    """An eager interpreter whose decisions pass through the policy.

    Args:
        model: the routed module.
        policy: as for a session; the model's own decisions if None.
        watching: the interpreter that the policy is put on.
    """
    taken = policy or Own()

    class Steered(watching):  # type: ignore[misc, valid-type]
        def _route(self, regions: Any, variable: Any, *rest: Any) -> None:
            super()._route(regions, variable, *rest)
            self.chosen[variable.name] = taken.choose(variable, self.chosen[variable.name])

    return Eager(model, interpreter=Steered)
