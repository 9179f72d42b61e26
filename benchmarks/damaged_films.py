"""Damaged films through the whole of `run` but the network: what is lost must be said, and time kept.

    python benchmarks/damaged_films.py --count 540

A film of two seconds with sound is made as mp4, mkv, webm and avi, and damaged: 1, 8 or 64 flipped bits, bursts, zeroed runs, cuts,
repeats, missing ends. Each goes through the reader and the writer with a session that repeats frames, and what comes out is
compared with what the whole film gives: pictures by their times, sound by its length.
"""

from __future__ import annotations

import random
import signal
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Annotated

import av
import numpy as np
import typer

from edgeflow.ir.errors import EdgeflowError
from edgeflow.ir.task import Made, Task
from edgeflow.runtime.video.convert import Options
from edgeflow.runtime.video.film import convert_film

SECONDS, FPS = 2, 25
CODECS = {".webm": ("libvpx-vp9", "libopus", 48000, 960), ".avi": ("mpeg4", "libmp3lame", 44100, 1152)}
"""Encoders of picture and sound, samples a second and a frame; H.264 and AAC elsewhere."""
WAYS = ("1 bit", "8 bits", "64 bits", "burst", "zeros", "cut", "repeat", "end")


class Same:
    """Gives each frame back."""

    in_flight = 1
    looks_back = False

    def run(self, frame):
        return type("Result", (), {"outputs": (frame,), "trace": type("Trace", (), {"regions": ()})})

    def reset(self):
        pass


def whole(path: Path) -> Path:
    """A film with moving pictures and a tone."""
    codecs = CODECS.get(path.suffix, ("libx264", "aac", 44100, 1024))
    y, x = np.mgrid[0:72, 0:128]
    with av.open(str(path), "w") as out:
        video, sound = (
            out.add_stream(codecs[0], rate=FPS, options={"g": "12"}),
            out.add_stream(codecs[1], rate=codecs[2]),
        )
        video.width, video.height, video.pix_fmt = 128, 72, "yuv420p"
        for n in range(SECONDS * FPS):
            picture = np.stack([(2 * x + 5 * n) % 256, (3 * y + x) % 256, (x * y + 9 * n) % 256], -1).astype(
                np.uint8
            )
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(video.encode(None))
        wave = (8000 * np.sin(np.arange(SECONDS * codecs[2]) / 20)).astype(np.int16)[None]
        tone = av.AudioFrame.from_ndarray(wave, "s16", "mono")
        tone.sample_rate, tone.pts = codecs[2], 0
        layout = "s16" if codecs[1] == "libopus" else "fltp"
        for frame in av.AudioResampler(layout, "mono", codecs[2], frame_size=codecs[3]).resample(tone):
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def damage(data: bytearray, way: str, chance: random.Random) -> None:
    at = chance.randrange(len(data)) if chance.random() < 0.8 else chance.randrange(min(800, len(data)))
    if way.endswith(("bit", "bits")):
        for _ in range(int(way.split()[0])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif way == "burst":
        for n in range(at, min(at + 50, len(data))):
            data[n] = chance.randrange(256)
    elif way == "zeros":
        data[at : at + 300] = bytes(len(data[at : at + 300]))
    elif way == "cut":
        del data[at : at + 200]
    elif way == "repeat":
        data[at:at] = data[at : at + 200]
    else:
        del data[max(at, len(data) // 3) :]


def content(path: Path) -> tuple[dict[int, bytes], float]:
    """Pictures by their times in hundredths of a second, and seconds of sound that decode."""
    shown, heard = {}, 0.0
    with av.open(str(path), metadata_errors="replace") as film:
        for frame in film.decode(video=0):
            shown[round(float(frame.time) * 100)] = frame.to_ndarray(format="gray")[::8, ::8].tobytes()
    with av.open(str(path), metadata_errors="replace") as film:
        if film.streams.audio:
            for packet in film.demux(audio=0):
                try:
                    heard += sum(f.samples / f.sample_rate for f in packet.decode())
                except av.FFmpegError:
                    continue
    return shown, heard


def outcome(source: Path, made: Path, wanted: tuple[dict[int, bytes], float]) -> str:
    """What became of a damaged film."""
    try:
        report = convert_film(
            Same(), Task((0,), (Made("image"),)), source, made, overwrite=True, options=Options()
        )
    except EdgeflowError as error:
        if "parts" in str(error) or "written" in str(error):
            return f"REFUSED AT THE JOIN: {error}"
        return "refused in one line" if "\n" not in str(error) else "REFUSED IN SEVERAL LINES"
    shown, heard = content(made)
    said = bool(report.warnings)
    missing = len(set(wanted[0]) - set(shown))
    late = [t for t, own in wanted[0].items() if t in shown and not _alike(own, shown[t])]
    if not missing and not late and abs(heard - wanted[1]) < 0.15:
        return "unharmed" + (", and something said" if said else "")
    if said:
        return "told"
    if missing:
        return f"SILENT: pictures missing ({'many' if missing > 2 else 'one or two'})"
    return "SILENT: sound lost" if abs(heard - wanted[1]) >= 0.15 else "SILENT: other pixels"


def _alike(one: bytes, other: bytes) -> bool:
    a, b = (np.frombuffer(own, np.uint8).astype(int) for own in (one, other))
    return float(np.abs(a - b).mean()) < 12


def main(count: Annotated[int, typer.Option(help="Damaged films in all.")] = 540) -> None:
    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, late)
    found: dict[str, Counter[str]] = {}
    start = perf_counter()
    with tempfile.TemporaryDirectory(prefix="damaged-") as place:
        folder = Path(place)
        films = [whole(folder / f"whole.{kind}") for kind in ("mp4", "mkv", "webm", "avi")]
        wanted = {}
        for film in films:
            outcome(film, folder / f"good{film.suffix}", ({}, 0.0))
            wanted[film] = content(folder / f"good{film.suffix}")
        for number in range(count):
            chance = random.Random(number)
            film, way = films[number % len(films)], WAYS[(number // len(films)) % len(WAYS)]
            data = bytearray(film.read_bytes())
            damage(data, way, chance)
            source, made = folder / f"in{film.suffix}", folder / f"out{film.suffix}"
            source.write_bytes(data)
            made.unlink(missing_ok=True)
            signal.setitimer(signal.ITIMER_PROF, 30)  # of processor time: a busy machine is no fault
            try:
                what = outcome(source, made, wanted[film])
            except TimeoutError:
                what = "HANGS"
            except Exception as error:
                what = f"TRACEBACK {type(error).__name__}: {str(error)[:80]}"
            signal.setitimer(signal.ITIMER_PROF, 0)
            if what[0].isupper():
                print(number, film.suffix, way, what, flush=True)
            found.setdefault(film.suffix, Counter())[
                what.split(" (")[0].split(":")[0] if what.startswith(("TRACE", "REFUSED")) else what
            ] += 1
    for kind, outcomes in found.items():
        print(kind, dict(outcomes))
    print(f"{count} damaged films in {perf_counter() - start:.0f} s")


if __name__ == "__main__":
    typer.run(main)
