"""Models and bundles that several folders of tests share; each bundle is compiled once."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from edgeflow.export.precision import pays

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import `routed_models`

import kept_bundles

_cache = tempfile.TemporaryDirectory(prefix="edgeflow-tests-")  # never the user's own
os.environ["EDGEFLOW_CACHE"] = _cache.name
# Models of tests are so small that torch's threads wait for one another longer than they work.
os.environ["COLUMNS"] = "160"  # tables are as wide wherever tests run
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in processes that tests start
torch.set_num_threads(1)

settings.register_profile(
    "edgeflow", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("edgeflow")

pays.LEAST_GAIN = 0.0  # so that which engines are below fp32 does not hang on how fast this machine is; test_pays.py sets it


def pytest_configure(config: pytest.Config) -> None:
    """Graphs of segments and bundles are kept from run to run, by hashes of all that they follow from."""
    if hasattr(config, "cache"):  # not with -p no:cacheprovider
        (Path(_cache.name) / "graphs").symlink_to(config.cache.mkdir("edgeflow-graphs"))
        os.environ[kept_bundles.PLACE] = str(config.cache.mkdir("edgeflow-bundles"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes is slow, too."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Old bundles make room for new ones."""
    if kept_bundles.PLACE in os.environ and not hasattr(config, "workerinput"):  # that of the run as a whole
        kept_bundles.trim(Path(os.environ[kept_bundles.PLACE]))


STRATEGIES = ("chained", "routes")


@pytest.fixture(scope="session")
def tiny() -> Any:
    """A tiny CAIN-SD whose finder sends the tiles of the synthetic clip on several routes."""
    from edgeflow.export.sample import moving_picture
    from edgeflow.flow.tensors import to_tensor
    from edgeflow.models.cain_sd import build

    torch.manual_seed(1)
    model = build("tiny")
    finder = model.sd_finder
    for parameter in finder.parameters():
        parameter.data.normal_(0, 0.3)
    with torch.no_grad():
        maps = finder(*(to_tensor(moving_picture(200, 310, time)) for time in (0, 1)))
        for net, scores in zip((finder.scale_net, finder.depth_net), maps, strict=True):
            net[-1].bias -= scores.mean((0, 2, 3))  # no choice is the favourite
    return model


@pytest.fixture(scope="session")
def export_tiny(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Compiles it under a name. Segments are lowered once: later exports go on as if interrupted after that."""
    from edgeflow.targets import load

    folder = tmp_path_factory.mktemp("tiny")
    lowered = folder / "lowered"

    def export(name: str, target: Any = None, **options: Any) -> Any:
        output, partial = folder / f"{name}.edgeflow", folder / f"{name}.edgeflow.partial"
        if lowered.exists():
            shutil.copytree(lowered, partial)

        def keep(what: str, done: int, total: int) -> None:
            if what.startswith("lower") and done == total:
                shutil.copytree(partial, lowered, dirs_exist_ok=True)

        what = {"reference": {"model": "tiny"}, "progress": keep}
        made = kept_bundles.compile_kept(tiny, target or load("cpu"), output, **what, **options)
        shutil.rmtree(partial, ignore_errors=True)  # where the bundle was not made, but kept
        return made

    return export


@pytest.fixture(scope="session")
def tiny_bundles(export_tiny: Callable[..., Any]) -> dict[str, Any]:
    """What compiling it said, by strategy."""
    return {strategy: export_tiny(strategy, strategy=strategy) for strategy in STRATEGIES}


@pytest.fixture(scope="session")
def int8_clip() -> list[Any]:
    """The frames that `tiny_int8` was calibrated with."""
    from edgeflow.export.sample import moving_picture

    return [moving_picture(200, 310, time) for time in range(5)]


@pytest.fixture(scope="session")
def tiny_int8(export_tiny: Callable[..., Any], int8_clip: list[Any]) -> dict[str, Any]:
    """What compiling it at int8 said, by strategy."""
    from edgeflow.targets import load

    target = load("cpu").at("int8")
    return {s: export_tiny(f"{s}-int8", target, strategy=s, frames=int8_clip) for s in STRATEGIES}


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Any, Any]]:
    """A function from the name of a small model and a strategy to the model and its bundle."""
    from routed_models import small

    from edgeflow.targets import load

    folder = tmp_path_factory.mktemp("small")
    made: dict[tuple[str, str], tuple[Any, Any]] = {}

    def get(name: str, strategy: str) -> tuple[Any, Any]:
        if (name, strategy) not in made:
            model = small(name)
            output = folder / f"{name}-{strategy}.edgeflow"
            what = {"reference": {"model": name}, "strategy": strategy}
            compiled = kept_bundles.compile_kept(model, load("cpu"), output, **what)
            made[name, strategy] = model, compiled
        return made[name, strategy]

    return get


@pytest.fixture
def random() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(5)
