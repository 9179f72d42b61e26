"""The family, as edgeflow finds it by the entry point in pyproject.toml."""

from edgeflow.models.family import Family, Option, Recipe
from edgeflow_brighten.model import PRESETS, WholeFrame, build

FAMILY = Family(
    name="brighten",
    about="dark pictures made bright, deeper where a tile needs it",
    presets=tuple(PRESETS),
    variants=("deep", "deeper"),
    preset="small",
    variant="deep",
    build=build,
    full_static=WholeFrame,
    recipe=Recipe(
        begin="edgeflow_brighten.training:begin",
        help="Train a model that brightens dark pictures. Clips are darkened for it.",
        presets_help="Size: tiny is for tests.",
        options=(Option("price", float, "Price of going deep; higher is cheaper.", least=0),),
    ),
    evaluate="edgeflow_brighten.evaluation:evaluate",
)
