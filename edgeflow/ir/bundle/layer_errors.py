"""What each layer of a bundle's engines loses by its precision, as found at export: `layers.json` in the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeflow.ir.bundle.json_file import read_beside
from edgeflow.ir.bundle.schema import each, nullable, number, record, table, text
from edgeflow.ir.errors import BundleError

FILE = "layers.json"


@dataclass(frozen=True)
class LayerError:
    """Signal to error of one layer's output against fp32, in dB.

    Attributes:
        layer: name of its node.
        precision: that it is computed at.
        alone_db: if all before it is exact; none of a layer in float, which then is exact.
        accumulated_db: in the engine as it is, with the errors of all layers before it.
    """

    layer: str
    precision: str
    alone_db: float | None
    accumulated_db: float


_LAYER = record(
    {"layer": text(), "precision": text(100), "alone_db": nullable(number()), "accumulated_db": number()}
)
_SCHEMA = table(text(200), each(_LAYER, 100_000), 16_384)


def layers_to_json(errors: Mapping[str, Sequence[LayerError]]) -> str:
    """The file's text, of the layers of each graph."""
    return json.dumps({name: list(map(asdict, layers)) for name, layers in errors.items()}, indent=1) + "\n"


def load_layers(bundle: Path) -> dict[str, tuple[LayerError, ...]]:
    """The layers of each graph that is below fp32, in order.

    Raises:
        BundleError: the bundle has no such file, or it is damaged.
    """
    data = read_beside(bundle / FILE, _SCHEMA, "export the bundle again")
    if data is None:
        raise BundleError(
            f"{bundle} does not say what its layers lose: at fp32 and fp16 none is measured; "
            "bundles at int8 and bf16 of earlier versions must be exported again"
        )
    return {name: tuple(LayerError(**layer) for layer in layers) for name, layers in data.items()}
