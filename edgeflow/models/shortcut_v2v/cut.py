"""Cuts a generator in three at two of its modules: encoder, middle, decoder."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from edgeflow.ir.errors import FlowError

PROBE = (64, 64)
"""(height, width) of the frame on which a cut is tried."""


@dataclass(frozen=True)
class Cut:
    """A generator in three parts.

    Attributes:
        encode: frame -> a.
        middle: a -> f.
        decode: f -> picture.
        encoded: channels of a.
        decoded: channels of f.
    """

    encode: nn.Sequential
    middle: nn.Sequential
    decode: nn.Sequential
    encoded: int
    decoded: int


def cut(generator: nn.Module, encoder_cut: str, decoder_cut: str) -> Cut:
    """Cut a generator after two of its modules.

    Its children are called in the order of their names; a child that is an `nn.Sequential` counts as
    its own children, named `parent.child`. Modules that work in place no longer do afterwards, because
    the features at the cuts are kept.

    Args:
        generator: takes a frame (n, 3, h, w) and calls its children one after another.
        encoder_cut: name of the module whose output is a.
        decoder_cut: name of the module whose output is f.

    Raises:
        FlowError: a name that is not there, names in the wrong order, a generator that does more than
            call its children in order, or features of unlike height and width.
    """
    steps = dict(_steps(generator))
    first, second = (_position(steps, name, generator) for name in (encoder_cut, decoder_cut))
    if first >= second:
        raise FlowError(
            f"the encoder's cut {encoder_cut!r} does not come before the decoder's {decoder_cut!r}: swap them"
        )
    if second == len(steps) - 1:
        raise FlowError(f"nothing comes after the decoder's cut {decoder_cut!r}: cut earlier")
    for module in generator.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    outputs = _try(generator, steps)
    a, f = (list(outputs.values())[i] for i in (first, second))
    if len(a) != 4 or len(f) != 4 or a[2:] != f[2:]:
        names, sizes = list(outputs), list(outputs.values())
        pairs = [
            f"{names[i]!r} and {names[j]!r}"
            for i in range(len(names))
            for j in range(i + 1, len(names) - 1)
            if len(sizes[i]) == 4 and sizes[i][2:] == sizes[j][2:] and i == first
        ]
        raise FlowError(
            f"after {encoder_cut!r} the feature is {_said(a)}, after {decoder_cut!r} {_said(f)}: the Shortcut "
            f"block needs one height and width; with {encoder_cut!r} fit {', '.join(pairs) or 'none'}"
        )
    named = list(steps.items())
    parts = (named[: first + 1], named[first + 1 : second + 1], named[second + 1 :])
    encode, middle, decode = (
        nn.Sequential(OrderedDict((name.replace(".", "_"), module) for name, module in part))
        for part in parts
    )
    return Cut(encode, middle, decode, a[1], f[1])


def _steps(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The modules called one after another, by dotted name."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and len(child):
            found += _steps(child, f"{prefix}{name}.")
        else:
            found.append((prefix + name, child))
    return found


def _position(steps: dict[str, nn.Module], cut: str, generator: nn.Module) -> int:
    """Channels of the named module, or of the last one in the named Sequential."""
    for number, name in reversed(list(enumerate(steps))):
        if name == cut or name.startswith(f"{cut}."):
            return number
    raise FlowError(f"{type(generator).__name__} has no module {cut!r} to cut at: it has {', '.join(steps)}")


def _try(generator: nn.Module, steps: dict[str, nn.Module]) -> dict[str, torch.Size]:
    """Shape after every step, on a frame of noise; on the meta device nothing is computed."""
    parameter = next(generator.parameters())
    was_training = generator.training
    generator.eval()
    x = torch.rand(1, 3, *PROBE, device=parameter.device)
    shapes = {}
    with torch.no_grad():
        try:
            whole = generator(x)
            for name, step in steps.items():
                x = step(x)
                shapes[name] = x.shape
        except (RuntimeError, TypeError, AttributeError) as error:
            raise FlowError(
                f"{type(generator).__name__} cannot be cut: calling its modules one after another on a frame "
                f"(1, 3, {PROBE[0]}, {PROBE[1]}) fails ({str(error).splitlines()[0]})"
            ) from error
    generator.train(was_training)
    same = x.shape == whole.shape and (x.is_meta or torch.allclose(x, whole, atol=1e-4))
    if not same:
        raise FlowError(
            f"{type(generator).__name__} does more than call its modules one after another (a skip "
            "connection?): make what belongs together one module"
        )
    return shapes


def _said(shape: torch.Size) -> str:
    return "x".join(map(str, shape[1:])) + f" for a {PROBE[1]}x{PROBE[0]} frame"
