"""What a process that builds one engine is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edgeflow.targets.engine_store import EngineSpec


@dataclass(frozen=True)
class EngineJob:
    """One engine to build.

    Attributes:
        graph: path of the ONNX file; its weights lie beside it.
        engine: path to write.
        timing_cache: path to read and write.
        spec: what it is made from.
        plugin_library: path; empty for none.
        workspace_bytes: that a layer may use.
    """

    graph: str
    engine: str
    timing_cache: str
    spec: EngineSpec
    plugin_library: str
    workspace_bytes: int


def job_to_json(job: EngineJob) -> str:
    """A job as text."""
    return json.dumps(asdict(job))


def job_from_json(text: str) -> EngineJob:
    """Inverse of `job_to_json`."""
    data = json.loads(text)
    spec = data.pop("spec")
    profiles = tuple(tuple((name, tuple(shape)) for name, shape in p) for p in spec.pop("profiles"))
    source, plugins, outputs = (tuple(spec.pop(key)) for key in ("source", "plugins", "outputs"))
    made = EngineSpec(source=source, plugins=plugins, outputs=outputs, profiles=profiles, **spec)
    return EngineJob(spec=made, **data)
