"""For those who stay in PyTorch: a model's flow, every segment variant an engine of Torch-TensorRT.

There is no bundle: the flow is run by its eager interpreter on the GPU, and what it calls are compiled modules, one
per segment, axis values and static shape. They are kept in a folder as exported programs and loaded from there.
Regions of one route run in static batches, padded to the next size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeflow.flow.eager import Eager, EagerFlow, EagerResult
from edgeflow.flow.flow import leaves
from edgeflow.flow.module import RoutedModule
from edgeflow.flow.segments import segment_name
from edgeflow.ir.errors import BackendError, ExportError
from edgeflow.ir.route import Choice
from edgeflow.ops.custom_op import PLAIN, overload

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}
BATCHES = (1, 2, 4, 8)


class TorchTensorRt:
    """Runs a model frame after frame on a CUDA device.

    Args:
        model: in eval mode; moved to the device.
        folder: where engines are kept, by what they were built from.
        precision: `fp32`, or `fp16` where torch's autocast thinks it safe; routers' segments stay fp32.
        exact: names of segments that decide routes.
        compiler: `torch_tensorrt`, imported if None.

    Raises:
        BackendError: Torch-TensorRT is not installed.
        ExportError: an unknown precision.
    """

    def __init__(
        self,
        model: RoutedModule,
        folder: str | Path,
        precision: str = "fp16",
        exact: Sequence[str] = (),
        compiler: Any = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ExportError(f"Torch-TensorRT engines are fp32 or fp16, not {precision!r}")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.engines = Engines(
            model.eval().to(self._device), Path(folder), precision, frozenset(exact), compiler or _import()
        )
        engines = self.engines

        class Compiled(EagerFlow):
            """Calls engines instead of modules."""

            def _call(self, segment: Any, *rest: Any) -> Any:
                return super()._call(engines.of(segment), *rest)

            def _name(self, segment: Any) -> str:
                return engines.name_of(segment)

        self._eager = Eager(model, interpreter=Compiled)

    def __call__(self, *inputs: torch.Tensor) -> EagerResult:
        """Run one frame; each input (1, ...) float32. Outputs lie on the device."""
        return self._eager(*(tensor.to(self._device) for tensor in inputs))

    def reset(self) -> None:
        """Forget all states."""
        self._eager.reset()


class Engines:
    """Compiled segments, each made when it is first called."""

    def __init__(
        self, model: RoutedModule, folder: Path, precision: str, exact: frozenset[str], compiler: Any
    ) -> None:
        self._model, self._folder, self._compiler = model, folder, compiler
        self._precision, self._exact = precision, exact
        self._digest = _digest(model)
        self._known: dict[str, Callable[..., Any]] = {}
        self._callers: dict[str, Callable[..., Any]] = {}

    def of(self, segment: Any) -> Callable[..., Any]:
        """What stands in for a segment."""
        name = segment_name(self._model, segment)
        if name not in self._callers:

            def call(*tensors: torch.Tensor, **choices: Choice) -> Any:
                return self._run(name, segment, tensors, choices)

            self._callers[name] = call
        return self._callers[name]

    def name_of(self, caller: Any) -> str:
        """The segment that a stand-in stands in for."""
        return next(name for name, own in self._callers.items() if own is caller)

    def _run(
        self, name: str, segment: Any, tensors: Sequence[torch.Tensor], choices: Mapping[str, Choice]
    ) -> Any:
        """In static batches; what pads the last one is dropped."""
        count = tensors[0].shape[0]
        parts, first = [], 0
        while first < count:
            size = next((batch for batch in BATCHES if batch >= count - first), BATCHES[-1])
            taken = min(size, count - first)
            batch = [_padded(tensor[first : first + taken], size) for tensor in tensors]
            made = self._engine(name, segment, batch, choices)(*batch)
            parts.append([tensor[:taken] for tensor in leaves(made)])
            first += taken
        joined = [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        return joined[0] if len(joined) == 1 else tuple(joined)

    def _engine(
        self, name: str, segment: Any, batch: Sequence[torch.Tensor], choices: Mapping[str, Choice]
    ) -> Callable[..., Any]:
        shapes = [tuple(tensor.shape) for tensor in batch]
        text = repr((self._digest, name, sorted(choices.items()), shapes, self._precision, torch.__version__))
        key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if key not in self._known:
            file = self._folder / f"{key}.ep"
            if not file.is_file():
                self._build(Segment(segment, choices, self._low(name)), batch, file)
            self._known[key] = self._compiler.load(str(file)).module()
        return self._known[key]

    def _build(self, module: nn.Module, batch: Sequence[torch.Tensor], file: Path) -> None:
        # It has no converters for edgeflow's operators, and a whole engine is wanted: no falling back to PyTorch.
        plain = {overload(name): function for name, function in PLAIN.items()}
        program = torch.export.export(module, tuple(batch)).run_decompositions(plain)
        try:
            compiled = self._compiler.dynamo.compile(
                program,
                arg_inputs=list(batch),
                use_explicit_typing=True,
                min_block_size=1,
                require_full_compilation=True,
                disable_tf32=self._precision == "fp32",
            )
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise ExportError(
                f"{file.stem}: Torch-TensorRT cannot compile it: {reason[0] if reason else type(error).__name__}"
            ) from error
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        self._compiler.save(compiled, str(partial), output_format="exported_program", arg_inputs=list(batch))
        partial.replace(file)

    def _low(self, name: str) -> torch.dtype:
        return torch.float32 if name in self._exact else PRECISIONS[self._precision]


class Segment(nn.Module):
    """A segment with its axis values fixed, under autocast; what it hands on is float32."""

    def __init__(self, segment: Any, choices: Mapping[str, Choice], low: torch.dtype) -> None:
        super().__init__()
        self.owner = segment if isinstance(segment, nn.Module) else segment.__self__
        self._method = "" if isinstance(segment, nn.Module) else segment.__func__.__name__
        self._choices, self._low = dict(choices), low

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the segment."""
        segment = getattr(self.owner, self._method) if self._method else self.owner
        with torch.autocast(tensors[0].device.type, self._low, enabled=self._low != torch.float32):
            made = leaves(segment(*tensors, **self._choices))
        return tuple(tensor.float() for tensor in made)


def _padded(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """The last row repeated up to so many."""
    missing = rows - tensor.shape[0]
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


def _digest(model: nn.Module) -> str:
    """A hash of the weights, by name."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _import() -> Any:
    try:
        import torch_tensorrt
    except ImportError as error:
        raise BackendError(
            f"Torch-TensorRT is not installed ({error}): pip install torch-tensorrt, of the release that belongs to "
            f"torch {torch.__version__}"
        ) from error
    return torch_tensorrt
