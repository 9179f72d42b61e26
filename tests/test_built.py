"""What is published: the wheel and the sdist, each installed in an environment that holds nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "compat" / "1.5-patchwork.zip"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Both files, by kind, built of what git would check out and of nothing that lies around."""
    folder, source = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("source") / "edgeflow"
    source.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(request, built, tmp_path_factory) -> Path:
    """The folder of a new environment's programs, edgeflow in it with the extra `onnxruntime`."""
    place = tmp_path_factory.mktemp(f"venv-{request.param}")
    venv.create(place, with_pip=True)
    programs = place / "bin"
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, f"{built[request.param]}[onnxruntime]"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return programs


def run(command, **environment) -> subprocess.CompletedProcess[str]:
    """A command that sees nothing of this repository."""
    told = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, text=True, env={**told, **environment}, cwd="/", check=False
    )


def test_the_sdist_holds_what_the_wheel_does(built):
    wheel = {name for name in zipfile.ZipFile(built["wheel"]).namelist() if ".dist-info/" not in name}
    with tarfile.open(built["sdist"]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    moved = ("edgeflow/export/", "edgeflow/runtime/", "edgeflow/targets/")
    wanted = {name.removeprefix("edgeflow/") if name.startswith(moved) else name for name in wheel}
    assert "edgeflow/report/page.html" in wheel and not wanted - names


def test_the_command_and_the_module_say_their_version(installed):
    for command in ([installed / "edgeflow"], [installed / "python", "-m", "edgeflow"]):
        done = run([*command, "--version"])
        assert done.returncode == 0 and done.stdout.startswith("edgeflow "), done.stderr


def test_a_bundle_runs_without_torch_and_onnx(installed, tmp_path):
    with zipfile.ZipFile(KEPT) as archive:
        archive.extractall(tmp_path)
    (manifest,) = tmp_path.rglob("manifest.json")
    done = run([installed / "edgeflow", "check", manifest.parent, "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    absent = "import importlib.util as u; print([n for n in ('torch', 'onnx') if u.find_spec(n)])"
    assert run([installed / "python", "-c", absent]).stdout.strip() == "[]"


def test_what_needs_an_extra_says_which(installed, tmp_path):
    done = run([installed / "edgeflow", "export", "cain-sd", "-o", tmp_path / "b.edgeflow"])
    assert done.returncode == 1 and 'pip install -e ".[export]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_shells_complete_its_commands(installed):
    asked = {"_EDGEFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "edgeflow pro", "COMP_CWORD": "1"}
    assert run([installed / "edgeflow"], **asked).stdout.split() == ["profile"]


def test_no_colours_where_there_is_no_terminal(installed):
    assert "\x1b" not in run([installed / "edgeflow", "targets", "list"]).stdout
