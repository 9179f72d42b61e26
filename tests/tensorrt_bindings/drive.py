"""Drives edgeflow's TensorRT code through NVIDIA's Python bindings over the doubles, and prints a table of what was done.

    python drive.py BUNDLES RELEASE_FOLDER...

BUNDLES keeps the exported bundles, which all releases share. Ends with 1 if anything failed, or a double objected.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bindings import HERE, ROOT, Release, objections

MODELS = {"cain": "cain-sd", "shortcut": "shortcut-v2v"}
PRECISIONS = ("fp16", "bf16", "int8")
EDGEFLOW = ("-c", "from edgeflow.cli import main; main()")
FREE = "320x192"
"""Size given to `edgeflow build` where the bundle is for any."""


@dataclass(frozen=True)
class Step:
    """One thing done to one bundle: whether it went well, or what was said."""

    name: str
    failed: str


def export_all(folder: Path) -> list[Path]:
    """Both families, all precisions, with and without a size; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "clip.mp4"
    if not clip.exists():
        _write_clip(clip)
    made = []
    for short, model in MODELS.items():
        for precision in PRECISIONS:
            for kind, size in (("sized", ["--size", FREE]), ("free", [])):
                path = folder / f"{short}-{precision}-{kind}.edgeflow"
                made.append(path)
                if not path.exists():
                    given = ["--clip", str(clip)] if precision == "int8" else []
                    command = [
                        "export",
                        model,
                        "--preset",
                        "tiny",
                        "--target",
                        "jetson-orin",
                        "--precision",
                        precision,
                    ]
                    _edgeflow_here(*command, *size, *given, "-o", str(path))
    return made


def drive(release: Release, bundle: Path, folder: Path) -> Iterator[Step]:
    """Build, check, run and profile a copy of a bundle, kill a build and go on, and run it all ways."""
    copy = shutil.copytree(bundle, folder / bundle.name)
    clip, log = bundle.parent / "clip.mp4", folder / f"{bundle.stem}.log"
    edgeflow = partial(release.run, log, *EDGEFLOW)
    build = ["build", str(copy), "--headers", str(release.headers)]
    build += ["--size", FREE] if bundle.stem.endswith("free") else []
    if bundle.stem.split("-")[1] == "bf16" and release.version.startswith("10.3"):
        done = edgeflow(*build)
        refused = done.returncode == 1 and "does not take bf16" in done.stderr.replace("\n", " ")
        yield Step("bf16 refused", "" if refused else _last(done))
        return
    _share_plugins(folder, copy)
    yield Step("killed", _kill_a_build(release, log, build, copy))
    report = folder / "profile.json"
    report.unlink(missing_ok=True)
    film = str(folder / f"{bundle.stem}.mp4")
    measured = [
        "--clip",
        str(clip),
        "--frames",
        "4",
        "--overwrite",
        "--trace",
        str(folder / "trace.json"),
        "--json",
        str(report),
    ]
    yield from _commands(
        release,
        log,
        {
            "build": build,
            "check": ["check", str(copy)],
            "run": ["run", str(copy), str(clip), "-o", film],
            "profile": ["profile", str(copy), *measured],
        },
    )
    _keep_plugins(folder, copy)
    yield Step("spans", _spans(report))
    if bundle.stem.startswith("cain-fp16"):  # whose router samples a grid, as at every precision
        yield Step("wrong operator", _takes_the_other_form(edgeflow(*build, "--json", fault="GridSample")))
        yield from _commands(release, log, {"built anew": build})
    runs = partial(release.run, log, str(HERE / "bundle_runs.py"))
    yield _step("given back, frames", lambda: runs("kept,same", str(copy)))
    yield _step("frames, discrete", lambda: runs("same", str(copy), cuda_integrated="0", cuda_eager="1"))
    found = objections(log)
    yield Step("objections", "; ".join(f"{count} x {what}" for what, count in found.most_common(5)))


def _commands(release: Release, log: Path, commands: Mapping[str, Sequence[str]]) -> Iterator[Step]:
    """Run commands in one process; each is a step."""
    report = log.with_suffix(".json")
    report.unlink(missing_ok=True)
    given = json.dumps(list(commands.items()))
    done = release.run(log, str(HERE / "bundle_commands.py"), str(report), given)
    said = json.loads(report.read_text()) if report.exists() else {}
    for name in commands:
        yield Step(name, said.get(name, f"rc {done.returncode}: {_last(done)}"))


def _kill_a_build(release: Release, log: Path, build: list[str], copy: Path) -> str:
    """Kill a build when some engines are there; its builder must go too."""
    command = [sys.executable, *EDGEFLOW, *build]
    process = subprocess.Popen(
        command, env=release.environment(log), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < end:
        if len(list(copy.glob("engines/*/*.engine.json"))) >= 2:
            break
        time.sleep(0.02)
    if process.poll() is not None:
        return f"the build ended by itself, rc {process.returncode}"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    time.sleep(0.5)
    alive = [child for child in children if Path(f"/proc/{child}/cmdline").exists() and _running(child)]
    return f"builders {alive} outlive the build" if alive else ""


def _takes_the_other_form(done: subprocess.CompletedProcess[str]) -> str:
    """An operator that TensorRT gets wrong must be found by its probe, and the goldens agree without it."""
    if done.returncode:
        return _last(done)
    said = json.loads(done.stdout)
    return "" if [probe["passed"] for probe in said["probes"]] == [False] else f"probes {said['probes']}"


def _running(process: str) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _spans(report: Path) -> str:
    """Engines' time must be counted as engines', though nothing waits for them."""
    if not report.exists():
        return "no profile"
    clip = json.loads(report.read_text())["clip"]
    share = clip["engines_ms"] / clip["latency"]["mean_ms"]
    return "" if share > 0.3 else f"engines take {share:.0%} of a frame whose engines compute on the host"


def _step(name: str, run: Callable[[], subprocess.CompletedProcess[str]]) -> Step:
    done = run()
    return Step(name, "" if done.returncode == 0 else f"rc {done.returncode}: {_last(done)}")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    return " ".join(lines[-4:])[-400:] if lines else "it printed nothing"


def _share_plugins(folder: Path, copy: Path) -> None:
    """Put the plugin library that another bundle of this release compiled where this one's build will find it."""
    for key in (folder / "plugins").glob("*"):
        shutil.copytree(key, copy / "engines" / key.name, dirs_exist_ok=True)


def _keep_plugins(folder: Path, copy: Path) -> None:
    for library in copy.glob("engines/*/libedgeflow_plugins-*"):
        kept = folder / "plugins" / library.parent.name
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, kept)


def _edgeflow_here(*command: str) -> None:
    subprocess.run([sys.executable, *EDGEFLOW, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _write_clip(path: Path) -> None:
    """A few frames, moving."""
    import av
    import numpy as np

    from edgeflow.export.sample import moving_picture

    width, height = map(int, FREE.split("x"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for time_ in range(10):
            picture = np.ascontiguousarray(moving_picture(height, width, time_))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def drive_all(release: Release, paths: Sequence[Path]) -> bool:
    """Drive every bundle on one release; whether all went well."""
    well = True
    with tempfile.TemporaryDirectory() as temporary:
        for path in paths:
            start = time.monotonic()
            steps = list(drive(release, path, Path(temporary)))
            wrong = [step for step in steps if step.failed]
            well = well and not wrong
            state = f"{'FAILED' if wrong else 'ok'} ({time.monotonic() - start:.0f} s)"
            names = ", ".join(step.name for step in steps)
            said = "".join(f"\n    {step.name}: {step.failed}" for step in wrong)
            print(f"{release.version:11} {path.stem:22} {state}: {names}{said}", flush=True)
    return well


def main(bundles: Path, releases: list[Path]) -> int:
    """Drive every bundle on every release, as many releases at a time as there are processors."""
    paths = export_all(bundles)
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        well = list(pool.map(lambda folder: drive_all(Release(folder), paths), releases))
    return int(not all(well))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), list(map(Path, sys.argv[2:]))))
