"""edgeflow against other ways to run the same routed model, on one clip.

    python benchmarks/peers.py --clip juggle.mp4

One process, in turn, frame by frame, medians. All routed peers take the same routes: the model's own.
Each answer is compared with the eager model (PSNR of the first frame, more than 70 dB) before it is timed;
a peer that cannot run here is recorded with the reason. Peers:

- eager: PyTorch, tiles of one route and segment as one batch
- compiled: the same with torch.compile for every segment variant; the time to compile, with one run of
  every frame, so that nothing is compiled while times are taken, is its `ready_seconds`
- full: the full static model, whole frame, one engine
- nested-if: one ONNX model with `If` per tile (nested_if.py), router and tiling as in edgeflow; once with
  its weights shared by the branches, once with the weights of every branch of its own
- unbatched: edgeflow, plan chained, batch size 1 only
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import compiled
import numpy as np
import torch
import typer
from interleaved import interleaved
from mixes import MIXES
from nested_if import session_of_one_model
from numpy.typing import NDArray
from records import record, save
from static_models import full_static
from steered import steered
from subject import TARGETS, Pictures, bundle_folder, exported, mix_of, parsed_size, pictures_of, subject

from edgeflow.flow import Eager, RoutedModule
from edgeflow.flow.tasks import task_of
from edgeflow.flow.tensors import to_tensor
from edgeflow.ir.film import calls_of
from edgeflow.runtime import Session, open_bundle
from edgeflow.targets import load

Picture = NDArray[np.uint8]
Run = Callable[[Picture, Picture], Picture]
KEY = ("family", "preset", "peer", "backend", "clip", "size", "threads")
ENOUGH = 70.0
"""PSNR in dB from which two pictures count as equal: fewer than one value in 150 differs by 1."""


@dataclass(frozen=True)
class Peer:
    """A way to run the model.

    Attributes:
        name: of the way.
        backend: the library that runs it.
        make: loads it.
        export: makes the bundle that `make` takes, which does not count as loading.
        routed: whether it is the routed model (or the full one).
    """

    name: str
    backend: str
    make: Callable[[], Run]
    export: Callable[[], Path | None] = lambda: None
    routed: bool = True


def main(
    clip: Annotated[Path, typer.Option(help="The video to run.")],
    family: Annotated[str, typer.Option(help="Model family.")] = "cain-sd",
    preset: str = "small",
    plans: Annotated[str, typer.Option(help="edgeflow's, of chained, routes, auto.")] = "chained,routes",
    library: Annotated[str, typer.Option(help="Engine libraries.")] = "onnxruntime,openvino",
    only: Annotated[str, typer.Option(help="Names of peers, comma-separated; all if empty.")] = "",
    frames: int = 20,
    warm: int = 2,
    threads: int = 2,
    size: Annotated[str, typer.Option(help="Resize the clip, as 960x540.")] = "",
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
) -> None:
    """Measure and save results/peers.json."""
    torch.set_num_threads(threads)
    pictures = pictures_of(clip, warm + frames + 1, parsed_size(size) if size else None)
    height, width = pictures[0].shape[:2]
    model, trained = subject(family, preset)
    about = {
        "family": family,
        "preset": preset,
        "clip": clip.stem,
        "size": f"{width}x{height}",
        "threads": threads,
        "frames": frames,
        "mix": "router" if trained else "paper",
    }
    with bundle_folder(bundles) as folder:
        maker = _Maker(family, model, preset, pictures, folder, threads, about["mix"])
        peers = maker.torch_peers()
        for name in library.split(","):
            peers += maker.engine_peers(name, plans.split(","))
        peers = [peer for peer in peers if not only or peer.name in only.split(",")]
        ready, records = _prepare(peers, pictures, maker)
        runs = {key: entry[1] for key, entry in ready.items()}
        timed = interleaved(
            runs, list(calls_of(task_of(model), pictures)), warm, lambda picture: None, pause=0.05
        )
    for key, (peer, _, extra) in ready.items():
        records.append({"peer": peer.name, "backend": peer.backend, "ms": timed[key].median, **extra})
    _relate(records)
    for own in records:
        print(_line(own), flush=True)
    save("peers", [record(**about, **own) for own in records], KEY)


class _Maker:
    """Makes the peers of one model and clip."""

    def __init__(
        self,
        family: str,
        model: RoutedModule,
        preset: str,
        pictures: Pictures,
        folder: Path,
        threads: int,
        mix: Any,
    ) -> None:
        self.model, self.preset, self.pictures, self.folder = model, preset, pictures, folder
        self.threads, self.policy = threads, MIXES[mix]
        self.size = pictures[0].shape[:2]
        self.whole = full_static(family, model)

    def wanted(self, routed: bool) -> Picture:
        """The first frame, by the eager model."""
        eager = steered(self.model, self.policy) if routed else Eager(self.whole)
        return _torch_run(eager)(*self.pictures[:2])

    def torch_peers(self) -> list[Peer]:
        return [
            Peer("eager", "torch", lambda: _torch_run(steered(self.model, self.policy))),
            Peer("compiled", "torch", self._compiled),
        ]

    def engine_peers(self, library: str, plans: list[str]) -> list[Peer]:
        def of(name: str, export: Callable[[], Path], routed: bool = True) -> Peer:
            return Peer(name, library, lambda: self._session(export(), library, routed), export, routed)

        def nested(name: str, shared: bool) -> Peer:
            return Peer(
                name, library, lambda: self._nested(library, shared), lambda: self._bundle("routes", library)
            )

        return [
            *(of(f"edgeflow {plan}", partial(self._bundle, plan, library)) for plan in plans),
            of("unbatched", partial(self._unbatched, library)),
            nested("nested-if", shared=True),
            nested("nested-if own weights", shared=False),
            of("full", partial(self._full, library), routed=False),
        ]

    def _session(self, bundle: Path, library: str, routed: bool) -> Run:
        policy = self.policy if routed else None
        return Session(bundle, library=library, threads=self.threads, policy=policy)

    def _bundle(self, plan: str, library: str) -> Path:
        target = load(TARGETS[library])
        path = self.folder / f"{self.preset}-{plan}-{target.name}.edgeflow"
        mix = mix_of(self.model, self.policy, self.size) if self.policy else None
        return exported(path, self.model, target, plan, frames=self.pictures, mix=mix)

    def _unbatched(self, library: str) -> Path:
        target = replace(load(TARGETS[library]), batches=(1,))
        return exported(self.folder / f"{self.preset}-unbatched-{target.name}.edgeflow", self.model, target)

    def _full(self, library: str) -> Path:
        target, (height, width) = load(TARGETS[library]), self.size
        path = self.folder / f"{self.preset}-whole-{width}x{height}-{target.name}.edgeflow"
        return exported(path, self.whole, target, sizes=[self.size])

    def _nested(self, library: str, shared: bool) -> Run:
        bundle = open_bundle(self._bundle("routes", library))
        return session_of_one_model(bundle, library, self.threads, self.size, self.policy, shared)

    def _compiled(self) -> Run:
        compiled.settle()
        run = _torch_run(steered(self.model, self.policy, compiled.CompiledFlow))
        for call in calls_of(
            task_of(self.model), self.pictures
        ):  # every group size that will be timed is compiled for
            run(*call)
        return run


def _torch_run(eager: Eager) -> Run:
    def run(*frames: Picture) -> Picture:
        image = eager(*map(to_tensor, frames)).outputs[0][0]
        picture: Picture = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return picture

    return run


def _prepare(
    peers: list[Peer], pictures: Pictures, maker: _Maker
) -> tuple[dict[str, tuple[Peer, Run, dict[str, float]]], list[dict[str, Any]]]:
    """Load every peer and compare its first frame; those that can be timed, and records of the others."""
    wanted = {routed: maker.wanted(routed) for routed in (True, False)}
    ready: dict[str, tuple[Peer, Run, dict[str, float]]] = {}
    failed: list[dict[str, Any]] = []
    for peer in peers:
        try:
            peer.export()
            start = perf_counter()
            run = peer.make()
            psnr = _psnr(run(*pictures[:2]), wanted[peer.routed])
        except Exception as error:  # whatever a library raises is a result here, and is recorded
            reason = f"{type(error).__name__}: {error}".strip()
            failed.append({"peer": peer.name, "backend": peer.backend, "error": reason[:1000]})
            continue
        if psnr <= ENOUGH:
            error_text = f"its picture differs from the eager one: PSNR {psnr:.1f} dB"
            failed.append({"peer": peer.name, "backend": peer.backend, "error": error_text})
            continue
        ready[f"{peer.name} {peer.backend}"] = (
            peer,
            run,
            {"psnr_db": psnr, "ready_seconds": perf_counter() - start},
        )
    return ready, failed


def _relate(records: list[dict[str, Any]]) -> None:
    """Add each peer's time over that of the fastest edgeflow: of the same library, or of all for torch."""
    own = [r for r in records if r["peer"].startswith("edgeflow") and "ms" in r]
    for each in records:
        rivals = [r["ms"] for r in own if each["backend"] in (r["backend"], "torch")]
        if "ms" in each and rivals:
            each["times_edgeflow"] = each["ms"] / min(rivals)


def _psnr(picture: Picture, wanted: Picture) -> float:
    error = np.mean((picture.astype(np.float64) - wanted) ** 2) / 255**2
    return float(-10 * np.log10(max(float(error), 1e-12)))


def _line(own: dict[str, Any]) -> str:
    name = f"{own['peer']:22} {own['backend']:12}"
    if "error" in own:
        return f"{name} not run: {own['error'].splitlines()[0]}"
    return f"{name} {own['ms']:8.1f} ms, PSNR {own['psnr_db']:.1f} dB, ready in {own['ready_seconds']:.1f} s"


if __name__ == "__main__":
    typer.run(main)
