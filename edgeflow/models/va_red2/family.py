"""VA-RED2 as a family."""

from pathlib import Path

from edgeflow.models.family import Family, Option, Recipe
from edgeflow.models.va_red2.model import PRESETS, VARIANTS, build, static
from edgeflow.models.va_red2.weights import pretrained

FAMILY = Family(
    name="va-red2",
    about="recognition that computes, layer by layer, only what a clip needs",
    presets=tuple(PRESETS),
    variants=tuple(VARIANTS),
    preset="tiny",
    variant="two",
    build=build,
    pretrained=pretrained,
    full_static=static,
    recipe=Recipe(
        begin="edgeflow.training.va_red2:begin",
        help="""Train VA-RED2: a network of which each clip takes only what it needs of every layer.

    It learns to tell motions that are made of the clips: a window over a clip goes right, left, fast, slowly, stays or
    shrinks. Ctrl-C keeps what was learnt; the same command goes on from there.
    """,
        presets_help="tiny is for the motions and trains in minutes on a CPU; the paper's networks want a GPU.",
        variants_help="Search space: two computes all or half of a layer, three a quarter as well; static is the network without gates.",
        variant_option="space",
        options=(
            Option(
                "network",
                Path,
                "Weights of the trained network (.safetensors, of the same preset and --space static) to begin with. Without, all is "
                "learnt at once, as in the paper.",
            ),
            Option(
                "price",
                float,
                "Weight of the efficiency loss; higher computes less. The paper's is 0.8.",
                least=0,
            ),
        ),
    ),
    evaluate="edgeflow.training.evaluate_va_red2:evaluate",
)
