"""Nothing of a film is lost: its time, what it carries, what was made before a stop; and what cannot be kept is said."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import av
import numpy as np
import pytest
from PIL import Image

from edgeflow.ir.errors import InputError, VideoError
from edgeflow.runtime.video.convert import Options
from edgeflow.runtime.video.film import convert_film
from edgeflow.runtime.video.interpolate import TASK, interpolate_video
from edgeflow.runtime.video.reading.clock import Clock
from edgeflow.runtime.video.reading.mastering import Mastering, mastering_of
from edgeflow.runtime.video.reading.orientation import Orientation
from edgeflow.runtime.video.reading.reader import Reading, VideoReader
from edgeflow.runtime.video.writing import pieces
from edgeflow.runtime.video.writing.encoder import Encoding

MS = Fraction(1, 1000)


def film(
    path,
    times,
    shade=lambda number: 20,
    *,
    size=(96, 64),
    click=None,
    codec="libx264",
    layout="yuv420p",
    options=None,
):
    """A film whose pictures stand at times in seconds, with a click at one."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = *size, layout
        video.codec_context.time_base = MS
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono") if click is not None else None
        for number, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), shade(number), np.uint8), "rgb24"
            )
            picture = picture.reformat(format=layout)
            picture.pts, picture.time_base = round(time * 1000), MS
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        if sound is not None:
            wave = np.zeros((1, int(8000 * (times[-1] + 0.5))), np.int16)
            wave[0, int(8000 * click) : int(8000 * click) + 80] = 20000
            tone = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            tone.sample_rate, tone.pts, tone.time_base = 8000, 0, Fraction(1, 8000)
            out.mux([*sound.encode(tone), *sound.encode(None)])
    return path


def flash_and_click(path):
    """Seconds of the brightest picture and of the loudest sample."""
    with av.open(str(path)) as container:
        shown = [
            (float(f.to_ndarray(format="gray").mean()), -float(f.time)) for f in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        heard = [
            (
                int(abs(f.to_ndarray().astype(int)).max()),
                -float(f.time) - int(abs(f.to_ndarray().astype(int)).argmax()) / 8000,
            )
            for f in container.decode(audio=0)
        ]
    return -max(shown)[1], -max(heard)[1]


PAUSING = [n / 25 for n in range(20)] + [2.5 + n / 25 for n in range(20)]
UNEVEN = [float(t) for t in np.cumsum([0.0, *([0.04, 0.02, 0.06, 0.1, 0.033] * 8)])]


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("at", [PAUSING, UNEVEN, [t + 0.7 for t in PAUSING]], ids=["pause", "uneven", "late"])
def test_pictures_stay_in_step_with_their_sound(tmp_path, averaging, times, at):
    source = film(tmp_path / "in.mkv", at, lambda n: 250 if n == 30 else 20, click=at[30])
    interpolate_video(averaging(), source, tmp_path / "out.mkv", times=times)
    seen, heard = flash_and_click(tmp_path / "out.mkv")
    assert abs(seen - heard) < 0.01 and abs(seen - at[30]) < 0.01
    with av.open(str(tmp_path / "out.mkv")) as made:
        shown = [float(f.time) for f in made.decode(video=0)]
    assert len(shown) == times * len(at) and shown == sorted(set(shown))
    assert all(min(abs(own - t) for own in shown) < 0.002 for t in at), "a source picture lost its time"


def test_a_clock_goes_forward_and_forgets_the_containers_rounding():
    clock = Clock(Fraction(24), MS)
    times = [clock.at(Fraction(round(n * 1000 / 24), 1000)) for n in range(30)]
    assert times == [Fraction(n, 24) for n in range(30)]
    assert clock.at(Fraction(0)) == Fraction(30, 24) and clock.backwards == 1
    assert clock.at(None) == Fraction(31, 24)


def test_even_containers_repeat_pictures_to_keep_the_time(tmp_path, averaging):
    source = film(tmp_path / "in.mkv", PAUSING, lambda n: 250 if n == 30 else 20)
    interpolate_video(averaging(), source, tmp_path / "out.y4m")
    with av.open(str(tmp_path / "out.y4m")) as made:
        shown = [f.to_ndarray(format="gray").mean() > 200 for f in made.decode(video=0)]
    assert abs(shown.index(True) / 50 - PAUSING[30]) < 0.021


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mkv", "avi"])
def test_damage_in_the_middle_is_said_and_time_kept(tmp_path, clip, moving, averaging, kind):
    source = clip(f"in.{kind}", moving(250), codec="mpeg4", options={"g": "25"})
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    source.write_bytes(data)
    report = interpolate_video(averaging(), source, tmp_path / f"out.{kind}")
    assert report.damage and any("damaged" in line or "no pictures" in line for line in report.warnings)
    with av.open(str(tmp_path / f"out.{kind}")) as made:
        last = [float(f.time) for f in made.decode(video=0)][-1]
    assert abs(last - (249 / 25 + 1 / 50)) < 0.03
    with pytest.raises(VideoError, match="damaged at frame"):
        convert_film(
            averaging(), TASK, source, tmp_path / "strict.mkv", times=2, options=Options(strict=True)
        )


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov", "webm"])
def test_a_stopped_film_plays_and_is_gone_on_with(tmp_path, clip, moving, averaging, monkeypatch, kind):
    """Stopped once in the middle of a piece, once more later: the end is what one run would have made."""
    monkeypatch.setattr(pieces, "FRAMES", 12)
    monkeypatch.setattr("edgeflow.runtime.video.writing.film_writer.FRAMES", 12)
    source, output = clip("in.mp4", moving(40), audio="aac"), tmp_path / f"out.{kind}"
    interpolate_video(averaging(), source, tmp_path / f"whole.{kind}")
    for fail_at in (14, 9):
        said = []
        options = Options(resume=fail_at == 9, on_stop=said.append)
        session = averaging(fail_at=fail_at, error=KeyboardInterrupt())
        session.looks_back = False
        with pytest.raises(KeyboardInterrupt):
            convert_film(session, TASK, source, output, times=2, options=options)
        assert said and "holds what was made of the first" in said[0]
        assert pictures(output), "what was made plays"
    session = averaging()
    session.looks_back = False
    convert_film(session, TASK, source, output, times=2, options=Options(resume=True))
    assert session.runs < 25, "what was done is not done again"
    made, whole = pictures(output), pictures(tmp_path / f"whole.{kind}")
    assert len(made) == len(whole) == 80
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(made, whole, strict=True)) < 4
    with av.open(str(output)) as one, av.open(str(tmp_path / f"whole.{kind}")) as other:
        assert [p.pts for p in one.demux(video=0) if p.pts is not None].sort() == [
            p.pts for p in other.demux(video=0) if p.pts is not None
        ].sort()
    assert sorted(os.listdir(tmp_path)) == sorted(["clips", output.name, f"whole.{kind}"])


def test_a_model_that_looks_back_is_led_to_where_it_was(tmp_path, clip, moving, averaging, monkeypatch):
    monkeypatch.setattr("edgeflow.runtime.video.writing.film_writer.FRAMES", 12)
    source = clip("in.mp4", moving(30))
    with pytest.raises(RuntimeError):
        interpolate_video(averaging(fail_at=20), source, tmp_path / "out.mp4")
    session = averaging()
    convert_film(session, TASK, source, tmp_path / "out.mp4", times=2, options=Options(resume=True))
    assert session.runs == 29 and len(pictures(tmp_path / "out.mp4")) == 60


def test_only_the_same_film_is_gone_on_with(tmp_path, clip, moving, averaging):
    source = clip("in.mp4", moving(30))
    with pytest.raises(VideoError, match="nothing was begun; leave --resume out"):
        convert_film(averaging(), TASK, source, tmp_path / "out.mp4", times=2, options=Options(resume=True))
    with pytest.raises(RuntimeError):
        interpolate_video(averaging(fail_at=20), source, tmp_path / "out.mp4")
    with pytest.raises(VideoError, match=r"out\.mp4 exists"):
        interpolate_video(averaging(), source, tmp_path / "out.mp4")
    (tmp_path / "out.mp4").unlink()
    with pytest.raises(VideoError, match="go on with --resume, or begin anew with --overwrite"):
        interpolate_video(averaging(), source, tmp_path / "out.mp4")
    with pytest.raises(VideoError, match=r"of another run, with other --times or --fps: "):
        convert_film(averaging(), TASK, source, tmp_path / "out.mp4", times=4, options=Options(resume=True))
    interpolate_video(averaging(), source, tmp_path / "out.mp4", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["clips", "out.mp4"]


def test_a_folder_of_that_name_is_left_alone(tmp_path, clip, moving, averaging):
    mine = tmp_path / "out.mp4.parts"
    mine.mkdir()
    (mine / "state.json").write_text(json.dumps({"mine": 1}))
    with pytest.raises(VideoError, match="is in the way, and is not edgeflow's"):
        interpolate_video(averaging(), clip("in.mp4", moving(4)), tmp_path / "out.mp4", overwrite=True)
    assert (mine / "state.json").read_text() == '{"mine": 1}'


def test_a_film_that_came_in_the_meantime_is_not_overwritten(tmp_path, clip, moving, averaging):
    output = tmp_path / "out.mp4"

    class Late(averaging):
        def run(self, *frames):
            output.write_text("somebody's")
            return super().run(*frames)

    with pytest.raises(VideoError, match="exists"):
        interpolate_video(Late(), clip("in.mp4", moving(4)), output)
    assert output.read_text() == "somebody's"
    output.unlink()
    convert_film(
        averaging(), TASK, tmp_path / "clips" / "in.mp4", output, times=2, options=Options(resume=True)
    )
    assert len(pictures(output)) == 8


def test_what_a_film_carries_is_carried_over(tmp_path, averaging):
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,600\nHello\n")
    source = tmp_path / "in.mkv"
    with av.open(str(tmp_path / "words.srt")) as words, av.open(str(source), "w") as out:
        video, sound = (
            out.add_stream("libx264", rate=24),
            out.add_stream("pcm_s16le", rate=8000, layout="stereo"),
        )
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.color_primaries, video.codec_context.colorspace = 9, 9
        sound.metadata["language"] = "fra"
        lines = out.add_stream_from_template(words.streams[0])
        out.metadata.update(title="A film", location="+48+002/")
        out.add_attachment("font.ttf", "font/ttf", b"abc")
        out.set_chapters([{"id": 1, "start": 0, "end": 500, "time_base": MS, "metadata": {"title": "one"}}])
        for packet in words.demux():
            if packet.dts is not None:
                packet.stream = lines
                out.mux(packet)
        for number in range(24):
            out.mux(
                video.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 9 * number, np.uint8), "rgb24"))
            )
        out.mux(video.encode(None))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 8000), np.int16), "s16", "stereo")
        tone.sample_rate, tone.pts, tone.time_base = 8000, 0, Fraction(1, 8000)
        out.mux([*sound.encode(tone), *sound.encode(None)])

    def carried(path):
        with av.open(str(path)) as container:
            kinds = [stream.type for stream in container.streams]
            title = {key.lower(): value for key, value in container.metadata.items()}
            language = next(
                (s.metadata.get("language") for s in container.streams if s.type == "audio"), None
            )
            context = container.streams.video[0].codec_context
            tags = context.color_primaries, context.colorspace
            return kinds, title.get("title"), title.get("location"), language, len(container.chapters()), tags

    assert not interpolate_video(averaging(), source, tmp_path / "out.mkv").warnings
    assert carried(tmp_path / "out.mkv") == carried(source)
    said = " ".join(interpolate_video(averaging(), source, tmp_path / "out.webm").warnings)
    assert "cannot hold pcm_s16le sound, which was left out; .mkv" in said and "attachments" in said
    assert carried(tmp_path / "out.webm")[1] == "A film"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25)])
def test_a_timecode_stays(tmp_path, averaging, suffix, rate):
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.metadata["timecode"] = "01:02:03:04"
        for number in range(4):
            picture = np.full((64, 96, 3), 9 * number, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(video.encode(None))
    with av.open(str(source)) as container:
        assert container.streams[1].type == "data"  # as cameras write it
    interpolate_video(averaging(), source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["timecode"] == "01:02:03:04"
        assert sum(1 for _ in container.decode(video=0)) == 8


@pytest.mark.parametrize(
    ("turn", "wanted"),
    [
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p)),
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    ],
    ids=["right", "left", "over", "mirrored"],
)
def test_pictures_are_turned_as_the_header_asks(clip, moving, tmp_path, averaging, turn, wanted):
    path = clip("in.mp4", moving(4))
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    a, b, c, d = (65536 * own for own in turn)
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    with VideoReader(path) as reader:
        stored = next(iter(reader)).astype(int)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        shown = next(iter(reader))
        assert (reader.info.height, reader.info.width) == shown.shape[:2]
    assert np.abs(shown - wanted(stored)).max() <= 1
    interpolate_video(averaging(), path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as made:
        picture = next(made.decode(video=0))
        assert (picture.height, picture.width) == shown.shape[:2] and picture.rotation == 0


def test_an_orientation_is_its_own_words():
    assert str(Orientation(True, True, False)) == "turned" and Orientation().stands
    assert Orientation(True).size(3, 5) == (5, 3)


@pytest.mark.parametrize(("bits", "wanted"), [(None, "yuv420p10le"), (8, "yuv420p")])
def test_ten_bits_stay_ten(tmp_path, averaging, bits, wanted):
    """A ramp that 8 bits cannot hold comes through the source's own pictures."""
    source = tmp_path / "in.mkv"
    ramp = np.repeat(np.linspace(20000, 22000, 96).astype(np.uint16)[None, :, None], 64, 0).repeat(3, 2)
    with av.open(str(source), "w") as out:
        video = out.add_stream("ffv1", rate=24)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p10le"
        for _ in range(4):
            out.mux(video.encode(av.VideoFrame.from_ndarray(ramp, "rgb48le").reformat(format="yuv420p10le")))
        out.mux(video.encode(None))
    options = Options(Encoding(bits=bits, codec="ffv1" if bits is None else None))
    convert_film(averaging(), TASK, source, tmp_path / "out.mkv", times=2, options=options)
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert made.streams.video[0].codec_context.pix_fmt == wanted
        luma = next(made.decode(video=0)).to_ndarray()[:64]
    assert (len(np.unique(luma[20])) > 20) == (bits is None)


def write_hdr(path, transfer, told):
    """A film of four grey pictures at 10 bits in BT.2020, with parameters for x265."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx265", rate=24, options={"x265-params": f"log-level=error:{told}"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p10le"
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, transfer
        for number in range(4):
            picture = np.full((64, 96, 3), 20_000 + 3000 * number, np.uint16)
            out.mux(
                video.encode(
                    av.VideoFrame.from_ndarray(picture, "rgb48le").reformat(
                        format="yuv420p10le", dst_colorspace=9
                    )
                )
            )
        out.mux(video.encode(None))


def test_hlg_films_stay_hlg(tmp_path, averaging):
    """HLG at 10 bits, whose stream says that nothing is known of its light: nothing is carried over, and nothing is said to be lost."""
    source = tmp_path / "in.mp4"
    write_hdr(source, 18, "repeat-headers=1:max-cll=0,0")
    report = convert_film(averaging(), TASK, source, tmp_path / "out.mp4", times=2)
    lost = convert_film(
        averaging(), TASK, source, tmp_path / "out.mkv", times=2, options=Options(Encoding(codec="ffv1"))
    )
    for name in ("out.mp4", "out.mkv"):
        with av.open(str(tmp_path / name)) as made:
            context = made.streams.video[0].codec_context
            assert (context.colorspace, context.color_primaries, context.color_trc) == (9, 9, 18)
            assert context.pix_fmt == "yuv420p10le"
            assert mastering_of(next(made.decode(video=0))) is None
    assert not any("mastered" in line for line in (*report.warnings, *lost.warnings))


@pytest.mark.parametrize(("codec", "name"), [(None, "out.mp4"), ("ffv1", "out.mkv")])
def test_what_hdr_films_say_of_themselves_is_carried_over(tmp_path, averaging, codec, name):
    """PQ at 10 bits, with the display that it was mastered on and its light; another encoder than x265 says what it leaves out."""
    source, made_of = (
        tmp_path / "in.mkv",
        (35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 10_000_000, 1),
    )
    told = (
        "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    )
    write_hdr(source, 16, told)
    report = convert_film(
        averaging(), TASK, source, tmp_path / name, times=2, options=Options(Encoding(codec=codec))
    )
    with av.open(str(tmp_path / name)) as made:
        context = made.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (9, 9, 16)
        assert context.pix_fmt == "yuv420p10le"
        found = mastering_of(next(made.decode(video=0)))
    said = [line for line in report.warnings if "the display it was mastered on is left out" in line]
    assert (found == Mastering(made_of, (1000, 400)), len(said)) == (
        (True, 0) if codec is None else (False, 1)
    )


@pytest.mark.parametrize("kind", ["png", "gif", "webp"])
@pytest.mark.parametrize("clear", [False, True])
def test_transparency_is_said_where_there_is_some(tmp_path, kind, clear):
    pictures = [Image.new("RGBA", (48, 32), (200, 30, 40 + number, 255)) for number in range(3)]
    for picture in pictures if clear else ():
        picture.paste((0, 0, 0, 0), (0, 0, 24, 32))
    path = tmp_path / f"in.{kind}"
    more = {} if kind == "png" else {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(path, **more)
    with VideoReader(path) as reader:
        assert any("its transparency is left out" in line for line in reader.remarks) == clear


def test_an_interlaced_film_is_refused_or_made_whole(tmp_path, averaging, moving):
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"x264-params": "tff=1:interlaced=1"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for frame in [*moving(8), None]:
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24") if frame is not None else None))
    with pytest.raises(VideoError, match=r"is interlaced: .* add --deinterlace, .* bwdif"):
        interpolate_video(averaging(), source, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["in.mp4"]
    convert_film(averaging(), TASK, source, tmp_path / "out.mp4", times=2, options=Options(deinterlace=True))
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert [f.interlaced_frame for f in made.decode(video=0)] == [0] * 16


def test_the_default_of_several_video_streams_is_read_and_named(tmp_path):
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        streams = []
        for w, h in ((32, 32), (160, 96)):
            streams.append(out.add_stream("mpeg4", rate=24))
            streams[-1].width, streams[-1].height, streams[-1].pix_fmt = w, h, "yuv420p"
        for stream in streams:
            picture = av.VideoFrame.from_ndarray(
                np.zeros((stream.height, stream.width, 3), np.uint8), "rgb24"
            )
            out.mux([*stream.encode(picture), *stream.encode(None)])
    with VideoReader(source) as reader:
        assert (reader.info.width, reader.info.height) == (160, 96)
        assert "holds 2 video streams; number 1, 160x96, is read" in reader.remarks[0]


def test_a_part_of_a_film(tmp_path, averaging, clip, moving):
    source = clip("in.mp4", moving(50), audio="aac")
    options = Options(start=0.8, frames=10)
    report = convert_film(averaging(), TASK, source, tmp_path / "out.mp4", times=2, options=options)
    assert report.frames_read == 10 and report.frames_written == 20
    with VideoReader(source) as reader:
        wanted = list(reader)[20]
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert np.abs(next(iter(reader)).astype(int) - wanted).mean() < 3
        assert abs(reader.info.seconds - 0.4) < 0.1
    with pytest.raises(VideoError, match=r"ends at 2\.\d+ s, before --start 99; choose an earlier one"):
        convert_film(
            averaging(), TASK, source, tmp_path / "b.mp4", times=2, options=replace(options, start=99.0)
        )


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out.webp", "out.y4m", "out.avi", "out.mov"])
def test_every_kind_of_film_is_written(tmp_path, averaging, clip, moving, name):
    report = interpolate_video(averaging(), clip("in.mp4", moving(6)), tmp_path / name)
    assert report.frames_written == 12
    with VideoReader(tmp_path / name) as reader:
        assert len(list(reader)) >= 11  # WebP shows the last picture, which is repeated, once and longer
    assert sorted(os.listdir(tmp_path)) == ["clips", name]


def test_an_encoder_that_cannot_be_had_is_told_before_the_first_frame(tmp_path, averaging, clip, moving):
    session, source = averaging(), clip("in.mp4", moving(4))
    for encoding, name, said in (
        (Encoding(codec="nothing"), "out.mp4", "no encoder of that name"),
        (Encoding(codec="aac"), "out.mp4", "encodes no pictures"),
        (Encoding(codec="libvpx-vp9"), "out.avi", ""),
        (Encoding(codec="libx264"), "out.webm", "webm cannot hold libx264"),
    ):
        try:
            convert_film(session, TASK, source, tmp_path / name, times=2, options=Options(encoding))
        except InputError as error:
            assert said in str(error) and session.runs == 0
        else:
            assert not said
            session.runs = 0


def test_rates_follow_the_source(tmp_path, averaging, clip, moving):
    noise = [np.random.default_rng(n).integers(0, 255, (64, 96, 3), np.uint8) for n in range(50)]
    source = clip("in.mp4", noise, options={"b": "60k", "maxrate": "60k", "bufsize": "60k"})
    interpolate_video(averaging(), source, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").stat().st_size < 4 * source.stat().st_size


def test_a_film_is_read_strictly_or_not(clip, moving):
    with VideoReader(clip("in.mp4", moving(3)), reading=Reading(frames=2)) as reader:
        assert len(list(reader)) == 2 and not reader.truncated


@pytest.mark.parametrize("kind", ["mkv", "mp4", "webm"])
def test_a_film_made_twice_is_the_same(tmp_path, averaging, clip, moving, kind):
    source = clip("in.mp4", moving(12), audio="aac")
    for name in ("a", "b"):
        interpolate_video(averaging(), source, tmp_path / f"{name}.{kind}")
    one, other = (list(av.open(tmp_path / f"{name}.{kind}").decode(video=0)) for name in ("a", "b"))
    assert [frame.pts for frame in one] == [frame.pts for frame in other] and len(one) == 24
    for a, b in zip(
        one, other, strict=True
    ):  # x264 itself does not always make the same bytes of the same pictures
        assert np.abs(a.to_ndarray(format="gray").astype(int) - b.to_ndarray(format="gray")).mean() < 1


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_film_is_read_from_an_address(tmp_path, averaging, clip, moving):
    """It can be read once, so it is written straight, with its sound."""
    clip("in.mp4", moving(12), audio="aac", container_options={"movflags": "faststart"})
    handler = partial(Quiet, directory=str(tmp_path / "clips"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        report = interpolate_video(averaging(), f"{address}/in.mp4", tmp_path / "out.mp4")
        with pytest.raises(VideoError, match=r"http://.* cannot be opened"):
            VideoReader(f"{address}/missing.mp4")
        server.shutdown()
    assert report.frames_written == 24
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert [stream.type for stream in made.streams] == ["video", "audio"]


def test_an_animation_is_a_film(tmp_path, averaging, moving):
    pictures = [Image.fromarray(frame) for frame in moving(5)]
    for name in ("in.gif", "in.webp"):
        pictures[0].save(
            tmp_path / name, save_all=True, append_images=pictures[1:], duration=[40, 40, 400, 40, 40]
        )
        with VideoReader(tmp_path / name) as reader:
            times = [float(shot.time) for shot in reader.shots()]
        assert times == pytest.approx([0, 0.04, 0.08, 0.48, 0.52], abs=0.011)
        assert interpolate_video(averaging(), tmp_path / name, tmp_path / f"{name}.mp4").frames_written == 10
