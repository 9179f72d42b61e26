"""From a network to a small one that learnt from it, with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeflow.ir.errors import TrainError
from edgeflow.training.compression.density import component_densities, densities, layers_of, overall
from edgeflow.training.compression.learning import Batch, Pace, distil, sparsify, truth
from edgeflow.training.compression.shrink import shrink


@dataclass(frozen=True)
class Plan:
    """What is asked of a compression.

    Attributes:
        sparse: the pace of the phase that makes weights zero.
        distil: the pace of the phase that learns from the large network.
        sparsity: weight of the l1 norm, lambda.
        keep: names of layers, or of modules that hold some, to leave as they are.
        drop_below: a component (a direct child) of a lower density is removed, if the network can be without it.
    """

    sparse: Pace
    distil: Pace
    sparsity: float = 1e-4
    keep: tuple[str, ...] = ()
    drop_below: float = 0.02


@dataclass(frozen=True)
class Layer:
    """One layer before and after.

    Attributes:
        name: in the network.
        density: share of its weights that are not zero after the sparse phase.
        before: shape of its weight.
        after: the same in the small network; None if it is not there.
        left: why it has its width still, if it was not to be followed.
    """

    name: str
    density: float
    before: tuple[int, ...]
    after: tuple[int, ...] | None
    left: str | None = None


@dataclass(frozen=True)
class Size:
    """What a network takes.

    Attributes:
        parameters: of all its layers.
        flops: of a batch, 2 per multiply-accumulate.
        ms: of one run on the target, if that was measured.
    """

    parameters: int
    flops: int
    ms: float | None = None


@dataclass(frozen=True)
class Report:
    """What compression did.

    Attributes:
        density: of all layers together.
        layers: one by one.
        components: densities of the network's direct children.
        dropped: components that were removed.
        sparse_but_there: components of a density below the limit that the network cannot be without.
        before: the size of the network.
        after: that of the small one.
    """

    density: float
    layers: tuple[Layer, ...]
    components: Mapping[str, float]
    dropped: tuple[str, ...]
    sparse_but_there: tuple[str, ...]
    before: Size
    after: Size


@dataclass(frozen=True)
class Compressed:
    """The small network and what became of the large one."""

    module: nn.Module
    report: Report


def compress(
    module: nn.Module, batches: Iterator[Batch], plan: Plan, say: Callable[[str], None]
) -> Compressed:
    """Make a network sparse, rebuild it smaller, and let that learn from it.

    Args:
        module: any network; it is not changed. One that can be without a component has a method `without(name)`.
        batches: to learn from; the first one's first sample also shows how the network hangs together.
        plan: what is asked.
        say: told which phase begins.

    Raises:
        TrainError: the network does not take what the batches give, cannot be followed, a loss is not finite, or a name in `keep` is none of its
            modules.

    Source: ST-MFNet Mini, section II.
    """
    if unknown := set(plan.keep) - dict(module.named_modules()).keys():
        raise TrainError(
            f"no module {', '.join(sorted(unknown))} to keep: give names such as {next(layers_of(module))[0]}"
        )
    inputs, target = next(batches)
    _check_runs(module, inputs, target)
    one = tuple(each[:1] for each in inputs)
    sparse = deepcopy(module)
    say("sparse")
    kept = [p for name in plan.keep for p in sparse.get_submodule(name).parameters()]
    sparsify(sparse, batches, plan.sparse, plan.sparsity, kept)
    of = densities(sparse)
    components = component_densities(sparse, of)
    low = [name for name, density in components.items() if density < plan.drop_below]
    say("rebuild")
    left_out = tuple(name for name in low if hasattr(sparse, "without"))
    rest = sparse
    for name in left_out:
        rest = rest.without(name)  # type: ignore[operator]
    within = {name: of.get(name, 1.0) for name, _ in layers_of(rest)}
    there = dict(rest.named_modules())
    shrunk = shrink(rest, one, within, [name for name in plan.keep if name in there])
    say("distil")
    distil(shrunk.module, module, batches, plan.distil)
    small = shrunk.module.eval()
    after = dict(layers_of(small))
    layers = tuple(
        Layer(
            name,
            of[name],
            tuple(layer.weight.shape),  # type: ignore[arg-type]
            tuple(after[name].weight.shape) if name in after else None,  # type: ignore[arg-type]
            shrunk.left.get(name),
        )
        for name, layer in layers_of(module)
    )
    needed = tuple(name for name in low if name not in left_out)
    sizes = size(module, one), size(small, one)
    return Compressed(small, Report(overall(sparse, of), layers, components, left_out, needed, *sizes))


def _check_runs(module: nn.Module, inputs: tuple[Tensor, ...], target: Tensor) -> None:
    """Run a network once, before anything is learnt.

    Raises:
        TrainError: it does not run, or its output does not fit the target.
    """
    try:
        with torch.no_grad():
            made = deepcopy(module).eval()(*inputs)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        given = ", ".join(str(tuple(each.shape)) for each in inputs)
        why = str(error).partition("\n")[0]
        raise TrainError(f"the network does not run on what batches gives, {given}: {why}") from error
    if not isinstance(made, Tensor):
        raise TrainError(f"the network makes a {type(made).__name__}: let it make one tensor")
    truth(made, target)


def size(module: nn.Module, inputs: tuple[Tensor, ...]) -> Size:
    """Parameters and FLOPs of a run."""
    counter = FlopCounterMode(display=False)
    own = deepcopy(module).eval()
    with counter, torch.no_grad():
        own(*inputs)
    return Size(sum(p.numel() for p in module.parameters()), int(counter.get_total_flops()))


def measured(report: Report, before: float, after: float) -> Report:
    """The report with milliseconds."""
    return replace(report, before=replace(report.before, ms=before), after=replace(report.after, ms=after))
