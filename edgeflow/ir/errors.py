"""The exception tree.

    EdgeflowError
    ├── FlowError       a model's flow says something that cannot be
    ├── ExportError     a segment cannot be compiled for the target
    ├── BundleError     a bundle on disk cannot be read or written
    ├── TargetError     an unknown or unusable target
    ├── BackendError    an engine library is missing or refused an engine
    │   ├── NotBuiltError   an engine that `edgeflow build` makes on the device is not there
    │   └── PrecisionError  it would compute an engine at another precision than was asked for
    ├── ExtensionError  an installed package adds something that edgeflow cannot load
    ├── InputError      a frame, clip or argument the runtime cannot take
    ├── VideoError      a video that cannot be read or written
    └── TrainError      data or a checkpoint that training cannot use

Every message says what could not be done, where, and what to do about it, on one line.
"""


class EdgeflowError(Exception):
    """Base of everything edgeflow raises on purpose."""


class FlowError(EdgeflowError, ValueError):
    """A model's flow says something that cannot be: unlike shapes joined, an unknown axis."""


class ExportError(EdgeflowError, RuntimeError):
    """A segment cannot be compiled for the target."""


class BundleError(EdgeflowError, RuntimeError):
    """A bundle on disk is missing, altered, too new, or cannot be written."""


class TargetError(EdgeflowError, ValueError):
    """An unknown target or a broken target description."""


class ExtensionError(EdgeflowError, ImportError):
    """An installed package adds something that edgeflow cannot load."""


class BackendError(EdgeflowError, RuntimeError):
    """An engine library is missing or refused an engine."""


class NotBuiltError(BackendError):
    """An engine is not there that `edgeflow build` makes on the device."""


class PrecisionError(BackendError):
    """An engine library would compute an engine at another precision than was asked for."""


class InputError(EdgeflowError, ValueError):
    """A frame, clip or argument the runtime cannot take."""


class VideoError(EdgeflowError, RuntimeError):
    """A video that cannot be read or written."""


class TrainError(EdgeflowError, RuntimeError):
    """Data or a checkpoint that training cannot use."""
