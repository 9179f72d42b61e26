"""Every operator on every backend that runs here, against a loop in numpy."""

from pathlib import Path
from zlib import crc32

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import DRAWN, OPERATORS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from edgeflow.export.lowering.segment import SegmentModule, to_onnx
from edgeflow.export.operators import operators
from edgeflow.export.operators.descriptor import KernelDraft
from edgeflow.export.plugins.bodies import with_bodies
from edgeflow.export.weights import WeightFile
from edgeflow.ir.plan import Port
from edgeflow.runtime.backends import open_backend
from edgeflow.runtime.kernels import open_kernel

pytestmark = pytest.mark.slow

CASES = [
    pytest.param(make, id=f"{name}-{i}") for name, all in OPERATORS.items() for i, make in enumerate(all)
]
FORMS = [
    pytest.param(make, form, id=f"{name}-{i}-{form}")
    for name, all in OPERATORS.items()
    for i, make in enumerate(all)
    for form in (("native", "standard") if make().standard else ("native",))
]
KERNELS = [
    pytest.param(make, id=f"{name}-{i}")
    for name, all in OPERATORS.items()
    for i, make in enumerate(all)
    if make().kernel
]
PLUGINS = {own.name.partition("::")[2]: own.plugin.node for own in operators() if own.plugin}
LIBRARIES = ("onnxruntime", "openvino")
CLOSE = 1e-5


def close(found, wanted):
    """Largest difference, relative to the largest value."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= CLOSE * max(1.0, np.abs(wanted).max())


def inputs_of(case, kind, batch):
    return case.draw(np.random.default_rng(crc32(f"{kind} {batch}".encode())), kind, batch)


@pytest.mark.parametrize("make", CASES)
def test_eager_is_the_loop(make):
    case = make()
    for kind in case.kinds:
        drawn = inputs_of(case, kind, 2)
        with torch.no_grad():
            found = case.module(*(torch.tensor(x, dtype=torch.float32) for x in drawn))
        close(found.numpy(), case.loop(*(x.astype(np.float32).astype(float) for x in drawn)))


@pytest.mark.parametrize("name", OPERATORS)
def test_eager_is_the_loop_at_drawn_shapes(name):
    @given(DRAWN[name], st.sampled_from(("plain", "random", "border", "far", "still")), st.integers(1, 2))
    @settings(max_examples=25)
    def holds(case, kind, batch):
        drawn = inputs_of(case, kind if kind in case.kinds else "plain", batch)
        with torch.no_grad():
            found = case.module.double()(*map(torch.tensor, drawn))
        close(found.numpy(), case.loop(*drawn))

    holds()


def graph_of(case, form, path) -> set[str]:
    """Write a case's graph, batch symbolic; returns its operators."""
    inputs = [torch.tensor(x, dtype=torch.float32) for x in inputs_of(case, "plain", 2)]
    dynamic = [{0: torch.export.Dim("batch", min=1, max=64)}] * len(inputs)
    module = SegmentModule(case.module.eval(), {}, (False,) * len(inputs), (False,))
    model = to_onnx(module, inputs, dynamic, ["out.0"], "case", form)
    path.write_bytes(model.SerializeToString())
    return {node.op_type for node in model.graph.node}


def engine_of(case, library, path):
    """The engine of a case's graph file."""
    drawn = inputs_of(case, "plain", 1)
    ports = [Port(f"in.{i}", f"in.{i}", x.shape[1:], "float32") for i, x in enumerate(drawn)]
    out = Port("out.0", "out.0", case.loop(*drawn).shape[1:], "float32")
    return open_backend(library).load(path, ports, [out], {})


def holds_for(engine, case, batches):
    """Run offsets of every kind at several batches through one engine."""
    for kind in case.kinds:
        for batch in batches:
            drawn = [x.astype(np.float32) for x in inputs_of(case, kind, batch)]
            wanted = case.loop(*(x.astype(float) for x in drawn))
            found = np.full(wanted.shape, np.nan, np.float32)
            engine.run(drawn, [found])
            close(found, wanted)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The graph file of a case in a form, exported once, and its operators."""
    folder, made = tmp_path_factory.mktemp("operators"), {}

    def get(make, case, form) -> tuple[Path, set[str]]:
        if (make, form) not in made:
            path = folder / f"{len(made)}.onnx"
            made[make, form] = path, graph_of(case, form, path)
        return made[make, form]

    return get


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("make", "form"), FORMS)
def test_engines_are_the_loop(make, form, library, exported):
    case = make()
    path, nodes = exported(make, case, form)
    assert ("DeformConv" in nodes) == (case.standard and form == "native")
    holds_for(engine_of(case, library, path), case, (1, 3))


@pytest.mark.parametrize("name", OPERATORS)
def test_engines_are_the_loop_at_drawn_shapes(name, tmp_path):
    @given(DRAWN[name], st.sampled_from(["native", "standard"]))
    @settings(max_examples=4)
    def holds(case, form):
        graph_of(case, form, tmp_path / "drawn.onnx")
        for library in LIBRARIES:
            holds_for(engine_of(case, library, tmp_path / "drawn.onnx"), case, (1, 2))

    holds()


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin_bodies_are_the_loop(name, tmp_path):
    path = tmp_path / "plugin.onnx"
    for case in (make() for make in OPERATORS[name]):
        assert PLUGINS[name] in graph_of(case, "plugin", path)
        path.write_bytes(with_bodies(onnx.load(path)).SerializeToString())
        holds_for(engine_of(case, "onnxruntime", path), case, (1, 3))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", KERNELS)
def test_kernels_are_the_loop(make, threads, tmp_path):
    pytest.importorskip("numba")
    case = make()
    weights = WeightFile("weights.bin")
    kernel = weights.add_kernel(KernelDraft(*case.kernel))
    weights.write(tmp_path / weights.name)
    holds_for(open_kernel(kernel, tmp_path / weights.name, threads), case, (1, 3))


@pytest.mark.parametrize("make", CASES)
def test_gradients_are_those_of_finite_differences(make):
    case = make()
    module = case.module.double()
    inputs = [torch.tensor(x, requires_grad=True) for x in inputs_of(case, "plain", 1)]
    names = [name for name, _ in module.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for _, p in module.named_parameters()]

    def function(*values):
        own = dict(zip(names, values[len(inputs) :], strict=True))
        return functional_call(module, own, tuple(values[: len(inputs)]))

    assert torch.autograd.gradcheck(function, (*inputs, *parameters), fast_mode=True)


@pytest.mark.parametrize("make", CASES)
def test_shapes_are_known_without_values(make):
    case = make()
    inputs = [torch.tensor(x, dtype=torch.float32) for x in inputs_of(case, "plain", 3)]
    with torch.no_grad():
        wanted = case.module(*inputs)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.no_grad():
        found = case.module(*(mode.from_tensor(x) for x in inputs))
    assert (found.shape, found.dtype, found.stride()) == (wanted.shape, wanted.dtype, wanted.stride())
