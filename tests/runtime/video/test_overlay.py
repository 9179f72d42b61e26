from dataclasses import dataclass, field

import numpy as np

from edgeflow.runtime.video.overlay import draw_routes, route_name


@dataclass(frozen=True)
class Patch:
    top: int
    left: int
    bottom: int
    right: int
    route: dict = field(default_factory=lambda: {"scale": 1, "exit": 3})

    @property
    def flops(self):
        return self.route["exit"] * 100 // self.route.get("scale", 1) ** 2


CHEAP, MEDIUM, FULL = {"scale": 4, "exit": 1}, {"scale": 2, "exit": 2}, {"scale": 1, "exit": 3}
GREY = np.full((272, 640, 3), 128, np.uint8)


def tint(frame, patch):
    """The picture's change in the middle of a patch, clear of border, label and legend."""
    row, column = (patch.top + patch.bottom) // 2, (patch.left + patch.right) // 2
    return frame[row, column].astype(int) - 128


def test_name():
    route = {"scale": 2, "exit": 3, "skip": True, "keep": 0.5}
    assert route_name(route) == "scale=2 exit=3 skip=True keep=0.5"


def test_keeps_shape_and_type_and_leaves_the_frame_alone():
    frame = GREY.copy()
    drawn = draw_routes(frame, [Patch(0, 0, 128, 128)])
    assert drawn.shape == frame.shape and drawn.dtype == np.uint8
    assert np.array_equal(frame, GREY)
    assert not np.array_equal(drawn, GREY)


def test_no_region_no_change():
    assert np.array_equal(draw_routes(GREY, []), GREY)


def test_cheap_is_cool_and_full_is_warm():
    patches = [Patch(0, 0, 128, 128, CHEAP), Patch(0, 128, 128, 256, FULL), Patch(128, 0, 256, 128, MEDIUM)]
    drawn = draw_routes(GREY, patches)
    cheap, full, medium = (tint(drawn, patch) for patch in patches)
    assert cheap[2] > cheap[0] and full[0] > full[2]
    assert cheap[0] < medium[0] <= full[0] + 20 and medium[1] > full[1]


def test_changes_only_patch_and_legend():
    drawn = draw_routes(GREY, [Patch(10, 20, 138, 148)])
    changed = (drawn != GREY).any(axis=2)
    assert changed[10:138, 20:148].all()
    changed[10:138, 20:148] = False
    rows, columns = np.nonzero(changed)
    assert rows.min() > 200 and columns.min() > 400, "the legend sits in the lower right corner"


def test_picture_stays_recognisable():
    frame = np.random.default_rng(0).integers(0, 256, (272, 640, 3), np.uint8)
    drawn = draw_routes(frame, [Patch(0, 0, 272, 320, CHEAP), Patch(0, 320, 272, 640, FULL)])
    inside = np.s_[40:200, 20:620]
    correlation = np.corrcoef(frame[inside].ravel(), drawn[inside].ravel())[0, 1]
    assert correlation > 0.9


def test_known_routes_keep_their_colour():
    patches = [Patch(0, 0, 128, 128, CHEAP), Patch(0, 128, 128, 256, MEDIUM), Patch(0, 256, 128, 384, FULL)]
    together = draw_routes(GREY, patches)
    alone = draw_routes(GREY, patches[1:2], known={"scale=1 exit=3": 300, "scale=4 exit=1": 6})
    assert np.array_equal(tint(alone, patches[1]), tint(together, patches[1]))
    assert not np.array_equal(tint(draw_routes(GREY, patches[1:2]), patches[1]), tint(together, patches[1]))


def test_is_deterministic():
    patches = [Patch(0, 0, 128, 128, CHEAP), Patch(0, 128, 128, 256, FULL)]
    assert np.array_equal(draw_routes(GREY, patches), draw_routes(GREY, patches))


def test_patches_over_the_edge_are_cut_off():
    whole, over = Patch(0, 0, 60, 60), Patch(-8, -8, 60, 60)
    assert np.array_equal(tint(draw_routes(GREY, [over]), whole), tint(draw_routes(GREY, [whole]), whole))
    outside = draw_routes(GREY, [Patch(300, 700, 400, 800)])
    assert np.array_equal(outside[:200, :400], GREY[:200, :400])


def test_label_names_the_route():
    one, other = (draw_routes(GREY, [Patch(0, 0, 128, 128, {"exit": exit})])[2:16, 2:30] for exit in (1, 2))
    tiny = draw_routes(GREY, [Patch(0, 0, 14, 14, {"exit": 1})])[1:13, 1:13]
    assert (one > 220).all(axis=2).any() and not np.array_equal(one, other)
    assert not (tiny > 220).all(axis=2).any(), "no label where it would hide the patch"
