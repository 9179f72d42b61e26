"""The package's shape: links, wheel, data files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["export", "runtime", "targets"])
def test_links_point_at_their_folders(name):
    link = ROOT / "edgeflow" / name
    assert link.is_dir()
    assert link.resolve() == ROOT / name


@pytest.mark.slow
def test_the_wheel_is_whole_and_installs(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("edgeflow-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "edgeflow/runtime/session.py",
        "edgeflow/export/passes/polyphase_resize.py",
        "edgeflow/targets/cpu.toml",
        "edgeflow/targets/jetpacks.csv",
        "edgeflow/targets/tensorrt_rules/grid_sample.toml",
        "edgeflow/targets/tensorrt_plugins/CMakeLists.txt",
        "edgeflow/targets/tensorrt_plugins/plugin_base.h",
        "edgeflow/targets/tensorrt_plugins/deform_conv2d_plugin.cpp",
        "edgeflow/targets/tensorrt_plugins/kernels/sampled_product.cuh",
        "edgeflow/targets/tensorrt_plugins/kernels/deform_conv2d.cu",
        "edgeflow/py.typed",
    ):
        assert names.count(wanted) == 1
    assert not [name for name in names if name.startswith(("export/", "runtime/", "targets/", "tests/"))]
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True, capture_output=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import edgeflow, edgeflow.runtime, edgeflow.targets as t; "
        "assert edgeflow.__file__.startswith(sys.path[0]); print(t.load('cpu').library)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "onnxruntime"


def test_docstrings_are_sentences_and_not_their_tails():
    """ "Of the frames" says nothing to who doesn't know what is of them."""
    folders = (
        "edgeflow/cli",
        "edgeflow/flow",
        "edgeflow/hosts",
        "edgeflow/ir",
        "edgeflow/models",
        "edgeflow/ops",
        "edgeflow/report",
        "edgeflow/training",
    )
    files = [
        file
        for folder in (*folders, "export", "runtime", "targets")
        for file in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 200
    tails = [file.name for file in files if '"""Of ' in file.read_text()]
    assert not tails
