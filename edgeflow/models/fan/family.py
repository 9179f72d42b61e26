"""FAN as a family."""

from edgeflow.models.family import Family, Recipe
from edgeflow.models.fan.model import Longest
from edgeflow.models.fan.presets import PRESETS, VARIANTS, build, pretrained

FAMILY = Family(
    name="fan",
    about="recognition of clips of any length by one network, of which the length is the route",
    presets=tuple(PRESETS),
    variants=VARIANTS,
    preset="tiny",
    variant="all",
    build=build,
    pretrained=pretrained,
    full_static=Longest,
    recipe=Recipe(
        begin="edgeflow.training.fan:begin",
        help="""Train FAN: one network for clips of 4, 8 and 16 frames, of which each length learns from the longest.

    It learns to tell motions that are made of the clips: a window over a clip goes right, left, fast, slowly, stays or
    shrinks. Ctrl-C keeps what was learnt; the same command goes on from there.
    """,
        presets_help="tiny looks at 64x64 pixels; the others are the paper's and want a GPU.",
        variants_help="`all` serves clips of 4, 8 and 16 frames, `cascade` looks at more of them where few leave it unsure, `stream` "
        "takes frames one by one: one network, whose weights fit all three. 4, 8 and 16 are plain networks of one length.",
    ),
    evaluate="edgeflow.training.evaluate_fan:evaluate",
)
