"""What hangs together in a network, by Torch-Pruning, walked so that dense concatenations end.

Torch-Pruning's own walk visits a layer once for every set of channels by which it is reached. In a dense pyramid such as PWC-Net's those sets
differ from path to path, so that their number grows as that of the paths. Here a channel of a layer is visited once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from torch import nn
from torch_pruning import DependencyGraph
from torch_pruning._helpers import GroupItem, _HybridIndex
from torch_pruning.dependency import index_mapping
from torch_pruning.dependency.dependency import Dependency
from torch_pruning.dependency.group import Group
from torch_pruning.ops import OPTYPE
from torch_pruning.pruner import function

CUSTOM = "GeneratedBackward"
"""In the name of the gradient of a custom operator, which may make any channels of any."""


class Unfollowed(Exception):
    """A walk met an operator of which it is not known what it does to channels."""


class CoupledLayers(DependencyGraph):  # type: ignore[misc]
    """Torch-Pruning's graph, whose groups are walked channel by channel."""

    def groups(
        self, still: Collection[nn.Module], kinds: tuple[type[nn.Module], ...]
    ) -> Iterator[tuple[nn.Module, Group | None]]:
        """The sets of layers whose widths hang together, each with its first layer; None where they cannot be followed.

        Args:
            still: layers that keep their widths; sets that hold one are left out.
            kinds: of layers that sets are walked from.
        """
        self._map()
        seen: set[nn.Module] = set()
        for layer in list(self.module2node):
            pruner = self.get_pruner_of_module(layer)
            if layer in seen or layer in still or not isinstance(layer, kinds) or pruner is None:
                continue
            width = range(pruner.get_out_channels(layer))
            try:
                group = self._walked(layer, pruner.prune_out_channels, width)
            except Unfollowed:
                yield layer, None
                continue
            losing = {dep.target.module for dep, _ in group if self.is_out_channel_pruning_fn(dep.handler)}
            seen |= losing
            if losing.isdisjoint(still):
                yield layer, group

    def get_pruning_group(
        self, module: nn.Module, pruning_fn: Callable[..., Any], idxs: Sequence[int]
    ) -> Group:
        """All that loses channels when a layer does.

        Args:
            module: the layer.
            pruning_fn: what takes channels from it.
            idxs: which.

        Raises:
            Unfollowed: an operator is met of which it is not known what it does to channels.
        """
        self._map()
        return self._walked(module, pruning_fn, idxs)

    def _map(self) -> None:
        """Find which channels of one layer are which of the next, by the widths that layers have now."""
        with (
            warnings.catch_warnings()
        ):  # of parts of concatenations that it does not find: those are not followed
            warnings.simplefilter("ignore")
            index_mapping.update_index_mapping(self)

    def _walked(self, module: nn.Module, pruning_fn: Callable[..., Any], idxs: Sequence[int]) -> Group:
        """The same where what layers read of one another is known."""
        if isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups == module.out_channels:
            pruning_fn = function.prune_depthwise_conv_out_channels
        node = self.module2node[module]
        root = Dependency(pruning_fn, pruning_fn, source=node, target=node)
        return self._group(self._reached(root, [_HybridIndex(idx=i, root_idx=i) for i in idxs]))

    def _reached(
        self, root: Dependency, channels: list[_HybridIndex]
    ) -> dict[tuple[Any, Any], tuple[Dependency, dict[_HybridIndex, None]]]:
        """By layer and by what takes channels from it: how it was first reached, and the channels that go, in the order of the walk."""
        found = {(root.target, root.handler): (root, dict.fromkeys(channels))}
        waiting = [(root, channels)]
        while waiting:
            dep, own = waiting.pop()
            for new in dep.target.dependencies:
                if not new.is_triggered_by(dep.handler):
                    continue
                mapped = own
                for mapping in new.index_mapping:
                    if isinstance(mapping, index_mapping._GQAIndexMapping):
                        raise Unfollowed  # Torch-Pruning takes every expansion of five dimensions for attention's
                    mapped = mapping(mapped) if mapping is not None else mapped
                known = found.setdefault((new.target, new.handler), (new, {}))[1]
                if fresh := [channel for channel in mapped if channel not in known]:
                    self._check(new, fresh)
                    known.update(dict.fromkeys(fresh))
                    waiting.append((new, fresh))
        return found

    def _check(self, dep: Dependency, channels: list[_HybridIndex]) -> None:
        """Whether a layer has the channels that it is said to have, and it is known what its operator does to them.

        Raises:
            Unfollowed: it has not, or it is not known.
        """
        operator, layer = dep.target.grad_fn, dep.target.module
        if CUSTOM in str(operator):
            raise Unfollowed
        joined = dep.target.type == OPTYPE.CONCAT and getattr(operator, "_saved_dim", 1) == 1
        if joined and layer.offsets is None:  # Torch-Pruning did not find how wide its parts are
            raise Unfollowed
        if isinstance(layer, nn.Module):
            reads = self.is_in_channel_pruning_fn(dep.handler)
            count = self.get_in_channels(layer) if reads else self.get_out_channels(layer)
            if count is not None and max(channel.idx for channel in channels) >= count:
                raise Unfollowed

    def _group(self, found: dict[tuple[Any, Any], tuple[Dependency, dict[_HybridIndex, None]]]) -> Group:
        """The group as Torch-Pruning has it: each channel of a layer once, with the channel of the root that it follows."""
        group = Group()
        group._DG = self
        for dep, channels in found.values():
            if not channels or any(dep.target.module is own for own in self.ignored_params):
                continue
            once = {channel.idx: channel.root_idx for channel in reversed(channels)}
            item = GroupItem(dep, list(reversed(once)))
            item.root_idxs = list(reversed(once.values()))
            group._group.append(item)
        return group
