"""Tries whether this TensorRT takes engines that lie there. Needs TensorRT, and neither torch nor onnx.

Run as `python -m edgeflow.targets.tensorrt_reader PARENT [--plugins LIBRARY TYPE...] -- ENGINE...`, it prints the engines that
are refused, one a line: those of another build of TensorRT, or of a device that has changed under the same name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorrt as trt

from edgeflow.ir.errors import EdgeflowError
from edgeflow.targets.parent import end_with_parent
from edgeflow.targets.plugin_registry import load_plugins
from edgeflow.targets.tensorrt_log import made, process_log


def refused(engines: Iterable[Path]) -> Iterator[Path]:
    """Those that TensorRT does not deserialise; one at a time is in memory."""
    runtime = made(trt.Runtime, process_log())
    for path in engines:
        if runtime.deserialize_cuda_engine(path.read_bytes()) is None:
            yield path


def main(arguments: list[str]) -> int:
    """Print what is refused; an error goes to stderr as one line."""
    end_with_parent(int(arguments[0]))
    options, engines = arguments[1 : arguments.index("--")], arguments[arguments.index("--") + 1 :]
    try:
        if options:
            load_plugins(options[1], options[2:])
        for path in refused(map(Path, engines)):
            print(path)
    except EdgeflowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
