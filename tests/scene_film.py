"""A film of several scenes, and how two films are compared: by every pixel, time and packet of sound."""

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from edgeflow.export.sample import moving_picture
from edgeflow.runtime.video.writing.encoder import Encoding

LOSSLESS = Encoding("ffv1")


def scene_picture(number: int) -> np.ndarray:
    """Scenes of 12 pictures that are dark on one side; one in four repeats the one before, and a flash is white."""
    scene, place = divmod(number, 12)
    if number == 17:
        return np.full((64, 96, 3), 255, np.uint8)
    picture = moving_picture(64, 96, place - (place % 4 == 3))
    side = (np.s_[:, :48], np.s_[:, 48:], np.s_[:32], np.s_[32:])[scene % 4]
    picture[side] = picture[side] // 6
    return picture


def make_film(path: Path, pictures: int) -> Path:
    """A film of several scenes at a rate that varies, with sound."""
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=25, options={"crf": "6", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = film.add_stream("pcm_s16le", rate=8000, layout="mono")
        for number in range(pictures):
            picture = av.VideoFrame.from_ndarray(scene_picture(number), "rgb24")
            picture.pts = number * 40 + (number * 7 % 5) * 3 + (900 if number > 30 else 0)
            picture.time_base = Fraction(1, 1000)
            film.mux(video.encode(picture))
            tone = (8000 * np.sin(np.arange(320) / 5 + number)).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, number * 320, Fraction(1, 8000)
            film.mux(sound.encode(samples))
        for stream in (video, sound):
            film.mux(stream.encode(None))
    return path


def pictures_of(path: Path) -> list[tuple[float | None, str]]:
    with av.open(str(path)) as film:
        return [
            (frame.time, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in film.decode(video=0)
        ]


def sound_of(path: Path) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as film:
        return [(packet.pts, bytes(packet)) for packet in film.demux(audio=0) if packet.size]
