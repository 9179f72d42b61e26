"""Rebuilds a network with smaller layers: a layer reads as many channels as its density leaves, and those before make no more.

Which layers hang together, through residuals, concatenations, groups, norms and attention, is found by Torch-Pruning from a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgeflow.ir.errors import TrainError
from edgeflow.training.compression.density import LAYERS, layers_of

UNFOLLOWED = "its channels meet an operator that cannot be followed"


@dataclass(frozen=True)
class Shrunk:
    """A network with smaller layers.

    Attributes:
        module: the network.
        left: layers that keep their width, and why.
    """

    module: nn.Module
    left: Mapping[str, str]


@dataclass(frozen=True)
class _Cut:
    """Channels that one set of coupled layers loses."""

    root: str
    channels: tuple[int, ...]


def shrink(
    module: nn.Module, inputs: Sequence[Tensor], of: Mapping[str, float], keep: Collection[str] = ()
) -> Shrunk:
    """Walk from the outputs back: a set of channels keeps the share that is the density of the densest layer that reads it.

    The channels of the largest weights stay. Channels that a network puts out stay all.

    Args:
        module: the network; it is not changed.
        inputs: of a run, small ones will do.
        of: density of every layer, by its name.
        keep: names of layers, or of modules that hold some, to leave as they are.

    Raises:
        TrainError: the network cannot be followed at all.

    Source: ST-MFNet Mini, section II-A (network compression).
    """
    wanted = _shapes(module, inputs)
    cuts, left = _cuts(module, inputs, of, keep)
    done: list[_Cut] = []
    waiting = [cuts]
    while waiting:  # as a rule all at once; else halves, until those that break the network are found
        some = waiting.pop()
        if not some or _fits(module, inputs, [*done, *some], wanted):
            done += some
        elif len(some) == 1:
            left[some[0].root] = "the network does not run with it smaller"
        else:
            middle = len(some) // 2
            waiting += [some[middle:], some[:middle]]
    return Shrunk(_cut(module, inputs, done), left)


def _cuts(
    module: nn.Module, inputs: Sequence[Tensor], of: Mapping[str, float], keep: Collection[str]
) -> tuple[list[_Cut], dict[str, str]]:
    import torch_pruning as tp

    copy, graph = _followed(module, inputs)
    names = {layer: name for name, layer in copy.named_modules()}
    still = [layer for name, layer in layers_of(copy) if any(_within(name, own) for own in keep)]
    importance = tp.importance.GroupMagnitudeImportance(p=1, group_reduction="sum")
    cuts: list[_Cut] = []
    left: dict[str, str] = {}
    seen = set(still)
    for layer, group in graph.groups(still, LAYERS):
        root = names[layer]
        if group is None:
            left[root] = UNFOLLOWED
            seen.add(layer)
            continue
        read = [_named(names, dep) for dep, _ in group.items if graph.is_in_channel_pruning_fn(dep.handler)]
        seen.update(dep.target.module for dep, _ in group.items)
        shares = [of[name] for name in read if name in of]
        if not shares:
            continue  # nothing reads them: they are the network's output
        scores = importance(group)
        if scores is not None:
            cuts.append(_Cut(root, _least(group, scores, max(shares))))
    left.update({names[layer]: "it is kept" for layer in still})
    left.update(
        {
            name: "no layer that can be followed reads or feeds it"
            for name, layer in layers_of(copy)
            if layer not in seen
        }
    )
    return [cut for cut in cuts if cut.channels], left


def _least(group: Any, scores: Tensor, share: float) -> tuple[int, ...]:
    """The channels to lose, those that weigh least: of a concatenation, of each part its share."""
    lost: list[int] = []
    for part in _parts(group, len(scores)):
        left = sum(map(len, part)) - max(round(share * sum(map(len, part))), 1)
        ordered = sorted(part, key=lambda channels: float(scores[channels].mean()))
        for channels in ordered[:-1]:
            if len(channels) <= left:
                lost += channels
                left -= len(channels)
    return tuple(sorted(lost))


def _parts(group: Any, width: int) -> list[list[list[int]]]:
    """Channels by the layers that make and read them, and in each part those that go together.

    Together go channels at one place in the groups of a grouped convolution.
    """
    layers: list[list[int]] = [[] for _ in range(width)]
    set_of = list(range(width))
    for number, item in enumerate(group.items):
        for own in set(item.root_idxs):
            layers[own].append(number)
        layer = item.dep.target.module
        if not (isinstance(layer, _ConvNd) and 1 < layer.groups < layer.out_channels):
            continue
        reads = "in" in item.dep.handler.__name__.split("_")
        within = (layer.in_channels if reads else layer.out_channels) // layer.groups
        first: dict[int, int] = {}
        for channel, own in zip(item.idxs, item.root_idxs, strict=True):
            old, new = set_of[own], set_of[first.setdefault(channel % within, own)]
            set_of = [new if each == old else each for each in set_of]
    sets = [[c for c in range(width) if set_of[c] == each] for each in sorted(set(set_of))]
    parts: dict[tuple[int, ...], list[list[int]]] = {}
    for channels in sets:
        parts.setdefault(tuple(layers[channels[0]]), []).append(channels)
    return list(parts.values())


def _cut(module: nn.Module, inputs: Sequence[Tensor], cuts: Sequence[_Cut]) -> nn.Module:
    """A copy without these channels."""
    copy, graph = _followed(module, inputs)
    for cut in cuts:
        root = copy.get_submodule(cut.root)
        group = graph.get_pruning_group(
            root, graph.get_pruner_of_module(root).prune_out_channels, list(cut.channels)
        )
        group.prune()
    for parameter, own in zip(module.parameters(), copy.parameters(), strict=True):
        own.requires_grad_(parameter.requires_grad)
    return copy.train(module.training)


def _followed(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[nn.Module, Any]:
    """A copy, and what hangs together in it.

    Raises:
        TrainError: Torch-Pruning cannot follow it.
    """
    from edgeflow.training.compression.coupled import CoupledLayers

    copy = deepcopy(module).eval()
    fixed = [p for p in copy.parameters() if not p.requires_grad]
    copy.requires_grad_(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loose = {
                id(p)
                for layer in copy.modules()
                for p in layer.parameters(recurse=False)
                if not _known(layer)
            }
            own = [p for p in copy.parameters() if id(p) in loose or any(p is each for each in fixed)]
            graph = CoupledLayers().build_dependency(copy, tuple(inputs), ignored_params=own, verbose=False)
    except Exception as error:
        raise TrainError(
            f"{type(module).__name__} cannot be followed from its inputs to its outputs ({type(error).__name__}: {error}): "
            "compress the parts of it that can be, one by one"
        ) from error
    return copy, graph


def _known(layer: nn.Module) -> bool:
    """Whether its parameters' dimensions are known: a layer of torch's own."""
    return type(layer).__module__.startswith("torch.nn.modules")


def _named(names: Mapping[nn.Module, str], dep: Any) -> str:
    return names.get(dep.target.module, "")


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.") or module == ""


def _shapes(module: nn.Module, inputs: Sequence[Tensor]) -> list[torch.Size]:
    with torch.no_grad():
        made = deepcopy(module).eval()(*inputs)
    return [each.shape for each in (made if isinstance(made, tuple | list) else (made,))]


def _fits(
    module: nn.Module, inputs: Sequence[Tensor], cuts: Sequence[_Cut], wanted: list[torch.Size]
) -> bool:
    """Whether the network runs without these channels, and puts out what it did. What fails is its own code, in any way."""
    try:
        return _shapes(_cut(module, inputs, cuts), inputs) == wanted
    except Exception:
        return False
