"""Builds the TensorRT plugin library with CMake, on the machine that will load it.

The library of a set of sources, a TensorRT version, a GPU architecture and a CUDA version is built once; its
file's name says all of them, and that it was built here is recorded outside the bundle (`edgeflow.ir.bundle.built_here`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeflow.ir.bundle.built_here import record_built, was_built_here
from edgeflow.ir.errors import BackendError
from edgeflow.ir.files import sha256_of, write_atomically
from edgeflow.targets.target import numbers

SOURCES = Path(__file__).parent / "tensorrt_plugins"
"""The plugins that edgeflow ships."""

OLDEST_TENSORRT = (10, 1)

_HEADER_FOLDERS = ("/usr/include/aarch64-linux-gnu", "/usr/include/x86_64-linux-gnu", "/usr/include")
_NVCC = "/usr/local/cuda/bin/nvcc"  # where JetPack has it, which is not on the PATH
_LOG_LINES = 12
_ROOM = 16 << 20  # bytes, fewer than which a failed compilation is taken to have lacked
_COMPILERS = 2  # at a time: each takes up to a gigabyte, and small boards have eight


@dataclass(frozen=True)
class Machine:
    """What the library is built for.

    Attributes:
        tensorrt: the release that will load it, as `10.3.0`.
        capability: compute capability of the GPU, as in (8, 7).
        driver: the newest CUDA that the driver knows, as `12.6`; empty if that is not known.
    """

    tensorrt: str
    capability: tuple[int, int]
    driver: str = ""


def find_headers() -> Path:
    """The folder of this machine's TensorRT headers.

    Raises:
        BackendError: there are none where the packages put them.
    """
    for folder in map(Path, _HEADER_FOLDERS):
        if (folder / "NvInferRuntime.h").is_file():
            return folder
    raise BackendError(
        f"no TensorRT headers in {', '.join(_HEADER_FOLDERS)}: install them (`sudo apt install "
        "libnvinfer-headers-dev`), or give the `include` folder of a TensorRT archive with --headers"
    )


def build(headers: Path, machine: Machine, into: Path, sources: Path = SOURCES) -> Path:
    """The plugin library for this machine's TensorRT and GPU; compiled unless it is there already.

    Args:
        headers: folder with `NvInferRuntime.h` of the TensorRT that will load it.
        machine: what it is for.
        into: folder that keeps libraries; made if missing.
        sources: folder with the library's `CMakeLists.txt`.

    Returns:
        `into/libedgeflow_plugins-{plugin version}-trt{version}-sm{capability}-{key}.so`.

    Raises:
        BackendError: a tool or header is missing, too old, or of another release, or the sources do not compile;
            the compiler's whole output is then in `into/plugins.log`.
        BundleError: the library cannot be written.
    """
    cmake, nvcc = _cmake(), _nvcc()
    tensorrt = tensorrt_version(headers)
    _check_release(headers, tensorrt, machine.tensorrt)
    architecture = f"{machine.capability[0]}{machine.capability[1]}"
    cuda = _cuda_version(nvcc)
    _check_driver(nvcc, cuda, machine.driver)
    _check_architecture(nvcc, cuda, architecture)
    key = _key(sources, tensorrt, architecture, cuda)
    name = f"libedgeflow_plugins-{_plugin_version(sources)}-trt{tensorrt}-sm{architecture}-{key}.so"
    library = into / name
    if is_whole(library):
        return library
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".plugins-", dir=into) as folder:
            _compile(cmake, nvcc, sources, headers, architecture, Path(folder), into / "plugins.log")
            (built,) = Path(folder).glob("libedgeflow_plugins.so")
            record_built(sha256_of(built))
            write_atomically(library, built.read_bytes())
    except OSError as error:
        raise BackendError(
            f"cannot build the plugins in {into}: {error.strerror}; free some space or choose another place"
        ) from error
    return library


def is_whole(library: Path) -> bool:
    """Whether a library is there as this machine's own build made it: one that is cut off, or another's, is never loaded."""
    return library.is_file() and not library.is_symlink() and was_built_here(sha256_of(library))


def _check_release(headers: Path, found: str, wanted: str) -> None:
    if numbers(found)[:2] != numbers(wanted)[:2]:  # what differs by a patch has the same interface
        raise BackendError(
            f"the headers in {headers} are of TensorRT {found}, {wanted} is installed: give the folder of its own "
            "with --headers, or install libnvinfer-headers-dev of that release"
        )


def _check_driver(nvcc: str, cuda: str, driver: str) -> None:
    """What a newer CUDA's compiler makes does not start on an older driver."""
    if driver and numbers(cuda)[0] > numbers(driver)[0]:
        raise BackendError(
            f"{nvcc} is of CUDA {cuda}, the driver knows CUDA up to {driver}: put the nvcc of that release first on "
            f"the PATH ({_NVCC} on a Jetson), or update the driver"
        )


def tensorrt_version(headers: Path) -> str:
    """Version that a folder of TensorRT headers is of, as in "10.3.0".

    Raises:
        BackendError: no headers there, or they are older than the plugins' interface.
    """
    header = headers / "NvInferVersion.h"
    if not header.is_file() or not (headers / "NvInferRuntime.h").is_file():
        raise BackendError(
            f"no TensorRT headers in {headers}: give the folder of NvInferRuntime.h "
            "(`sudo apt install libnvinfer-headers-dev` puts it under /usr/include)"
        )
    defined: dict[str, str] = dict(re.findall(r"^#define (\w+) (\w+)", header.read_text(), re.MULTILINE))
    parts = []
    for part in ("MAJOR", "MINOR", "PATCH"):
        value = defined.get(f"NV_TENSORRT_{part}", "")
        value = defined.get(value, value)  # since 11.0 another macro's name
        if not value.isdigit():
            raise BackendError(f"{header} does not say which TensorRT it is of: install the headers anew")
        parts.append(int(value))
    if tuple(parts[:2]) < OLDEST_TENSORRT:
        raise BackendError(
            f"TensorRT {parts[0]}.{parts[1]} in {headers} is too old for the plugins, which need "
            f"{OLDEST_TENSORRT[0]}.{OLDEST_TENSORRT[1]}: install JetPack 6.1 or newer, or a newer TensorRT"
        )
    return ".".join(map(str, parts))


def _cmake() -> str:
    if found := shutil.which("cmake"):
        return found
    raise BackendError(
        "cmake is missing, which builds the plugins: `sudo apt install cmake`, or `pip install cmake`"
    )


def _nvcc() -> str:
    if found := shutil.which("nvcc") or shutil.which(_NVCC):
        return found
    raise BackendError(
        f"nvcc is neither on the PATH nor at {_NVCC}: install the CUDA compiler (on a Jetson `sudo apt install "
        "nvidia-jetpack`, elsewhere `cuda-nvcc` of your CUDA release)"
    )


def _cuda_version(nvcc: str) -> str:
    found = re.search(r"release [\d.]+, V([\d.]+)", _output(nvcc, "--version"))
    if not found:
        raise BackendError(f"{nvcc} --version names no version: install the CUDA compiler anew")
    return found.group(1)


def _check_architecture(nvcc: str, cuda: str, architecture: str) -> None:
    known = set(re.findall(r"compute_(\d+)", _output(nvcc, "--list-gpu-arch")))
    if architecture not in known:
        raise BackendError(
            f"CUDA {cuda} ({nvcc}) cannot compile for sm_{architecture}: it knows {', '.join(sorted(known, key=int))}; "
            "install the CUDA release that came with this GPU's driver"
        )


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackendError(f"{' '.join(command)} does not run ({error}): install it anew") from error
    return done.stdout


def _plugin_version(sources: Path) -> str:
    header = sources / "plugin_base.h"
    found = re.search(r'kVersion = "(\w+)"', header.read_text()) if header.is_file() else None
    if not found:
        raise BackendError(
            f"no plugin version in {header}: these are not edgeflow's plugins; give their folder"
        )
    return found.group(1)


def _key(sources: Path, tensorrt: str, architecture: str, cuda: str) -> str:
    """Short hash of all that decides what the library is."""
    digest = hashlib.sha256(f"{tensorrt} {architecture} {cuda}".encode())
    kinds = {".txt", ".h", ".cpp", ".cu", ".cuh"}
    for path in sorted(path for path in sources.rglob("*") if path.suffix in kinds):
        digest.update(f"\0{path.relative_to(sources).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _compile(
    cmake: str, nvcc: str, sources: Path, headers: Path, architecture: str, folder: Path, log: Path
) -> None:
    settings = {
        "TENSORRT_INCLUDE_DIR": headers.resolve(),
        "CMAKE_CUDA_ARCHITECTURES": architecture,
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_BUILD_TYPE": "Release",
    }
    configure = [cmake, "-S", str(sources), "-B", str(folder)]
    configure += [f"-D{name}={value}" for name, value in settings.items()]
    with log.open("w") as output:
        for command in (configure, [cmake, "--build", str(folder), "--parallel", str(_COMPILERS)]):
            environment = {**os.environ, "LC_ALL": "C"}
            done = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
            )
            if done.returncode:
                if shutil.disk_usage(folder).free < _ROOM:
                    raise BackendError(
                        f"no space is left to compile the plugins in {folder.parent}: free some"
                    )
                last = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
                raise BackendError(
                    f"the plugins do not compile for sm_{architecture} against {headers} (all of it in {log}): "
                    + " | ".join(last[-_LOG_LINES:])
                )
