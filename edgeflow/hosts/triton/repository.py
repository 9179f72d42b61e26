"""A model repository of Triton Inference Server that holds a bundle.

REPOSITORY/NAME/config.pbtxt     inputs, outputs, and that requests of one sequence come in order
REPOSITORY/NAME/1/model.py       names the class that runs it
REPOSITORY/NAME/1/bundle         the bundle
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgeflow.ir.bundle import Bundle
from edgeflow.ir.bundle.whole_folder import folder_written_whole
from edgeflow.ir.errors import BundleError, InputError

CONFIG, MODEL = "config.pbtxt", "model.py"

IDLE_SECONDS = 60
"""After so long without a frame a stream is forgotten."""

_CONFIG = """name: "{name}"
backend: "python"
max_batch_size: {streams}
input [
  {{ name: "FRAME" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }},
  {{ name: "TIME" data_type: TYPE_FP64 dims: [ 1 ] optional: true }}
]
output [
  {{ name: "PICTURES" data_type: TYPE_UINT8 dims: [ -1, -1, -1, 3 ] }},
  {{ name: "TIMES" data_type: TYPE_FP64 dims: [ -1 ] }}
]
sequence_batching {{
  max_sequence_idle_microseconds: {idle}
  oldest {{ max_candidate_sequences: {streams} max_queue_delay_microseconds: 1000 }}
  control_input [
    {{ name: "START" control [ {{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }} ] }},
    {{ name: "END" control [ {{ kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] }} ] }},
    {{ name: "STREAM" control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 }} ] }}
  ]
}}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
# times: multiplies the frame rate; fps: frames per second of the result instead; threads: of the engines, of each call;
# at_a_time: calls that run at a time. Empty for what the model and the machine say.
parameters {{ key: "times" value {{ string_value: "" }} }}
parameters {{ key: "fps" value {{ string_value: "" }} }}
parameters {{ key: "threads" value {{ string_value: "" }} }}
parameters {{ key: "at_a_time" value {{ string_value: "2" }} }}
"""

STREAMS = 16
"""Streams that are served at a time, unless the configuration is changed."""

_SHIM = '''"""What Triton's Python backend loads. Its Python must have edgeflow installed, or EDGEFLOW_SITE name the packages of an environment that has."""

import os
import site

for place in filter(None, os.environ.get("EDGEFLOW_SITE", "").split(os.pathsep)):
    site.addsitedir(place)

from edgeflow.hosts.triton.model import TritonPythonModel as TritonPythonModel
'''


def model_name(reference: str) -> str:
    """What Triton calls a model: a family's name, or that of the function that builds it."""
    return re.sub(r"\W+", "_", reference.rpartition(":")[2]).strip("_") or "model"


def write_repository(bundle: Bundle, repository: Path, name: str, overwrite: bool) -> Path:
    """Put a bundle into a model repository, beside the models that are there.

    Args:
        bundle: what is copied.
        repository: made if it is not there.
        name: of the model.
        overwrite: replace a model of that name that edgeflow wrote.

    Returns:
        The model's folder.

    Raises:
        InputError: the bundle makes no film.
        BundleError: something is in the way, or cannot be written.
    """
    from edgeflow.runtime.video.calls import film_calls

    try:
        film_calls(bundle.manifest.task)
    except InputError as error:
        raise InputError(f"--format triton is for models that make pictures of a film: {error}") from error
    place = repository / name
    check_model_place(place, overwrite)
    repository.mkdir(parents=True, exist_ok=True)
    with folder_written_whole(place) as folder:
        (folder / "1").mkdir(parents=True)
        shutil.copytree(bundle.path, folder / "1" / "bundle")
        (folder / "1" / MODEL).write_text(_SHIM)
        (folder / CONFIG).write_text(_CONFIG.format(name=name, streams=STREAMS, idle=IDLE_SECONDS * 10**6))
    return place


def check_model_place(place: Path, overwrite: bool) -> None:
    """Refuse a folder that somebody would lose.

    Raises:
        BundleError: it holds something else than what `write_repository` wrote, or may not be replaced.
    """
    if not place.exists():
        return
    model = place / "1" / MODEL
    ours = model.is_file() and model.read_text() == _SHIM
    if not ours or not overwrite:
        held = "a model of an earlier export" if ours else "something else"
        ways = "choose another name" + (", or replace it with --overwrite" if ours else "")
        raise BundleError(f"{place} holds {held}: {ways}")
