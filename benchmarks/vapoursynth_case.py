"""What benchmarks/vapoursynth_peers.py compares, made in a folder: RIFE's bundles, one ONNX file for vs-mlrt, and pictures.

    pip install nncf        # for int8
    python benchmarks/vapoursynth_case.py cups.mp4 CASE --size 640x384 --library onnxruntime --precision int8

It needs torch, and the comparison VapourSynth, so that each may run in an environment of its own. The network of the preset is exported
once for edgeflow and once as one ONNX file, at the same size. At bf16 that file is the same, since a library is told to compute
it so; at int8 NNCF quantises it by its own choices, with the frames that edgeflow's export is calibrated with. Of the clip every second
frame is given; those between are left out, to compare with. PyTorch makes these in float32. A bundle that the export refuses is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray
from subject import TARGETS, Pictures, exported, parsed_size, pictures_of, subject
from torch import nn

from edgeflow.cli.remarks import print_remarks
from edgeflow.flow import Eager
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.errors import ExportError
from edgeflow.models import family as family_of
from edgeflow.targets import load


class Stacked(nn.Module):
    """A whole network that takes both frames and a plane of the time as channels, as vs-mlrt gives them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = Eager(self.model)(x[:, :3], x[:, 3:6], x[:, 6, 0, :1]).outputs[0]
        return made.clamp(0, 1)


def main(
    clip: Path,
    case: Annotated[Path, typer.Argument(help="Folder; what is in it is taken as it is.")],
    preset: str = "4.0",
    size: str = "640x384",
    frames: int = 12,
    library: Annotated[str, typer.Option(help="Of both sides: openvino or onnxruntime.")] = "openvino",
    precision: Annotated[str, typer.Option(help="fp32, bf16 (OpenVINO) or int8.")] = "fp32",
) -> None:
    """Make CASE."""
    case.mkdir(parents=True, exist_ok=True)
    film = pictures_of(clip, 2 * frames - 1, parsed_size(size))
    model, _ = subject("rife", preset, "flow")
    static = family_of("rife").full_static(model)
    calls = [_stacked(*pair) for pair in pairwise(film[::2])]
    network = Stacked(static).eval()
    if not (case / "network.onnx").exists():
        _write_network(case / "network.onnx", network, calls, precision)
    target = load(TARGETS[library]).at(precision)
    refused = {}
    for kind, each in (("routed", model), ("whole", static)):
        seen = film[::2] if precision == "int8" else []
        try:
            path = exported(case / kind, each, target, "routes", frames=seen)
        except ExportError as error:
            refused[kind] = str(error)
            continue
        print_remarks(open_bundle(path).manifest.graphs, f"{kind}: ")
    np.savez(case / "pictures.npz", shown=film[::2], left_out=film[1::2], exact=_exact(network, calls))
    fields = {"preset": preset, "clip": clip.stem, "size": size, "frames": frames}
    fields |= {"library": library, "precision": precision, "refused": refused}
    (case / "case.json").write_text(json.dumps(fields))


def _stacked(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> torch.Tensor:
    """The input for the picture halfway between two."""
    frames = torch.cat([to_tensor(first), to_tensor(second)], 1)
    return torch.cat([frames, torch.full_like(frames[:, :1], 0.5)], 1)


def _write_network(path: Path, network: nn.Module, calls: Sequence[torch.Tensor], precision: str) -> None:
    plain = path.with_name("float.onnx") if precision == "int8" else path
    torch.onnx.export(network, (calls[0],), str(plain), dynamo=True, external_data=False)
    if precision == "int8":
        import nncf

        held = onnx.load(plain)
        given = [{held.graph.input[0].name: call.numpy()} for call in calls]
        onnx.save(nncf.quantize(held, nncf.Dataset(given), subset_size=len(given)), path)


def _exact(network: nn.Module, calls: Sequence[torch.Tensor]) -> Pictures:
    with torch.no_grad():
        made = [network(call)[0] for call in calls]
    return [(each * 255).round().byte().permute(1, 2, 0).numpy() for each in made]


if __name__ == "__main__":
    typer.run(main)
