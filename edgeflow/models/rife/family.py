"""RIFE as a family."""

from edgeflow.models.family import Family, Recipe
from edgeflow.models.rife.model import PRESETS, PUBLISHED, VARIANTS, WholeFrame, build
from edgeflow.models.rife.weights import pretrained

FAMILY = Family(
    name="rife",
    about="interpolation by published weights, of which each tile takes what it needs",
    presets=tuple(PRESETS),
    variants=tuple(VARIANTS),
    preset=PUBLISHED,
    variant="flow",
    build=build,
    pretrained=pretrained,
    full_static=WholeFrame,
    recipe=Recipe(
        begin="edgeflow.training.rife:begin",
        help="""Train RIFE's router: which tiles of a frame need the network, and how much of it.

    It learns from errors that are measured on the clips, every way; the network stays as it was published. Ctrl-C keeps what
    was learnt; the same command goes on from there.
    """,
        presets_help="4.0 is the published network; tiny has no weights.",
        variants_help="flow, or refined, whose dearest way adds the refinement.",
    ),
)
