"""Shortcut-V2V as a family."""

from pathlib import Path

from edgeflow.models.family import Family, Option, Recipe
from edgeflow.models.shortcut_v2v.model import PRESETS, Teacher, build
from edgeflow.models.shortcut_v2v.weights import pretrained

FAMILY = Family(
    name="shortcut-v2v",
    about="video translation that recomputes most of a generator only now and then",
    presets=tuple(PRESETS),
    variants=("low", "medium", "high"),
    preset="tiny",
    variant="medium",
    build=build,
    pretrained=pretrained,
    full_static=Teacher,
    recipe=Recipe(
        begin="edgeflow.training.shortcut_v2v:begin",
        help="""Train Shortcut-V2V: the block that stands in for most of a video translator between key frames.

    Frames are resized to the preset's size. Ctrl-C keeps what was learnt; the same command goes on
    from there.
    """,
        presets_help="tiny paints frames from edges; full is the paper's and wants a GPU.",
        variants_help="How much of the teacher a shortcut frame runs.",
        variant_option="dependence",
        options=(
            Option(
                "teacher",
                Path,
                "Weights of a trained teacher (.safetensors, of this preset and any dependence). Without, a "
                "teacher is trained first, to paint each frame from what its first modules see.",
            ),
        ),
    ),
    evaluate="edgeflow.training.evaluate_shortcut:evaluate",
)
