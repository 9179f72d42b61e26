"""CAIN-SD as a family."""

from edgeflow.models.cain_sd.model import PRESETS, WholeFrame, build
from edgeflow.models.cain_sd.weights import pretrained
from edgeflow.models.family import Family, Option, Recipe

FAMILY = Family(
    name="cain-sd",
    about="frame interpolation that picks a scale and a depth for every patch",
    presets=tuple(PRESETS),
    variants=("S", "D", "SD"),
    preset="small",
    variant="SD",
    build=build,
    pretrained=pretrained,
    full_static=WholeFrame,
    recipe=Recipe(
        begin="edgeflow.training.cain_sd:begin",
        help="""Train CAIN-SD, frame interpolation that picks a scale and a depth for every patch.

    Learns from a folder of clips: every middle frame of three is its own label. Ctrl-C keeps what
    was learnt; the same command goes on from there.
    """,
        presets_help="Size: full is the paper's and wants a GPU; small can be trained on a CPU, in hours; tiny is for tests.",
        variants_help="What is chosen per patch: S scale, D depth, SD both.",
        options=(
            Option(
                "lambda_scale",
                float,
                "Price of scale's FLOPs per pixel; higher is cheaper and blurrier.",
                least=0,
            ),
            Option(
                "lambda_depth", float, "Price of depth's FLOPs per pixel; higher leaves earlier.", least=0
            ),
        ),
    ),
    evaluate="edgeflow.training.evaluate:evaluate",
)
