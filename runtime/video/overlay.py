"""Draws on a frame which part of it took which route through the network.

Each patch is tinted from cool (cheap) to warm (the full network), framed, and labelled in its corner;
a legend lists the routes. The colours run from blue over yellow to red with lightness falling away
on both sides of yellow, which readers with any common colour blindness can tell apart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgeflow.runtime.video.colour import Frame

Route: TypeAlias = Mapping[str, int | float | str | bool]
_Rgb: TypeAlias = tuple[int, int, int]

# ColorBrewer's RdYlBu turned around, its ends a little stronger so that the tint shows.
_PALETTE = ((33, 102, 192), (110, 190, 230), (250, 225, 90), (245, 140, 50), (200, 20, 30))
_TINT_ALPHA = 66
_BORDER_ALPHA = 190
_PLATE = (0, 0, 0, 150)
_GAP = "  "  # the small font's single space all but vanishes
_INK = (255, 255, 255, 255)


class Region(Protocol):
    """A patch of the frame and the route the network took for it."""

    @property
    def top(self) -> int:
        """First row."""

    @property
    def left(self) -> int:
        """First column."""

    @property
    def bottom(self) -> int:
        """Row after the last."""

    @property
    def right(self) -> int:
        """Column after the last."""

    @property
    def route(self) -> Route:
        """Each decision's name and outcome, e.g. {"scale": 2, "exit": 3}."""

    @property
    def flops(self) -> int:
        """Work of the engines on it."""


@dataclass(frozen=True)
class Patch:
    """A region of a picture."""

    top: int
    left: int
    bottom: int
    right: int
    route: Route
    flops: int


def enlarged(regions: Sequence[Region], frame: Frame, picture: Frame) -> Sequence[Region]:
    """A frame's regions where they lie in a picture of another size that was made of it."""
    if frame.shape == picture.shape:
        return regions
    down, across = (made / given for made, given in zip(picture.shape[:2], frame.shape[:2], strict=True))
    return [
        Patch(
            round(r.top * down),
            round(r.left * across),
            round(r.bottom * down),
            round(r.right * across),
            r.route,
            r.flops,
        )
        for r in regions
    ]


def route_name(route: Route) -> str:
    """A route in words, e.g. "scale=2 exit=3"."""
    return " ".join(f"{name}={_outcome(value)}" for name, value in route.items())


def draw_routes(frame: Frame, regions: Sequence[Region], known: Mapping[str, int] | None = None) -> Frame:
    """Tint, frame and label the patches of a frame by their routes.

    Args:
        frame: A uint8 RGB frame, (H, W, 3); it is left as it is.
        regions: Its patches; parts outside the frame are cut off.
        known: Routes of earlier frames in words, and their work. They share the colour scale and the legend, so that a
            film's colours keep their meaning when a frame does not use every route.

    Returns:
        A new frame.
    """
    colours = _colours({**(known or {}), **{route_name(region.route): region.flops for region in regions}})
    height, width = frame.shape[:2]
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    size = max(11, round(min(height, width) / 42))
    for region in regions:
        _draw_region(draw, region, colours[route_name(region.route)], _font(size), (width, height))
    if colours:
        _draw_legend(draw, colours, _font(size), (width, height))
    picture = Image.fromarray(frame)
    picture.paste(layer, mask=layer)
    return np.array(picture)


def _outcome(value: int | float | str | bool) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _label(route: Route) -> str:
    words = (v if isinstance(v, str) else f"{name[:1]}{_outcome(v)}" for name, v in route.items())
    return _GAP.join(words)


def _colours(works: Mapping[str, int]) -> dict[str, _Rgb]:
    """A colour for each route, by its work: the cheapest first."""
    names = sorted(works, key=lambda name: (works[name], name))
    last = max(1, len(names) - 1)
    behind = len(names) - 1
    return {name: _shade(1 - (behind - index) / last) for index, name in enumerate(names)}


def _shade(share: float) -> _Rgb:
    position = share * (len(_PALETTE) - 1)
    low = min(int(position), len(_PALETTE) - 2)
    red, green, blue = (
        round(a + (b - a) * (position - low)) for a, b in zip(_PALETTE[low], _PALETTE[low + 1], strict=True)
    )
    return red, green, blue


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _draw_region(
    draw: ImageDraw.ImageDraw,
    region: Region,
    colour: _Rgb,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    limits: tuple[int, int],
) -> None:
    left, top = max(0, region.left), max(0, region.top)
    right, bottom = min(limits[0], region.right) - 1, min(limits[1], region.bottom) - 1
    if right < left or bottom < top:
        return
    whole = (left, top, right + 1, bottom + 1) == (0, 0, *limits)
    if whole:  # a tint would tell nothing that the frame around it does not
        draw.rectangle(
            (left, top, right, bottom), None, (*colour, _BORDER_ALPHA), width=max(3, limits[1] // 60)
        )
    else:
        draw.rectangle((left, top, right, bottom), (*colour, _TINT_ALPHA), (*colour, _BORDER_ALPHA))
    label = _label(region.route)
    width, height = _extent(font, label)
    if left + width + 6 <= right and top + height + 6 <= bottom:  # else the label would hide the patch
        draw.rectangle((left + 1, top + 1, left + width + 6, top + height + 5), _PLATE)
        draw.text((left + 4, top + 3), label, _INK, font, anchor="lt")


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    colours: Mapping[str, _Rgb],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    limits: tuple[int, int],
) -> None:
    """A box in the lower right corner, the most expensive route on top."""
    line = math.ceil(_extent(font, "Ag")[1] * 1.5)
    lines = [(name.replace(" ", _GAP), colour) for name, colour in reversed(list(colours.items()))]
    width = max(_extent(font, text)[0] for text, _ in lines) + line + 10
    left, top = limits[0] - width - 6, limits[1] - line * len(colours) - 12
    draw.rectangle((left, top, limits[0] - 6, limits[1] - 6), (0, 0, 0, 190))
    for row, (text, colour) in enumerate(lines):
        middle = top + 4 + line * row + line // 2
        swatch = line // 3
        draw.rectangle((left + 5, middle - swatch, left + 5 + 2 * swatch, middle + swatch), (*colour, 255))
        draw.text((left + line + 5, middle), text, _INK, font, anchor="lm")


def _extent(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> tuple[int, int]:
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    return math.ceil(right - left), math.ceil(bottom - top)
