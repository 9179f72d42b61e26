import av
import numpy as np
import pytest

from edgeflow.runtime.video.overlay import enlarged
from edgeflow.runtime.video.translate import translate_video


class Inverting:
    """A key frame first and after a reset; turns a frame into its negative."""

    in_flight = 1

    def __init__(self, patch, result, trace):
        self.patch, self.result, self.trace = patch, result, trace
        self.modes, self.fresh = [], True

    def run(self, frame):
        mode = "key" if self.fresh else "shortcut"
        self.fresh = False
        self.modes.append(mode)
        height, width = frame.shape[:2]
        patch = self.patch(0, 0, height, width, {"mode": mode})
        return self.result((255 - frame,), self.trace((patch,)))

    def reset(self):
        self.fresh = True


@pytest.fixture
def inverting():
    from types import SimpleNamespace

    def result(outputs, trace):
        return SimpleNamespace(outputs=outputs, trace=trace)

    def patch(top, left, bottom, right, route):
        return SimpleNamespace(
            top=top,
            left=left,
            bottom=bottom,
            right=right,
            route=route,
            flops=2 if route.get("mode") == "key" else 1,
        )

    return Inverting(patch, result, lambda regions: SimpleNamespace(regions=regions))


def difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


def test_every_frame_comes_out_once_and_the_sound_stays(clip, out, decode, inverting):
    path = clip("a.mp4", [np.full((64, 96, 3), 30 + 9 * t, np.uint8) for t in range(7)], audio="aac")
    report = translate_video(inverting, path, out / "b.mp4")
    got, source = decode(out / "b.mp4"), decode(path)
    assert (report.frames_read, report.frames_written, report.fps, report.cuts) == (7, 7, 25, 0)
    assert report.routes == {"mode=key": 1, "mode=shortcut": 6}
    assert all(difference(255 - a, b) < 3 for a, b in zip(source, got, strict=True))
    with av.open(str(out / "b.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_a_cut_takes_a_key_frame_at_once(clip, out, moving, inverting):
    path = clip("a.mp4", moving(4, seed=1) + moving(3, seed=2))
    report = translate_video(inverting, path, out / "b.mp4")
    assert report.cuts == 1
    assert inverting.modes == ["key", *["shortcut"] * 3, "key", *["shortcut"] * 2]


def test_frames_are_resized_and_shown_in_their_old_shape(clip, out, moving, decode, inverting):
    path = clip("a.mp4", moving(3, 96, 64))
    translate_video(inverting, path, out / "b.mp4", resize=lambda height, width: (height // 2, width // 4))
    assert [frame.shape for frame in decode(out / "b.mp4")] == [(32, 24, 3)] * 3
    with av.open(str(out / "b.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2


def test_the_overlay_marks_key_frames_and_shortcuts(clip, out, decode, inverting):
    grey = [np.full((128, 192, 3), 128, np.uint8)] * 3
    translate_video(inverting, clip("a.mp4", grey), out / "b.mp4", overlay=True)
    key, shortcut, _ = (frame.astype(int) for frame in decode(out / "b.mp4"))
    middle = (slice(40, 60), slice(60, 90))
    assert np.abs(key[middle] - 127).max() < 6  # the picture itself is left alone
    border = (slice(30, 90), 1)
    assert (shortcut[border][:, 2] > shortcut[border][:, 0] + 20).all()  # cheap: blue
    assert not (key[border][:, 2] > key[border][:, 0] + 20).any()


class Doubling(Inverting):
    """Makes pictures of twice the size."""

    def run(self, frame):
        result = super().run(frame)
        return self.result((result.outputs[0].repeat(2, 0).repeat(2, 1),), result.trace)


def test_pictures_may_be_larger_than_frames(clip, out, decode, inverting):
    path = clip("a.mp4", [np.full((64, 96, 3), 128, np.uint8)] * 2)
    doubling = Doubling(inverting.patch, inverting.result, inverting.trace)
    translate_video(doubling, path, out / "b.mp4", picture=(128, 192), overlay=True)
    assert [frame.shape for frame in decode(out / "b.mp4")] == [(128, 192, 3)] * 2


def test_routes_are_drawn_where_they_lie_in_a_larger_picture(inverting):
    frame = np.zeros((64, 96, 3), np.uint8)
    regions = [
        inverting.patch(0, 0, 32, 96, {"deep": True}),
        inverting.patch(32, 48, 64, 96, {"deep": False}),
    ]
    assert enlarged(regions, frame, frame) is regions
    found = enlarged(regions, frame, np.zeros((128, 192, 3), np.uint8))
    assert [(p.top, p.left, p.bottom, p.right) for p in found] == [(0, 0, 64, 192), (64, 96, 128, 192)]
    assert [p.route for p in found] == [{"deep": True}, {"deep": False}]
