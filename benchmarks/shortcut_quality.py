"""How like the teacher's the shortcut frames of the packaged Shortcut-V2V are, clip by clip.

    python benchmarks/shortcut_quality.py --data FOLDER [--hold-out NAME ...]

Clips that training saw are scored on their last fifth, held-out clips from their start.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from records import record, save

from edgeflow.ir.errors import TrainError
from edgeflow.models.shortcut_v2v import PRESETS, build
from edgeflow.models.shortcut_v2v.weights import pretrained
from edgeflow.models.weights import load_weights
from edgeflow.training.data import load_clips
from edgeflow.training.evaluate_shortcut import ShortcutScore, evaluate


def line(score: ShortcutScore) -> str:
    """One row of a table in Markdown."""
    pair = (score.shortcut, score.copied)
    cells = [f"{x.psnr:.2f} / {x.ssim:.4f}" for x in pair] + [
        f"{x.change:.2f}, {x.flicker:.2f}" for x in pair
    ]
    return f"| {score.clip} | {score.frames} | {' | '.join(cells)} | {score.teacher_psnr:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of video files")
    parser.add_argument("--cache", type=Path, help="folder for decoded frames; a temporary one if not given")
    parser.add_argument("--hold-out", nargs="*", default=[], help="clips that training did not see")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--weights", type=Path, help="the packaged ones if not given")
    parser.add_argument("--frames", type=int, default=48, help="per clip")
    options = parser.parse_args()
    weights = options.weights or pretrained(options.preset)
    if weights is None:
        raise TrainError(f"no packaged weights of preset {options.preset}")
    model = build(options.preset)
    trained = load_weights(model, weights)
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        clips = load_clips(options.data, cache, options.hold_out, PRESETS[options.preset].size)
        records = []
        for clip in (*clips.training, *clips.held_out):
            held_out = clip.name in options.hold_out
            score = evaluate(model, clip, held_out, options.frames)
            print(line(score), flush=True)
            kind = {"family": "shortcut-v2v", "preset": options.preset}
            records.append(record(**kind, **asdict(score), held_out=held_out, weights=trained))
    print(save("shortcut_quality", records, ("family", "preset", "clip")))


if __name__ == "__main__":
    main()
