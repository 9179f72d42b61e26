"""How often FAN is right, and what it costs, by every way to choose how many frames to look at.

python benchmarks/fan_policy.py --data DIR --hold-out CLIP
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from records import record, save
from subject import TARGETS, bundle_folder, exported, subject

from edgeflow.ir.rules import Within
from edgeflow.ir.sampling import evenly
from edgeflow.models.fan import Cascade, FrameAdaptive, build
from edgeflow.models.fan.presets import PRESETS
from edgeflow.runtime import Fixed, Rules, Session
from edgeflow.targets import load
from edgeflow.training.data import Clip, load_clips
from edgeflow.training.motion import Motions, judged_part, stored_size

KEY = ("preset", "library", "policy")
SURE = (0.5, 0.7, 0.9, 0.97)
DEADLINES = (1.25, 2.5, 5.0)
"""Milliseconds of the median call of the shortest length, times this."""
SEED = 21


def main(
    data: Annotated[Path, typer.Option(help="Folder of video files.")],
    hold_out: Annotated[list[str] | None, typer.Option(help="Clips that training did not see.")] = None,
    library: str = "onnxruntime",
    preset: str = "tiny",
    motions: Annotated[int, typer.Option(help="Per clip.")] = 60,
    threads: int = 1,
    bundles: Annotated[Path | None, typer.Option(help="Keep bundles here, and take those there are.")] = None,
    cache: Annotated[Path | None, typer.Option(help="For decoded frames.")] = None,
) -> None:
    """Measure and save results/fan_policy.json."""
    model, trained = subject("fan", preset)
    assert isinstance(model, FrameAdaptive)
    about = {"preset": preset, "library": library, "trained": trained, "threads": threads}
    with bundle_folder(bundles) as folder, bundle_folder(cache) as decoded:
        side = PRESETS[preset].size[0]
        clips = load_clips(data, decoded, hold_out or [], stored_size(side))
        shown = list(drawn(clips.held_out or clips.training, bool(clips.held_out), side, motions))
        records = []
        for name, session, cut in ways(model, preset, library, threads, folder):
            own = record(**about, policy=name, clips=len(shown), **judged(session, shown, cut))
            print({k: v for k, v in own.items() if k not in ("machine", "versions", "date")}, flush=True)
            records.append(own)
    print(save("fan_policy", records, KEY))


def drawn(clips: tuple[Clip, ...], whole: bool, side: int, count: int) -> Iterator[tuple[Any, int]]:
    """Motions as clips (16, h, w, 3) uint8 with their labels; clips with too few frames give none."""
    for clip in clips:
        part = judged_part(clip, whole, side)
        if part.stop < 16:
            continue
        made = Motions((part,), 16, side, np.random.default_rng(SEED)).draw(count)
        for one, label in zip(made.clips, made.labels.tolist(), strict=True):
            yield (one * 255).round().byte().permute(0, 2, 3, 1).numpy(), label


def ways(
    model: FrameAdaptive, preset: str, library: str, threads: int, folder: Path
) -> Iterator[tuple[str, Session, bool]]:
    """Policies with a session each, and whether clips come with 1 to 16 frames instead of 16."""
    target = load(TARGETS[library])
    plain = exported(folder / f"{preset}-{library}.edgeflow", model, target)
    common: dict[str, Any] = {"library": library, "threads": threads}
    for frames in (4, 8, 16):
        yield f"always {frames}", Session(plain, policy=Fixed(frames=frames), **common), False
    yield "frames there are", Session(plain, **common), True
    least = judged(
        Session(plain, policy=Fixed(frames=4), **common),
        [(np.zeros((16, *PRESETS[preset].size, 3), np.uint8), 0)] * 40,
        False,
    )
    for times in DEADLINES:
        yield (
            f"within {times:g}x",
            Session(plain, policy=Rules(frames=Within(times * least["ms"])), **common),
            False,
        )
    for sure in SURE:
        cascade = build(preset, "cascade")
        assert isinstance(cascade, Cascade)
        cascade.load_state_dict(model.state_dict())
        cascade.sure = sure
        path = exported(folder / f"{preset}-cascade-{sure:g}-{library}.edgeflow", cascade, target)
        yield f"cascade {sure:g}", Session(path, **common), False


def judged(session: Session, shown: list[tuple[Any, int]], cut: bool) -> dict[str, Any]:
    """The share that is named right, and the mean cost of a clip."""
    rng = np.random.default_rng(SEED)
    right, spent, flops, looked = [], [], [], []
    for clip, label in shown:
        length = int(rng.integers(1, 17)) if cut else 16
        result = session.run(np.ascontiguousarray(clip[evenly(16, length)]))
        right.append(int(result.outputs[0].argmax()) == label)
        spent.append(result.trace.total_ms)
        flops.append(result.trace.flops)
        looked.append(" ".join(f"{name}={value[0]}" for name, value in result.trace.choices.items()))
    routes = {route: looked.count(route) for route in sorted(set(looked))}
    return {
        "right": float(np.mean(right)),
        "ms": float(np.median(spent)),
        "mean_ms": float(np.mean(spent)),
        "flops": float(np.mean(flops)),
        "routes": routes,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    typer.run(main)
