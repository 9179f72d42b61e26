"""Building the plugin library: with stand-ins for nvcc and TensorRT's headers, and, where they are, for real."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeflow.ir.errors import BackendError
from edgeflow.targets import plugin_library

HEADERS = [Path(item) for item in os.environ.get("EDGEFLOW_TENSORRT_HEADERS", "").split(os.pathsep) if item]

NVCC = """#!/bin/sh
case $1 in
--version) echo "Cuda compilation tools, release 12.6, V12.6.68" ;;
--list-gpu-arch) printf 'compute_75\\ncompute_87\\n' ;;
esac
"""
CMAKELISTS = """cmake_minimum_required(VERSION 3.18)
project(edgeflow_plugins LANGUAGES CXX)
add_library(edgeflow_plugins SHARED plugin.cpp)
target_include_directories(edgeflow_plugins PRIVATE ${TENSORRT_INCLUDE_DIR})
target_compile_definitions(edgeflow_plugins PRIVATE ARCHITECTURE=${CMAKE_CUDA_ARCHITECTURES})
"""
PLUGIN = """#include "plugin_base.h"
#include "NvInferVersion.h"
extern "C" int architecture() { return ARCHITECTURE; }
extern "C" int tensorrt() { return NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR; }
"""


def headers_of(folder: Path, version: str) -> Path:
    major, minor, patch = version.split(".")
    folder.mkdir(exist_ok=True)
    (folder / "NvInferRuntime.h").write_text("")
    (folder / "NvInferVersion.h").write_text(
        f"#define TRT_MINOR {minor}\n#define NV_TENSORRT_MAJOR {major} //!< major\n"
        f"#define NV_TENSORRT_MINOR TRT_MINOR //!< minor\n#define NV_TENSORRT_PATCH {patch}\n"
    )
    return folder


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sources, headers and tools of a machine whose nvcc knows sm_75 and sm_87."""
    if not shutil.which("cmake") or not shutil.which("g++"):
        pytest.skip("needs cmake and g++")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nvcc").write_text(NVCC)
    (tools / "nvcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "CMakeLists.txt").write_text(CMAKELISTS)
    (sources / "plugin_base.h").write_text('constexpr char const* kVersion = "7";\n')
    (sources / "plugin.cpp").write_text(PLUGIN)
    headers_of(tmp_path / "headers", "10.3.0")
    return tmp_path


def build(machine, capability=(8, 7), tensorrt="10.3.0", driver=""):
    wanted = plugin_library.Machine(tensorrt, capability, driver)
    return plugin_library.build(machine / "headers", wanted, machine / "kept", machine / "sources")


def left(machine):
    return sorted(path.name for path in (machine / "kept").iterdir())


def test_a_library_is_named_by_what_it_is_for(machine):
    library = build(machine)
    assert library.parent == machine / "kept"
    assert library.name.startswith("libedgeflow_plugins-7-trt10.3.0-sm87-")
    loaded = ctypes.CDLL(str(library))
    assert loaded.architecture() == 87
    assert loaded.tensorrt() == 1003
    assert left(machine) == sorted([library.name, "plugins.log"])


def test_a_library_is_built_once(machine, monkeypatch):
    library = build(machine)
    before = library.stat().st_mtime_ns
    monkeypatch.setattr(plugin_library, "_compile", lambda *_: pytest.fail("compiled again"))
    assert build(machine) == library
    assert library.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("change", ["source", "headers", "capability", "cuda"])
def test_what_decides_the_library_makes_another(machine, change):
    first = build(machine)
    capability, release = (8, 7), "10.3.0"
    if change == "source":
        (machine / "sources/plugin.cpp").write_text(PLUGIN + "\n")
    elif change == "headers":
        headers_of(machine / "headers", release := "10.13.3")
    elif change == "capability":
        capability = (7, 5)
    else:
        (machine / "bin/nvcc").write_text(NVCC.replace("12.6.68", "12.6.85"))
    assert build(machine, capability, release) != first


def test_headers_of_another_release_are_refused(machine):
    with pytest.raises(
        BackendError, match=r"headers in .* are of TensorRT 10.3.0, 10.13.3 is installed: give"
    ):
        build(machine, tensorrt="10.13.3")
    assert build(machine, tensorrt="10.3.1.30").is_file()


def test_a_compiler_newer_than_the_driver_is_refused(machine):
    with pytest.raises(BackendError, match=r"nvcc is of CUDA 12\.6\.68, the driver knows CUDA up to 11.4"):
        build(machine, driver="11.4")
    assert build(machine, driver="12.2").is_file()


def test_a_library_that_was_cut_off_is_built_again(machine):
    library = build(machine)
    whole = library.read_bytes()
    library.write_bytes(whole[:100])
    assert not plugin_library.is_whole(library)
    assert build(machine).read_bytes() == whole


def test_a_library_that_came_with_the_bundle_is_built_anew(machine, tmp_path, monkeypatch):
    """Whoever plants a library can give it any hash: what was built here is recorded outside the bundle."""
    library = build(machine)
    whole = library.read_bytes()
    monkeypatch.setenv("EDGEFLOW_CACHE", str(tmp_path / "another machine"))
    assert not plugin_library.is_whole(library)
    library.write_bytes(b"planted")
    assert build(machine).read_bytes() == whole and plugin_library.is_whole(library)


def test_a_failed_compilation_says_why_and_leaves_nothing(machine):
    (machine / "sources/plugin.cpp").write_text("int broken = nonsense;\n")
    with pytest.raises(BackendError, match=r"do not compile for sm_87 .*plugins\.log.*nonsense"):
        build(machine)
    assert left(machine) == ["plugins.log"]
    assert "nonsense" in (machine / "kept/plugins.log").read_text()
    (machine / "sources/plugin.cpp").write_text(PLUGIN)
    assert build(machine).is_file()


@pytest.mark.parametrize(
    ("tool", "hint"), [("cmake", "sudo apt install cmake"), ("nvcc", "install the CUDA compiler")]
)
def test_a_missing_tool_is_named(machine, monkeypatch, tool, hint):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.endswith(tool) else which(name))
    with pytest.raises(BackendError, match=rf"{tool} is .*{hint}"):
        build(machine)


def test_nvcc_is_found_where_jetpack_puts_it(machine, monkeypatch):
    monkeypatch.setattr(plugin_library, "_NVCC", str(machine / "bin/nvcc"))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvcc" else which(name))
    assert build(machine).is_file()


def test_an_architecture_beyond_nvcc_is_refused(machine):
    with pytest.raises(BackendError, match=r"CUDA 12\.6\.68 .* cannot compile for sm_110: it knows 75, 87"):
        build(machine, (11, 0))


def test_a_broken_nvcc_is_refused(machine):
    (machine / "bin/nvcc").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(BackendError, match="does not run"):
        build(machine)


def test_headers_that_are_not_there_or_too_old_are_refused(machine):
    headers_of(machine / "headers", "8.6.2")
    with pytest.raises(BackendError, match=r"TensorRT 8\.6 .* too old .* JetPack 6\.1"):
        build(machine)
    (machine / "headers/NvInferVersion.h").write_text("")
    with pytest.raises(BackendError, match="does not say which TensorRT"):
        build(machine)
    (machine / "headers/NvInferRuntime.h").unlink()
    with pytest.raises(BackendError, match=r"no TensorRT headers in .*libnvinfer-headers-dev"):
        build(machine)


def test_headers_are_looked_for_where_packages_put_them(tmp_path, monkeypatch):
    folders = (str(tmp_path / "none"), str(headers_of(tmp_path / "some", "10.3.0")))
    monkeypatch.setattr(plugin_library, "_HEADER_FOLDERS", folders)
    assert plugin_library.find_headers() == tmp_path / "some"
    monkeypatch.setattr(plugin_library, "_HEADER_FOLDERS", folders[:1])
    with pytest.raises(BackendError, match="no TensorRT headers"):
        plugin_library.find_headers()


def test_foreign_sources_are_refused(machine):
    (machine / "sources/plugin_base.h").unlink()
    with pytest.raises(BackendError, match="not edgeflow's plugins"):
        build(machine)


@pytest.mark.skipif(not HEADERS, reason="EDGEFLOW_TENSORRT_HEADERS names no folders of TensorRT headers")
@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc on the PATH")
def test_the_plugins_build_for_orin(tmp_path):
    machine = plugin_library.Machine(plugin_library.tensorrt_version(HEADERS[0]), (8, 7))
    library = plugin_library.build(HEADERS[0], machine, tmp_path)
    creators = ctypes.CDLL(str(library)).getCreators
    creators.restype = ctypes.POINTER(ctypes.c_void_p)
    count = ctypes.c_int32()
    all_of_them = creators(ctypes.byref(count))
    assert count.value == 3
    assert all(all_of_them[i] for i in range(3))
    wanted = subprocess.run(
        ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
    )
    undefined = [line.split()[-1] for line in wanted.stdout.splitlines()]
    assert not [
        name for name in undefined if name.startswith(("cuda", "getPlugin", "createInfer", "_ZN8nvinfer1"))
    ]
