"""Kills edgeflow at every change of the file system, and looks whether the same command again ends as if nothing had happened.

    python benchmarks/crash_points.py                      all commands
    python benchmarks/crash_points.py run export --every 3

A command runs in a child whose audit hook counts what changes files under the work folder (opening for writing, renaming, removing,
making and removing folders) and ends the process, without any clean-up, just before the n-th, for every n. Then: what has the output's name is
old, new or missing, never half; the same command again (`run` with --resume where it says so) ends well; its result is equal to an undisturbed one's; and
nothing is left beside it. Besides: a full disk, a folder that cannot be written, and two of a command at once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

CHILD = """
import os, sys
work, kill_at, full_at, locked = sys.argv[1], *map(int, sys.argv[2:5])
count, armed = 0, True

def changed(event, args):
    global count
    if not armed or os.getpid() != first:
        return
    if event == "open":
        path, mode, flags = args
        if not isinstance(path, str) or not (flags & (os.O_WRONLY | os.O_RDWR)):
            return
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"):
        path = args[0]
    else:
        return
    if not os.path.abspath(os.fsdecode(path)).startswith(work):
        return
    count += 1
    if count == kill_at:
        os.kill(os.getpid(), 9)
    if full_at and count >= full_at and event in ("open", "os.mkdir"):
        raise OSError(28, os.strerror(28))
    if locked:
        raise OSError(30, os.strerror(30))

first = os.getpid()
sys.addaudithook(changed)
from edgeflow.cli import main
try:
    main(sys.argv[5:])
finally:
    armed = False
    print(f"changes {count}", file=sys.stderr)
"""

MODEL = """
import sys
sys.path.insert(0, {tests!r})
from routed_models import small
def build():
    return small("Shortcut")
"""


@dataclass(frozen=True)
class Command:
    """What is killed.

    Attributes:
        words: of the command line, in the work folder.
        output: what it makes there.
        resumes: words to add once it left parts.
        content: what of the output must come out equal.
        kept: what may lie beside the output besides.
    """

    words: tuple[str, ...]
    output: str
    resumes: tuple[str, ...]
    content: Callable[[Path], str]
    kept: tuple[str, ...] = ()


def bundle_content(path: Path) -> str:
    """Graphs and weights, which are the same in every export; times are not."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.parent.name in ("graphs", "golden"))
    return digest([f"{p.relative_to(path)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files])


def film_content(path: Path) -> str:
    """Times and sizes of its pictures, and pictures themselves, roughly: pieces begin where kills were."""
    import av

    with av.open(str(path)) as film:
        return digest(
            [
                f"{float(f.time):.4f} {round(float(f.to_ndarray(format='gray').mean()))}"
                for f in film.decode(video=0)
            ]
        )


def engines_content(path: Path) -> str:
    """Which engines were made: each one's name says what of."""
    return digest(sorted(str(p.relative_to(path)) for p in (path / "engines").rglob("*")))


def same(path: Path) -> str:
    return "" if path.exists() else "missing"


def weights_content(path: Path) -> str:
    from safetensors.numpy import load_file

    return digest(
        [
            f"{name} {array.tobytes().hex()}"
            for name, array in sorted(load_file(path / "weights.safetensors").items())
        ]
    )


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


COMMANDS = {
    "export": Command(("export", "model.py:build", "-o", "out.edgeflow", "--plan", "chained", "--json"), "out.edgeflow", (), bundle_content),
    "build": Command(("build", "made.edgeflow"), "made.edgeflow", (), engines_content),
    "run": Command(("run", "made.edgeflow", "clip.mp4", "-o", "out.mp4"), "out.mp4", ("--resume",), film_content, ("out.mp4.parts",)),
    "check": Command(("check", "made.edgeflow", "--json"), "made.edgeflow", (), same),
    "train": Command(
        ("train", "cain-sd", "--preset", "tiny", "--data", "clips", "--run", "trained", "--steps", "6"), "trained", (), weights_content
    ),
}  # fmt: skip


def child(
    work: Path, words: tuple[str, ...], kill: int = 0, full: int = 0, locked: bool = False
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGEFLOW_CACHE": str(work.parent / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(work), str(kill), str(full), str(int(locked)), *words],
        cwd=work, env=environment, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip


def set_up(base: Path) -> Path:
    """A work folder: a model, a bundle of it, a clip, a folder of clips."""
    import av
    import numpy as np

    work = base / "ready"
    work.mkdir()
    tests = str(Path(__file__).parents[1] / "tests")
    (work / "model.py").write_text(MODEL.format(tests=tests))
    (work / "clips").mkdir()
    y, x = np.mgrid[0:96, 0:128]
    for place, count in (
        (work / "clip.mp4", 200),
        (work / "clips" / "a.mp4", 24),
        (work / "clips" / "b.mp4", 24),
    ):
        with av.open(str(place), "w") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            for n in range(count):
                picture = np.stack([(2 * x + 5 * n) % 256, (3 * y + x) % 256, (x + 3 * n) % 256], -1).astype(
                    np.uint8
                )
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode(None))
    done = child(work, ("export", "model.py:build", "-o", "made.edgeflow", "--target", "openvino-cpu"))
    assert done.returncode == 0, done.stderr
    return work


def beside(work: Path, ready: Path) -> list[str]:
    """What a command left in the work folder, hidden things too."""
    known = {path.name for path in ready.iterdir()} | {"__pycache__"}
    return sorted(path.name for path in work.iterdir() if path.name not in known)


class Bench:
    """Runs one command in fresh copies of the work folder."""

    def __init__(self, ready: Path, name: str) -> None:
        self.ready, self.name, self.command = ready, name, COMMANDS[name]
        self.faults: list[str] = []

    def fresh(self, name: str) -> Path:
        work = self.ready.parent / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.ready, work)
        return work

    def undisturbed(self) -> tuple[int, str]:
        """How often it changes the file system, and what it makes."""
        work = self.fresh(f"{self.name}-whole")
        done = child(work, self.command.words)
        assert done.returncode == 0, done.stderr
        changes = int(done.stderr.rsplit("changes ", 1)[1].split()[0])
        return changes, self.command.content(work / self.command.output)

    def again(self, work: Path, what: str, wanted: str) -> None:
        """The same command must end well, equal, with nothing left."""
        parts = work / f"{self.command.output}.parts"
        words = self.command.words + (self.command.resumes if (parts / "state.json").exists() else ())
        done = child(work, words)
        if done.returncode:
            self.faults.append(f"{what}: again: {done.stderr.strip().splitlines()[-2:]}")
            return
        if self.command.content(work / self.command.output) != wanted:
            self.faults.append(f"{what}: another result")
        left = [name for name in beside(work, self.ready) if name != self.command.output]
        if left:
            self.faults.append(f"{what}: left {left}")
        hidden = [str(p.relative_to(work)) for p in work.rglob(".*") if "cache" not in str(p)]
        if hidden:
            self.faults.append(f"{what}: hidden {hidden}")

    def kill(self, number: int, wanted: str) -> None:
        work = self.fresh(f"{self.name}-killed")
        done = child(work, self.command.words, kill=number)
        if done.returncode != -signal.SIGKILL:
            return  # fewer changes this time
        output = work / self.command.output
        if self.name == "export" and output.exists() and self.command.content(output) != wanted:
            self.faults.append(f"kill {number}: half a bundle at its name")
        self.again(work, f"kill {number}", wanted)

    def full(self, number: int, wanted: str) -> None:
        work = self.fresh(f"{self.name}-full")
        done = child(work, self.command.words, full=number)
        lines = [line for line in done.stderr.splitlines() if line.startswith("edgeflow: error")]
        if done.returncode == 0:
            return
        if len(lines) != 1 or "Traceback" in done.stderr:
            self.faults.append(f"disk full at {number}: {done.stderr.strip()[-300:]}")
        self.again(work, f"disk full at {number}", wanted)

    def locked(self) -> None:
        """In a folder that cannot be written to a command says so in a line, or needs nothing of it, and leaves nothing."""
        work = self.fresh(f"{self.name}-locked")
        done = child(work, self.command.words, locked=True)
        lines = [line for line in done.stderr.splitlines() if line.startswith("edgeflow: error")]
        if "Traceback" in done.stderr or (done.returncode != 0) != (len(lines) == 1):
            self.faults.append(f"read-only: {done.returncode} {done.stderr.strip()[-300:]}")
        if left := beside(work, self.ready):
            self.faults.append(f"read-only: left {left}")

    def twice(self, wanted: str) -> None:
        work = self.fresh(f"{self.name}-twice")
        environment = {**os.environ, "EDGEFLOW_CACHE": str(work.parent / "cache"), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", CHILD, str(work), "0", "0", "0", *self.command.words]
        both = [
            subprocess.Popen(
                words, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        said = [own.communicate(timeout=3600)[1] for own in both]
        if all(own.returncode for own in both) or any("Traceback" in text for text in said):
            self.faults.append(
                f"two at once: {[own.returncode for own in both]} {said[0][-200:]} | {said[1][-200:]}"
            )
        elif self.command.content(work / self.command.output) != wanted:
            self.faults.append("two at once: another result")


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(COMMANDS)}; all if not given.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Kill at every so many changes only.")] = 1,
) -> None:
    assert os.strerror(errno.ENOSPC)
    faults = 0
    with tempfile.TemporaryDirectory(prefix="crash-") as place:
        ready = set_up(Path(place))
        for name in names or list(COMMANDS):
            bench = Bench(ready, name)
            changes, wanted = bench.undisturbed()
            points = range(1, changes + 1, every)
            for number in points:
                bench.kill(number, wanted)
            for number in points[:: max(len(points) // 5, 1)]:
                bench.full(number, wanted)
            bench.locked()
            bench.twice(wanted)
            for fault in bench.faults:
                print(f"  {name}: {fault}", flush=True)
            print(
                f"{name}: {len(points)} kills at {changes} changes of the file system, full disks, a read-only one, two at once: {len(bench.faults)} faults",
                flush=True,
            )
            faults += len(bench.faults)
    raise typer.Exit(bool(faults))


if __name__ == "__main__":
    typer.run(main)
