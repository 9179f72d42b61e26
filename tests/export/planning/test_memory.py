"""Plans keep to a memory budget: bands of rows inside their engines, else one engine instead of several; else it is said what cannot be cut."""

import re

import numpy as np
import pytest
from torch import nn

from edgeflow.export.compile import compile_model
from edgeflow.export.peak_memory import peak_memory
from edgeflow.flow import Flow, Image, RoutedModule
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import ExportError
from edgeflow.ops.adacof import AdaCoF
from edgeflow.runtime import Session
from edgeflow.targets import load

HEIGHT, WIDTH = 96, 64


class Wide(RoutedModule):
    """Two calls with a wide tensor between them; between layers of the second, a wider one."""

    inputs = (Image("frame"),)
    outputs = (Image("made"),)
    size = (HEIGHT, WIDTH)

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1)
        )

    def flow(self, f: Flow, frame):
        return f.call(self.second, f.call(self.first, frame))


class Whole(Wide):
    """The same, of which a mean of the whole frame is taken first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.InstanceNorm2d(32))
        self.second = nn.Conv2d(32, 3, 3, padding=1)


LAYER = HEIGHT * WIDTH * 4
"""Bytes of a channel."""


def made(model, tmp_path, memory, plan="chained", frames=()):
    return compile_model(
        model.eval(),
        load("cpu"),
        tmp_path / f"{memory}",
        reference={},
        strategy=plan,
        memory=memory,
        frames=frames,
    ).path


def test_a_plan_keeps_to_its_budget_and_makes_the_same(tmp_path):
    model = Wide()
    frame = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pictures, taken = [], []
    for memory, plan in ((None, "chained"), (30 * LAYER, "auto")):
        bundle = open_bundle(made(model, tmp_path, memory, plan))
        (found,) = bundle.manifest.plans.values()
        taken.append(peak_memory(bundle, found, model.size).bytes)
        pictures.append(Session(bundle, exact=True)(frame))
    assert taken[0] > 48 * LAYER and taken[1] <= 30 * LAYER
    assert len(found.stages) == 1
    assert "bands of rows" in bundle.manifest.provenance["remarks"][-1]
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-6)


class Sampled(RoutedModule):
    """AdaCoF, which has a native kernel, after layers that are wider than what it reads."""

    inputs = (Image("frame"),)
    outputs = (Image("made"),)
    size = (HEIGHT, WIDTH)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 90, 3, padding=1), nn.ReLU(), nn.Conv2d(90, 27, 3, padding=1)
        )
        self.adacof, self.last = AdaCoF(), nn.Conv2d(3, 3, 1)

    def kernels(self, frame):
        return (frame, *self.layers(frame).chunk(3, 1))

    def flow(self, f: Flow, frame):
        return f.call(self.last, f.call(self.adacof, *f.call(self.kernels, frame)))


def test_native_kernels_stay_where_bands_are_enough(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    bundle = open_bundle(made(Sampled(), tmp_path, 90 * LAYER, "auto", list(frames)))
    (found,) = bundle.manifest.plans.values()
    assert any(graph.kernel for graph in bundle.manifest.graphs.values())
    assert "bands of rows" in bundle.manifest.provenance["remarks"][-1]
    assert peak_memory(bundle, found, Sampled.size).bytes <= 90 * LAYER


def test_too_little_memory_is_refused_with_what_sees_whole_pictures(tmp_path):
    with pytest.raises(ExportError, match=r"64x96 frame takes .* InstanceNormalization.*--memory-budget"):
        made(Whole(), tmp_path, 8 * LAYER, "routes")


def test_a_chain_is_told_what_lies_between_its_engines(tmp_path):
    with pytest.raises(ExportError, match=r"MB lie between engines \(least with --plan routes\): give"):
        made(Wide(), tmp_path, 8 * LAYER, "chained")


def test_what_a_refusal_says_can_be_held_is_held(tmp_path):
    with pytest.raises(ExportError, match=r"bands of rows bring that to .* and no lower") as refused:
        made(Wide(), tmp_path, 4 * LAYER, "routes")
    (least,) = re.findall(r"--memory-budget ([\d.]+) or more", str(refused.value))
    bundle = open_bundle(made(Wide(), tmp_path, int(float(least) * 1e6), "routes"))
    (found,) = bundle.manifest.plans.values()
    assert "bands of rows" in bundle.manifest.provenance["remarks"][-1]
    assert peak_memory(bundle, found, Wide.size).bytes <= float(least) * 1e6
