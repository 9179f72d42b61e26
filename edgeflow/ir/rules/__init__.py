"""Decision rules: how logits, or what the host knows, become a choice.

The eager interpreter and the runtime call the same code, in numpy, so that a route can only differ where the
logits differ. One file each, found by name; installed packages add others by entry points of the group `edgeflow.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from edgeflow.ir.errors import FlowError
from edgeflow.ir.extensions import extensions
from edgeflow.ir.rules.argmax import Argmax as Argmax
from edgeflow.ir.rules.base import HostRule as HostRule
from edgeflow.ir.rules.base import Rule as Rule
from edgeflow.ir.rules.base import ScoreRule as ScoreRule
from edgeflow.ir.rules.base import Scores as Scores
from edgeflow.ir.rules.base import StreamContext as StreamContext
from edgeflow.ir.rules.confidence_below import ConfidenceBelow as ConfidenceBelow
from edgeflow.ir.rules.drift_above import DriftAbove as DriftAbove
from edgeflow.ir.rules.first_non_zero import FirstNonZero as FirstNonZero
from edgeflow.ir.rules.key_frame_interval import KeyFrameInterval as KeyFrameInterval
from edgeflow.ir.rules.nearest import Length as Length
from edgeflow.ir.rules.nearest import Nearest as Nearest
from edgeflow.ir.rules.priced import Priced as Priced
from edgeflow.ir.rules.spread import Spread as Spread
from edgeflow.ir.rules.table import Table as Table
from edgeflow.ir.rules.within import Within as Within


@cache
def rules() -> dict[str, type[Rule]]:
    """Every rule by its kind: those of the files here, and those of installed packages.

    Raises:
        ExtensionError: a package's rule cannot be loaded.
    """
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    ours = (own for module in modules for own in vars(module).values() if isinstance(own, type))
    found = [
        own
        for own in (*ours, *extensions("rules", type).values())
        if issubclass(own, Rule) and hasattr(own, "kind")
    ]
    return {own.kind: own for own in found}


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """Inverse of `Rule.to_json`.

    Raises:
        FlowError: a rule that neither this version nor an installed package knows.
    """
    if data["kind"] not in rules():
        raise FlowError(f"unknown decision rule {data['kind']!r}: known are {', '.join(sorted(rules()))}")
    return rules()[data["kind"]].from_json(data)


def parse_rule(text: str) -> Rule:
    """The rule that the command line spells, such as `drift:0.3:12`.

    Raises:
        FlowError: no such rule, or not its numbers; says how rules are spelt.
    """
    word, *numbers = text.split(":")
    known = {own.word: own for own in rules().values()}
    if word not in known:
        spelt = ", ".join(sorted(own.spelling() for own in known.values()))
        raise FlowError(f"no rule {word!r}: the rules are {spelt}")
    try:
        return known[word].parse(*numbers)
    except ValueError as error:
        raise FlowError(f"{text} cannot be read ({error}): the rule is {known[word].spelling()}") from error
