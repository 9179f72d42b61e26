"""Folders that take their place whole, whatever dies on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeflow.ir.bundle import whole_folder
from edgeflow.ir.bundle.whole_folder import folder_written_whole
from edgeflow.ir.errors import BundleError


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    output = tmp_path / "deep" / "model.edgeflow"
    for text in ("old", "new"):
        with folder_written_whole(output) as folder:
            (folder / text).write_text(text)
    assert os.listdir(output) == ["new"] and os.listdir(output.parent) == ["model.edgeflow"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("no"), OSError(errno.ENOSPC, "No space left")]
)
def test_a_failure_in_the_middle_leaves_the_old_folder_and_no_debris(tmp_path, error):
    output = tmp_path / "model.edgeflow"
    with folder_written_whole(output) as folder:
        (folder / "old").write_text("old")
    wanted = BundleError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted), folder_written_whole(output) as folder:
        (folder / "new").write_text("new")
        raise error
    assert os.listdir(output) == ["old"] and os.listdir(tmp_path) == ["model.edgeflow"]


def test_a_failing_rename_leaves_the_old_folder(tmp_path, monkeypatch):
    output = tmp_path / "model.edgeflow"
    with folder_written_whole(output) as folder:
        (folder / "old").write_text("old")
    rename = Path.replace

    def fails_at_the_last_moment(self, target):
        if self.name.endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(whole_folder, "_exchange", lambda one, other: False)  # a system that cannot
    monkeypatch.setattr(Path, "replace", fails_at_the_last_moment)
    with pytest.raises(BundleError, match="Input/output error"), folder_written_whole(output) as folder:
        (folder / "new").write_text("new")
    assert os.listdir(output) == ["old"] and os.listdir(tmp_path) == ["model.edgeflow"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_folder_is_written(tmp_path, there):
    real, link = tmp_path / "other" / "real", tmp_path / "link"
    real.parent.mkdir()
    if there:
        real.mkdir()
    link.symlink_to(real)
    for content in ("first", "second"):
        with folder_written_whole(link) as folder:
            (folder / "file").write_text(content)
        assert link.is_symlink() and (real / "file").read_text() == content
    assert sorted(path.name for path in tmp_path.rglob("*") if path != real / "file") == [
        "link",
        "other",
        "real",
    ]


def test_a_file_in_the_way(tmp_path):
    output = tmp_path / "model.edgeflow"
    output.write_text("mine")
    with (
        pytest.raises(BundleError, match="a file of that name is in the way; remove it"),
        folder_written_whole(output),
    ):
        pass
    assert output.read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeflow.ir.bundle import whole_folder

def die(*paths):
    os.kill(os.getpid(), signal.SIGKILL)

when, path = sys.argv[1], Path(sys.argv[2])
if when == "before":
    whole_folder._put_in_place = die
else:
    whole_folder._exchange = lambda one, other: False
    rename, count = Path.replace, []
    def dies_after_one(self, target):
        rename(self, target)
        die()
    Path.replace = dies_after_one
with whole_folder.folder_written_whole(path) as folder:
    (folder / "new").write_text("new")
"""


@pytest.mark.parametrize("when", ["before", "between"])
def test_killed_at_any_rename_the_next_writer_finds_the_old_folder_and_leaves_nothing(tmp_path, when):
    output = tmp_path / "model.edgeflow"
    with folder_written_whole(output) as folder:
        (folder / "old").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, when, output], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="stop"), folder_written_whole(output) as folder:
        assert os.listdir(output) == ["old"] and os.listdir(folder) == []
        raise ValueError("stop")
    assert os.listdir(tmp_path) == ["model.edgeflow"]
    with folder_written_whole(output) as folder:
        (folder / "newer").write_text("newer")
    assert os.listdir(output) == ["newer"] and os.listdir(tmp_path) == ["model.edgeflow"]


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    output = tmp_path / "model.edgeflow"
    with folder_written_whole(output) as folder:
        (folder / "first").write_text("first")
        with pytest.raises(BundleError, match="another process is writing"), folder_written_whole(output):
            raise AssertionError("it must not come to this")
        with folder_written_whole(tmp_path / "other.edgeflow"):
            pass
    assert os.listdir(output) == ["first"]


def test_there_is_always_a_whole_folder_of_that_name(tmp_path, monkeypatch):
    """A reader that looks at the worst moment sees the old one or the new one."""
    output = tmp_path / "model.edgeflow"
    with folder_written_whole(output) as folder:
        (folder / "old").write_text("old")
    seen, exchange = [], whole_folder._exchange

    def watched(one, other):
        seen.append(os.listdir(output))
        done = exchange(one, other)
        seen.append(os.listdir(output))
        return done

    monkeypatch.setattr(whole_folder, "_exchange", watched)
    with folder_written_whole(output) as folder:
        (folder / "new").write_text("new")
    assert seen == [["old"], ["new"]]
