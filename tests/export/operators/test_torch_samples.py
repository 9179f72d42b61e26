"""torch's own operator samples, each as a segment on both libraries: right or refused, never wrong and never raw.

Slow (`make test-slow`): about 8 minutes of one core.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from operator_outcomes import RAW, WRONG, Segment, outcomes

pytest.importorskip("expecttest", reason="torch's operator samples need it")
from torch.testing._internal.common_methods_invocations import op_db

RANDOM = (
    *(
        "random",
        "bernoulli",
        "multinomial",
        "normal",
        "uniform",
        "cauchy",
        "exponential",
        "geometric",
        "dropout",
    ),
    *(
        "rand",
        "empty",
        "jiterator",
        "resize_",
        "set_",
        "item",
        "tolist",
        "allclose",
        "equal",
        "nonzero",
        "unique",
    ),
    *("histogram", "multi_head"),
)
"""Parts of names of operators whose values nobody can compare, or whose result is no tensor of a known shape."""

GATED = (("openvino", "fft."), ("onnxruntime", "special.log_ndtr"), ("openvino", "special.log_ndtr"))
"""Libraries and operators that they compute wrongly: an export's comparison refuses these, lowering does not yet."""

EACH = 3
"""Samples of an operator that are tried."""


def name_of(op: Any) -> str:
    return op.name + ("." + op.variant_test_name if op.variant_test_name else "")


OPERATORS = {name_of(op): op for op in op_db if not any(part in name_of(op) for part in RANDOM)}


def cases(op: Any) -> Iterator[tuple[Segment, list[torch.Tensor], str]]:
    """Samples whose tensors are all plain arguments, with every other argument fixed."""
    taken = 0
    for sample in op.sample_inputs("cpu", torch.float32, requires_grad=False):
        args = [sample.input, *sample.args]
        slots = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
        nested = any(isinstance(x, torch.Tensor) for a in args if isinstance(a, (list, tuple)) for x in a)
        named = any(isinstance(v, torch.Tensor) for v in sample.kwargs.values())
        if nested or named or 0 not in slots or not all(args[i].numel() and args[i].dim() for i in slots):
            continue
        tensors = [args[i] for i in slots]
        segment = Segment(called(op.op, args, sample.kwargs, slots)).eval()
        try:
            with torch.no_grad():
                made = segment(*[t.clone() for t in tensors])
        except (RuntimeError, NotImplementedError, ValueError, TypeError):  # torch itself refuses the sample
            continue
        if taken == EACH or not all(isinstance(x, torch.Tensor) for x in made):
            return
        taken += 1
        yield segment, tensors, f"{[tuple(t.shape) for t in tensors]} {args[1:]!s:.80} {sample.kwargs}"


def called(op: Any, args: list[Any], keywords: dict[str, Any], slots: list[int]) -> Any:
    def function(*tensors: torch.Tensor) -> Any:
        given = list(args)
        for slot, tensor in zip(slots, tensors, strict=True):
            given[slot] = tensor
        return op(*given, **keywords)

    return function


@pytest.mark.long
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_right_or_refused(name: str) -> None:
    torch.manual_seed(0)
    found = []
    for segment, tensors, what in cases(OPERATORS[name]):
        for library, outcome in outcomes(segment, tensors).items():
            gated = any(library == known and name.startswith(start) for known, start in GATED)
            if outcome.kind == RAW or (outcome.kind == WRONG and not gated):
                found.append(f"{what} on {library}: {outcome.kind}: {outcome.why}")
    assert not found, "\n".join(found)
