"""A network cut at some of its layers: these, and the pieces of network between them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module

from edgeflow.ir.errors import FlowError


@dataclass(frozen=True)
class Step:
    """A piece, or a layer that was cut out.

    Attributes:
        layer: name of the layer; empty for a piece.
        reads: names of the values that it takes.
        makes: names of the values that it makes.
    """

    layer: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]


@dataclass(frozen=True)
class Pieces:
    """A cut network: its steps in order, the module of every step, and names of what comes in and goes out."""

    steps: tuple[Step, ...]
    modules: tuple[nn.Module, ...]
    enter: str
    leave: str


def cut_at(network: nn.Module, layers: Sequence[str]) -> Pieces:
    """Cut a network before and after some of its layers.

    Args:
        network: takes one tensor, makes one. Its code is followed once, so it may not branch on tensors.
        layers: names of modules in it, each called once.

    Raises:
        FlowError: the code cannot be followed, or a layer is not called exactly once.
    """
    tracer = _Follower(layers)
    traced = fx.GraphModule(tracer.root_of(network), tracer.follow(network))
    _check_called(traced, layers)
    order = [str(node.target) for node in traced.graph.nodes if node.target in layers]
    parts: dict[fx.Node, int] = {}
    part = 0  # pieces have even numbers, layers odd ones
    for node in traced.graph.nodes:
        own = node.op == "call_module" and node.target in layers
        part += own
        parts[node] = part
        part += own
    whole = split_module(traced, network, lambda node: parts[node], keep_original_order=True)
    return _in_order(
        whole,
        {
            f"submod_{2 * number + 1}": (name, network.get_submodule(name))
            for number, name in enumerate(order)
        },
    )


class _Follower(fx.Tracer):
    """Follows a network's code, and knows in which module it is."""

    def __init__(self, layers: Collection[str]) -> None:
        super().__init__()
        self._layers = layers
        self._inside: list[str] = []

    def root_of(self, network: nn.Module) -> nn.Module:
        for module in network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]  # a value is read by later pieces as it was made
        return network

    def follow(self, network: nn.Module) -> fx.Graph:
        try:
            return self.trace(network)
        except FlowError:
            raise
        except Exception as error:  # the author's own code: anything may come
            where = f"in {self._inside[-1]}" if self._inside else "outside its modules"
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise FlowError(
                f"{type(network).__name__} cannot be followed {where}: {reason}; take what branches on tensors out of its forward"
            ) from error

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self._inside.append(self.path_of_module(m) or type(m).__name__)
        made = super().call_module(m, forward, args, kwargs)
        self._inside.pop()
        return made

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._layers or super().is_leaf_module(m, module_qualified_name)


def _check_called(traced: fx.GraphModule, layers: Sequence[str]) -> None:
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    for name in layers:
        if called.count(name) != 1:
            raise FlowError(
                f"layer {name} is called {called.count(name)} times: a layer with a decision before it is called once; "
                "leave it out of dynamic="
            )
    places = [node for node in traced.graph.nodes if node.op == "placeholder"]
    if len(places) != 1:
        raise FlowError(f"the network takes {len(places)} inputs: one clip or picture is wanted")


def _in_order(whole: fx.GraphModule, layers: Mapping[str, tuple[str, nn.Module]]) -> Pieces:
    """The steps of a network of which every part became a module."""
    steps: list[Step] = []
    modules: list[nn.Module] = []
    values: dict[fx.Node, tuple[str, ...]] = {}
    taken = _taken(whole)
    enter = leave = ""
    for node in whole.graph.nodes:
        if node.op == "placeholder":
            enter, values[node] = node.name, (node.name,)
        elif node.op == "call_module":
            name, module = layers.get(node.target, ("", whole.get_submodule(node.target)))
            held = {place: each for place, each in enumerate(node.args) if each.op == "get_attr"}
            if held:
                module = _Holding(module, {place: _held(whole, each.target) for place, each in held.items()})
            reads = tuple(each.name for place, each in enumerate(node.args) if place not in held)
            steps.append(Step(name, reads, taken.get(node, (node.name,))))
            modules.append(module)
        elif node.op == "output":
            leave = node.args[0].name
    return Pieces(tuple(steps), tuple(modules), enter, leave)


class _Holding(nn.Module):
    """A piece that reads weights or buffers of the modules that its code is of, beside values."""

    def __init__(self, piece: nn.Module, held: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.piece, self.places = piece, tuple(sorted(held))
        for place in self.places:
            tensor = held[place]
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(f"held{place}", tensor)
            else:
                self.register_buffer(f"held{place}", tensor)

    def forward(self, *values: Tensor) -> Any:
        filled = list(values)
        for place in self.places:  # ascending, so that each is put where it was
            filled.insert(place, getattr(self, f"held{place}"))
        return self.piece(*filled)


def _held(whole: fx.GraphModule, name: str) -> Tensor:
    owner, _, attribute = name.rpartition(".")
    found: Tensor = getattr(whole.get_submodule(owner), attribute)
    return found


def _taken(whole: fx.GraphModule) -> dict[fx.Node, tuple[str, ...]]:
    """Names of the parts of what modules make that make several values."""
    found: dict[fx.Node, dict[int, str]] = {}
    for node in whole.graph.nodes:
        if node.op == "call_function" and node.target is operator.getitem:
            found.setdefault(node.args[0], {})[node.args[1]] = node.name
    return {node: tuple(parts[i] for i in sorted(parts)) for node, parts in found.items()}


def run(pieces: Pieces, x: Tensor, calls: Sequence[Any]) -> Tensor:
    """What the network makes of its input, (n, ...), by a function for every step."""
    values: dict[str, Any] = {pieces.enter: x}
    for step, call in zip(pieces.steps, calls, strict=True):
        made = call(*(values[name] for name in step.reads))
        values.update(zip(step.makes, made if isinstance(made, tuple | list) else (made,), strict=True))
    found: Tensor = values[pieces.leave]
    return found
