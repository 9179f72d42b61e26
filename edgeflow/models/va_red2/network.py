"""Any network of convolutions as a routed one: before each of its dynamic layers a gate decides what is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgeflow.flow import Axis, Clip, FirstNonZero, Flow, Image, RoutedModule
from edgeflow.flow.flow import Scored, leaves
from edgeflow.ir.errors import FlowError
from edgeflow.ir.program import Interface
from edgeflow.ir.task import Task
from edgeflow.models.va_red2.convolution import DynamicConv
from edgeflow.models.va_red2.gate import SoftGate
from edgeflow.models.va_red2.pieces import Pieces, Step, cut_at, run

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's pixels have these, and networks expect theirs normalised by them."""
KINDS = ("stride", "width")
"""Axes: every how-manieth frame of a layer is computed, and one channel of how many."""


class Reduced(RoutedModule):
    """A network whose convolutions compute what a clip needs of them.

    Args:
        network: (n, 3, t, h, w), normalised -> (n, ...); or (n, 3, h, w) for pictures.
        takes: the clip or the picture of a call, of one size.
        makes: its output.
        task: what the output is.
        dynamic: names of the convolutions that a decision comes before, as patterns (`stages.*.spatial`).
        space: branches of a kind: 2 computes all or half, 3 all, half or a quarter.

    Attributes:
        shares: of the work of all dynamic layers that each has.

    Raises:
        FlowError: a layer cannot be made dynamic, or nothing is so named, or the network's code cannot be followed.

    Source: VA-RED2, section 3.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        takes: Clip | Image,
        makes: Interface,
        task: Task,
        dynamic: Sequence[str],
        space: int = 2,
    ) -> None:
        super().__init__()
        if space < 2:
            raise FlowError(f"a search space has 2 branches or more, got {space}")
        self.inputs, self.outputs, self.task = (takes,), (makes,), task  # type: ignore[misc]
        self.space = space
        whole = _Normalised(network).eval()
        pieces = cut_at(whole, [f"network.{name}" for name in _matching(network, dynamic)])
        shapes = _shapes(pieces, tuple(int(side) for side in takes.shape))
        self.enter, self.leave, self.steps = pieces.enter, pieces.leave, pieces.steps
        self.pieces, self.layers, self.gates = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.shares: list[float] = []  # multiply-accumulates of every layer, and then its share of all
        for step, module in zip(pieces.steps, pieces.modules, strict=True):
            if step.layer:
                before, after = shapes[step.reads[0]], shapes[step.makes[0]]
                self._add_layer(step.layer.removeprefix("network."), module, before, after)
            else:
                self.pieces.append(module)
        self.shares = [work / sum(self.shares) for work in self.shares]
        for layer in self.layers:
            for kind, values in _kinds(layer):
                setattr(self, _axis(kind, len(values), space), Axis(*values))

    def _add_layer(self, name: str, module: nn.Module, before: Sequence[int], after: Sequence[int]) -> None:
        layer = DynamicConv(module, after[2] if len(after) == 5 else 1, self.space, name)
        if not layer.branches:
            raise FlowError(
                f"layer {name} has one channel and one frame, of which nothing can be left out: leave it out of dynamic="
            )
        features = before[1] * (before[2] if len(before) == 5 else 1)
        self.layers.append(layer)
        self.shares.append(prod(after[2:]) * layer.conv.weight.numel())
        self.gates.append(SoftGate(features, [len(values) for values in layer.branches]))

    def flow(self, f: Flow, clip: Any) -> Any:
        """Piece after piece; before a dynamic layer its gates, whose values go into it."""
        values = {self.enter: clip}
        pieces, layers = iter(self.pieces), iter(zip(self.layers, self.gates, strict=True))
        for step in self.steps:
            read = [values[name] for name in step.reads]
            made = self._layer(f, *next(layers), read[0]) if step.layer else f.call(next(pieces), *read)
            values.update(zip(step.makes, leaves(made), strict=True))
        return values[self.leave]

    def _layer(self, f: Flow, layer: Any, gate: nn.Module, x: Any) -> Any:
        gates = f.call(gate, x)
        scored = zip(_kinds(layer), gates, strict=True)
        names = {kind: _axis(kind, len(values), self.space) for kind, values in _kinds(layer)}
        route = f.route(x, **{names[kind]: Scored(FirstNonZero(), scores) for (kind, _), scores in scored})
        return f.call(layer, x, *gates, **{kind: getattr(route, name) for kind, name in names.items()})

    def shared(self, clip: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """What it makes of clips (n, ...) by one kernel for all branches of a layer, for training: and the gates of every layer.

        Equal to the flow, since a branch that is left out has a gate of zero.

        Source: VA-RED2, section 3 (shared-weight training).
        """
        gates: list[tuple[Tensor, ...]] = []

        def gated(layer: nn.Module, gate: nn.Module) -> Callable[[Tensor], Tensor]:
            def call(x: Tensor) -> Tensor:
                gates.append(gate(x))
                made: Tensor = layer(x, *gates[-1])
                return made

            return call

        pieces, layers = iter(self.pieces), iter(zip(self.layers, self.gates, strict=True))
        calls = [gated(*next(layers)) if step.layer else next(pieces) for step in self.steps]
        return run(Pieces(self.steps, (), self.enter, self.leave), clip, calls), gates

    def plain(self, clip: Tensor) -> Tensor:
        """What the network without branches makes of a clip, (n, ...): (n, t, 3, h, w) or (n, 3, h, w) in [0, 1]."""
        pieces, layers = iter(self.pieces), iter(self.layers)
        calls = [next(layers).plain if step.layer else next(pieces) for step in self.steps]
        return run(Pieces(self.steps, (), self.enter, self.leave), clip, calls)


class Plain(RoutedModule):
    """The network of a `Reduced` as it was: no gates, no branches."""

    def __init__(self, model: Reduced) -> None:
        super().__init__()
        self.inputs, self.outputs, self.task = model.inputs, model.outputs, model.task  # type: ignore[misc]
        self.model = model

    def flow(self, f: Flow, clip: Any) -> Any:
        """All of it at once."""
        return f.call(self.model.plain, clip)

    def plain(self, clip: Tensor) -> Tensor:
        """See `Reduced.plain`."""
        return self.model.plain(clip)


class _Normalised(nn.Module):
    """A network of pixels in [0, 1], frames before channels."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, numbers in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(numbers).reshape(3, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        pixels = (clip - self.mean) / self.deviation
        made: Tensor = self.network(pixels.transpose(1, -3))
        return made


def _matching(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names of the convolutions that match a pattern.

    Raises:
        FlowError: a pattern matches nothing, or something that is no convolution.
    """
    names = [name for name, _ in network.named_modules()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise FlowError(f"{type(network).__name__} has no layer {pattern!r}: mend dynamic=")
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _kinds(layer: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The kinds of branches that a layer has more than one of."""
    kinds = zip(KINDS, (layer.strides, layer.widths), strict=True)
    return [(kind, values) for kind, values in kinds if len(values) > 1]


def _axis(kind: str, count: int, space: int) -> str:
    """Name of a layer's axis: a layer too short for all branches has one of its own."""
    return kind if count == space else f"{kind}{count}"


def _shapes(pieces: Pieces, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shape of every value, without computing it."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watched(step: Step, module: nn.Module) -> Callable[..., Any]:
        def call(*read: Any) -> Any:
            made = module(*read)
            for name, value in (
                *zip(step.reads, read, strict=True),
                *zip(step.makes, leaves(made), strict=True),
            ):
                if not isinstance(value, Tensor):
                    raise FlowError(
                        f"the network carries {value!r} past a dynamic layer, and only tensors go from piece to piece: compute it where it is used"
                    )
                shapes[name] = tuple(value.shape)
            return made

        return call

    calls = [watched(step, module) for step, module in zip(pieces.steps, pieces.modules, strict=True)]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        run(pieces, torch.empty(2, *shape), calls)
    return shapes
