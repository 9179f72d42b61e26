"""Options that say which engines run a bundle, and on what."""

from __future__ import annotations

from typing import Annotated

import typer

Library = Annotated[
    str | None,
    typer.Option(
        help="Engine library in place of the target's, such as onnxruntime or openvino; `edgeflow sys` says which are here."
    ),
]

Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads for the engines.")]
