"""Quality, routes and FLOPs of the packaged CAIN-SD, clip by clip.

    python benchmarks/cain_sd_quality.py --data FOLDER [--hold-out NAME ...]

Clips that training saw are scored on their last fifth, held-out clips throughout.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from records import record, save

from edgeflow.ir.errors import TrainError
from edgeflow.models.cain_sd import build
from edgeflow.models.cain_sd.weights import load_weights, pretrained
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate import ClipScore, evaluate


def line(score: ClipScore) -> str:
    """One row of a table in Markdown."""
    cells = [f"{q.psnr:.2f} / {q.ssim:.4f}" for q in (score.routed, score.full, score.average)]
    moving = [f"{q.moving:.2f}" if q.moving else "-" for q in (score.routed, score.full, score.average)]
    saved = score.flops_full / score.flops_routed
    return f"| {score.clip} | {' | '.join(cells)} | {' | '.join(moving)} | {saved:.2f} | {score.routes} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of video files")
    parser.add_argument("--cache", type=Path, help="folder for decoded frames; a temporary one if not given")
    parser.add_argument("--hold-out", nargs="*", default=[], help="clips that training did not see")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--variant", default="SD")
    parser.add_argument("--triplets", type=int, default=8, help="pictures predicted per clip")
    options = parser.parse_args()
    weights = pretrained(options.preset, options.variant)
    if weights is None:
        raise TrainError(f"no packaged weights of preset {options.preset}, variant {options.variant}")
    model = build(options.preset, options.variant)
    trained = load_weights(model, weights)
    with tempfile.TemporaryDirectory() as temporary:
        clips = load_clips(options.data, options.cache or Path(temporary), options.hold_out)
        records = []
        for clip in (*clips.training, *clips.held_out):
            score = evaluate(model, clip, clip.name in options.hold_out, options.triplets)
            print(line(score), flush=True)
            kind = {"family": "cain-sd", "preset": options.preset, "variant": options.variant}
            records.append(
                record(**kind, **asdict(score), held_out=clip.name in options.hold_out, weights=trained)
            )
    print(save("cain_sd_quality", records, ("family", "preset", "variant", "clip")))


if __name__ == "__main__":
    main()
