"""What decides routes on the command line: --fix, --policy and --quality."""

from __future__ import annotations

from dataclasses import dataclass

from edgeflow.cli.console import err
from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.tuned import load_tuned
from edgeflow.ir.errors import FlowError, InputError
from edgeflow.ir.program import Route
from edgeflow.ir.route import Axis, Choice
from edgeflow.ir.rules import Rule, parse_rule
from edgeflow.runtime import Fixed, Quality, Rules
from edgeflow.runtime.machine import cpu_name
from edgeflow.runtime.stream.policy import Policy


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        library: --library.
        threads: --threads.
        fix: --fix.
        policy: --policy.
        quality: --quality.
    """

    library: str | None
    threads: int | None
    fix: tuple[str, ...]
    policy: tuple[str, ...]
    quality: float | None

    @property
    def words(self) -> list[str]:
        """What decides routes, to tell films by."""
        return [*self.fix, *self.policy, *([] if self.quality is None else [f"quality={self.quality:g}"])]


def or_as_tuned(bundle: Bundle, asked: Asked) -> Asked:
    """What was asked for; where nothing was, what `edgeflow tune --keep` kept for this machine, and says so.

    Raises:
        BundleError: what was kept is damaged.
    """
    if asked != Asked(None, None, (), (), None):
        return asked
    tuned = load_tuned(bundle.path, cpu_name())
    if tuned is None:
        return asked
    err.print(
        f"edgeflow: as tuned for this machine: {tuned.options} (`edgeflow tune {bundle.path} --forget` lets go of that)",
        soft_wrap=True,
    )
    return Asked(tuned.library, tuned.threads, tuned.fix, (), tuned.quality)


def steered(bundle: Bundle, fixes: list[str], rules: list[str], quality: float | None) -> Policy | None:
    """The policy that --fix, --policy or --quality ask for; None where they ask for none.

    Args:
        bundle: whose routes they decide.
        fixes: `exit=3`.
        rules: `mode=drift:0.3:12`.
        quality: a weight of quality against time, 0 to 1.

    Raises:
        InputError: more than one kind is given, or one does not fit the bundle.
    """
    if quality is None:
        return _policy(fixes, rules, _axes(bundle))
    if fixes or rules:
        raise InputError("--quality, --fix and --policy all decide routes: give one of them")
    return _quality(quality, bundle)


def _policy(fixes: list[str], rules: list[str], axes: dict[str, Axis]) -> Policy | None:
    """What --fix and --policy ask for."""
    if fixes and rules:
        raise InputError("--fix and --policy both decide routes: give one of them")
    if fixes:
        return Fixed(**dict(_parse_fix(text, axes) for text in fixes))
    return Rules(**dict(_parse_rule(text, axes) for text in rules)) if rules else None


def _quality(quality: float, bundle: Bundle) -> Policy:
    """What --quality asks for, of a bundle that has rules which weigh it."""
    plans = bundle.manifest.plans.values()
    steps = [step for plan in plans for step in plan.steps if isinstance(step, Route)]
    if not any(decision.rule.weighs for step in steps for decision in step.decisions):
        raise InputError(
            f"--quality: no decision of {bundle.path} weighs quality against time; steer it by --policy or --fix"
        )
    return Quality(quality)


def _parse_rule(text: str, axes: dict[str, Axis]) -> tuple[str, Rule]:
    """`mode=drift:0.3:12` as an axis and a rule."""
    axis, _, rule = text.partition("=")
    if axis not in axes:
        raise InputError(
            f"--policy {text}: give AXIS=RULE with an axis of the bundle: {', '.join(axes) or 'none'}"
        )
    try:
        return axis, parse_rule(rule)
    except FlowError as error:
        raise InputError(f"--policy {text}: {error}") from error


def _parse_fix(text: str, axes: dict[str, Axis]) -> tuple[str, Choice]:
    name, separator, value = text.partition("=")
    if not separator or name not in axes:
        raise InputError(
            f"--fix {text}: give AXIS=VALUE with an axis of the bundle: {', '.join(axes) or 'none'}"
        )
    for choice in axes[name].values:
        if str(choice) == value:
            return name, choice
    raise InputError(f"--fix {text}: {name} is one of {', '.join(map(str, axes[name].values))}")


def _axes(bundle: Bundle) -> dict[str, Axis]:
    """The bundle's axes, by their names and by those of the decisions over them."""
    variables = next(iter(bundle.manifest.plans.values())).variables
    return {name: v.axis for v in variables for name in (v.axis_name, v.name)}
