"""Bundles that somebody means harm with: whatever stands in them, edgeflow refuses them in one line, or runs them as data.

    python benchmarks/hostile_bundles.py --count 100000 model.edgeflow [MORE.edgeflow ...]

Each is a copy of a bundle with one to three changes: fields of its manifest set to null, another type, 0, -1, huge numbers, long
or odd text, deep nests, other fields' values, left out or doubled; bytes of its graphs, goldens and measured costs flipped, cut or
repeated; links, pipes and folders in the place of files. All hashes are made right again. Each is opened, what opens runs a frame, and every third that does is
checked against its goldens, which takes most of the time, in a process with a clock and a limit of memory. What counts against edgeflow: an exception that is
not its own, a message of several lines, more time or memory than the limits, a process that died, and any file that changed outside.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer

SECONDS, WAITING = 20, 600
"""Of processor time, and by the clock: a busy machine is no fault, a pipe that is waited for is."""
GIGABYTES = 3
CHUNK = 2000
CHECKED = 3
"""Of so many bundles that ran one is checked."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 0.5, -0.5, 10**9, 2**31, 2**63, 10**30, 1e300, float("inf"), float("nan"),
    "", "a", "frame", "tiles", "../../outside", "/etc/passwd", "a\nb", "\x1b[2J", "\ud800", "x" * 5000, "graphs/weights.bin",
    [], {}, [[]], [None], ["true"], ["in", "nowhere", [1]], {"kind": "argmax"}, {"a": {"b": 1}}, [1, 2, 3, 4], [1e9, 1e9, 3],
    [10**6, 10**6, 10**6],
)  # fmt: skip


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in plain data."""
    found, waiting = [], [data]
    while waiting:
        own = waiting.pop()
        pairs = own.items() if isinstance(own, dict) else enumerate(own) if isinstance(own, list) else ()
        for key, value in list(pairs):
            found.append((own, key))
            waiting.append(value)
    return found


def change_manifest(data: Any, chance: random.Random) -> None:
    spots = places(data)
    container, key = chance.choice(spots)
    how = chance.randrange(10)
    if how < 5:
        container[key] = chance.choice(ODD)
    elif how == 5:
        del container[key]
    elif how == 6:
        other, place = chance.choice(spots)
        container[key] = json.loads(json.dumps(other[place]))
    elif how == 7 and isinstance(container, list):
        container.extend(json.loads(json.dumps([container[key]])) * chance.choice((1, 2, 100)))
    elif how == 8 and isinstance(container[key], int | float) and not isinstance(container[key], bool):
        container[key] = container[key] * chance.choice((-1, 2, 10, 1000)) + chance.choice((-1, 0, 1))
    else:
        deep: Any = chance.choice(ODD)
        for _ in range(chance.choice((3, 50, 400))):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        container[key] = deep


def change_file(folder: Path, names: list[str], chance: random.Random) -> None:
    """Change a file; sometimes it becomes something else than a file."""
    path = folder / chance.choice(names)
    if not path.is_file() or path.is_symlink():
        return
    how = chance.randrange(10)
    if how == 0:
        path.unlink()
        chance.choice((lambda: path.symlink_to("/etc/hostname"), lambda: os.mkfifo(path), path.mkdir))()
        return
    data = bytearray(path.read_bytes())
    if how < 7 and data:
        for _ in range(chance.choice((1, 1, 4, 64))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == 7:
        del data[chance.randrange(len(data) + 1) :]
    elif data:
        at = chance.randrange(len(data))
        data[at:at] = data[at : at + chance.choice((1, 100, 10_000))]
    path.write_bytes(data)


def rehash(folder: Path, manifest: dict[str, Any]) -> None:
    """Let the manifest say what its files are by now."""
    files = manifest.get("files")
    for name, entry in files.items() if isinstance(files, dict) else ():
        path = folder / name if isinstance(name, str) and "\x00" not in name and len(name) < 200 else folder
        if isinstance(entry, dict) and path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def hostile(source: Path, folder: Path, chance: random.Random) -> None:
    """Make a hostile bundle of a good one."""
    shutil.copytree(source, folder)
    data = json.loads((folder / "manifest.json").read_text())
    names = sorted(data["files"]) + [p.relative_to(folder).as_posix() for p in folder.glob("profile/*")]
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.7:
            change_manifest(data, chance)
        else:
            change_file(folder, names, chance)
    if isinstance(data, dict) and chance.random() < 0.9:
        rehash(folder, data)
    text = json.dumps(data)
    if chance.random() < 0.03:
        at = chance.randrange(len(text))
        text = (
            text[:at]
            + chance.choice(("9" * 5000, "[" * 5000, "", '"', "NaN", "\x00"))
            + text[at + chance.randrange(3) :]
        )
    (folder / "manifest.json").write_text(text, errors="surrogatepass")


def try_bundle(folder: Path, checked: bool) -> str:
    """Open it, run a frame, check it if that is asked for; what came of it in words."""
    from edgeflow.ir.errors import EdgeflowError
    from edgeflow.ir.interface import Tensor, held_shape
    from edgeflow.runtime import Session, open_bundle
    from edgeflow.runtime.check import check

    stage = "open"
    try:
        bundle = open_bundle(folder)
        stage = "run"
        plan = next(iter(bundle.manifest.plans.values()))
        sizes = {"height": 40, "width": 56, "frames": 3}
        frames = []
        for spec in plan.inputs:
            shape = [
                sizes.get(s, 2) if isinstance(s, str) else s
                for s in (held_shape(spec.shape) if spec.image else spec.shape)
            ]
            frames.append(np.zeros(shape, np.float32 if isinstance(spec, Tensor) else np.uint8))
        with Session(bundle, threads=1) as session:
            session.run(*frames)
        if not checked:
            return "ran"
        stage = "check"
        return "passed its check" if check(bundle, threads=1).passed else "failed its check"
    except EdgeflowError as error:
        return (
            f"refused ({stage})"
            if "\n" not in str(error) and len(str(error)) < 20_000
            else f"LONG MESSAGE ({stage})"
        )


def chunk(sources: list[Path], seed: int, count: int, pipe: Any) -> None:
    """Try so many bundles and send what came of each."""
    limit = GIGABYTES << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.stderr = open(os.devnull, "w")  # libraries' own complaints  # noqa: SIM115

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGPROF, late)
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        for number in range(seed, seed + count):
            chance = random.Random(number)
            folder = Path(place) / "b.edgeflow"
            hostile(chance.choice(sources), folder, chance)
            pipe.send((number, "began"))
            signal.alarm(WAITING)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                said = try_bundle(folder, checked=number % CHECKED == 0)
            except TimeoutError:
                said = "TOO LONG"
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                said = f"TRACEBACK {type(error).__name__} {Path(where.filename).name}:{where.lineno}: {str(error)[:100]}"
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send((number, said))
            if sorted(os.listdir(place)) != ["b.edgeflow"]:
                pipe.send((number, f"WROTE OUTSIDE {os.listdir(place)}"))
            shutil.rmtree(folder)


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Good bundles to start from.")],
    count: Annotated[int, typer.Option(help="Hostile bundles to try.")] = 100_000,
    first: Annotated[int, typer.Option(help="Number of the first, which decides what is changed.")] = 0,
    keep: Annotated[
        Path | None, typer.Option(help="Make the bundle of number --first here, and stop.")
    ] = None,
) -> None:
    if keep:
        chance = random.Random(first)
        hostile(chance.choice(bundles), keep, chance)
        return
    start, outcomes, bad, number = perf_counter(), Counter[str](), [], first
    context = get_context("spawn")
    while number < first + count:
        ours, theirs = context.Pipe(duplex=False)
        size = min(CHUNK, first + count - number)
        process = context.Process(target=chunk, args=(bundles, number, size, theirs))
        process.start()
        theirs.close()
        last, said = number, "began"
        while True:
            try:
                if not ours.poll(2 * WAITING):
                    process.kill()
                    break
                last, said = ours.recv()
            except EOFError:
                break
            if said != "began":
                outcomes[said.split(":")[0] if said[:2].isupper() else said] += 1
                if said[:2].isupper():
                    bad.append((last, said))
                    print(last, said, flush=True)
        process.join()
        if said == "began":  # it died, or hung in a library, while it tried this one
            outcomes["DIED"] += 1
            bad.append((last, f"DIED with {process.exitcode}"))
            print(*bad[-1], flush=True)
        number = last + 1
        print(f"{number - first} tried, {perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    for what, times in outcomes.most_common():
        print(f"{times:8d} {what}")
    print(
        f"{sum(outcomes.values())} hostile bundles in {perf_counter() - start:.0f} s, {len(bad)} of them held against edgeflow"
    )
    raise typer.Exit(bool(bad))


if __name__ == "__main__":
    typer.run(main)
