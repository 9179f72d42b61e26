"""The worst picture of a clip: the static network's, the routed one with its routes, and how they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edgeflow.wrap.judge import Worst

TIMES = 8
"""How much larger differences are drawn than they are."""
COLOURS = {"copy": (33, 102, 192), "half": (250, 225, 90), "full": (200, 20, 30), "whole": (200, 20, 30)}
"""Frames around patches, by way: cool is cheap."""
MOST = 960
"""Pixels across that each of the three is drawn with at most."""


def draw(worst: Worst) -> Image.Image:
    """Three pictures beside each other, each under a line that says what it is."""
    routed, static = (_visible(made) for made in (worst.routed, worst.static))
    apart = np.abs(routed.astype(np.int16) - static).clip(0, 255 // TIMES) * TIMES
    shown = [Image.fromarray(each) for each in (static, routed, apart.astype(np.uint8))]
    _frame_patches(shown[1], worst)
    factor = min(MOST / shown[0].width, 1.0)
    shown = [each.resize((round(each.width * factor), round(each.height * factor))) for each in shown]
    width, height = shown[0].size
    sheet = Image.new("RGB", (3 * width, height + 20), (24, 24, 24))
    titles = (
        f"static network, call {worst.call}",
        f"routed, {worst.psnr:.1f} dB from it; blue: copied, yellow: half, red: computed",
        f"difference, {TIMES} times",
    )
    pen = ImageDraw.Draw(sheet)
    for number, (picture, title) in enumerate(zip(shown, titles, strict=True)):
        sheet.paste(picture, (number * width, 20))
        pen.text((number * width + 4, 4), title, fill=(255, 255, 255))
    return sheet


def _visible(made: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (h, w, 3); of scores (c, h, w) the number of the largest one, in grey."""
    if made.dtype == np.uint8:
        return made
    if len(made) == 1:
        plane = (made[0] - made.min()) / max(float(np.ptp(made)), 1e-9) * 255
    else:
        plane = made.argmax(0) * (255 / (len(made) - 1))
    return np.repeat(plane.astype(np.uint8)[..., None], 3, 2)


def _frame_patches(picture: Image.Image, worst: Worst) -> None:
    """Draw a frame around every patch, in the colour of its way."""
    regions = worst.trace.regions
    scale = picture.height / max(region.bottom for region in regions)
    pen = ImageDraw.Draw(picture)
    for region in regions:
        colour = COLOURS[str(region.route.get("way", "whole"))]
        corners = [
            round(scale * side) for side in (region.left, region.top, region.right - 1, region.bottom - 1)
        ]
        pen.rectangle(corners, outline=colour, width=2)
