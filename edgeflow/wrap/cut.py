"""A film cut as a wrapped network cuts its frames: into tiles, or not at all."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgeflow.flow.tensors import cut_tile, to_tensor
from edgeflow.ir.tiles import TileGrid
from edgeflow.wrap.film import Film, Picture, blocks
from edgeflow.wrap.form import Form
from edgeflow.wrap.model import Tiling

Place = tuple[slice, slice, slice]


class Cut:
    """A film's tiles, and where their patches lie in its pictures.

    Args:
        film: the clip.
        form: what the network takes and makes.
        tiling: how frames are cut.

    Attributes:
        grid: of the tiles; None if frames are not cut.
        places: of the patches, in a picture (c, h, w).
    """

    def __init__(self, film: Film, form: Form, tiling: Tiling) -> None:
        self.film, self._scale = film, max(form.scale, 1)
        self.grid = TileGrid(*film.size, tiling.size, tiling.halo, form.unit) if tiling.size else None
        self.places: list[Place] = [(slice(None), slice(None), slice(None))]
        if self.grid:
            self.places = [
                (
                    slice(None),
                    slice(form.scale * region.top, form.scale * region.bottom),
                    slice(form.scale * region.left, form.scale * region.right),
                )
                for region in self.grid.regions
            ]

    def __len__(self) -> int:
        return len(self.places)

    def tiles(self, call: int) -> list[Tensor]:
        """The tiles of every frame of a call, (tiles, 3, size, size) each."""
        frames = [to_tensor(frame) for frame in self.film.calls[call]]
        if self.grid is None:
            return frames
        return [torch.cat([cut_tile(each, self.grid, i) for i in range(len(self))]) for each in frames]

    def changed(self, call: int, before: int) -> list[float]:
        """How much the frames changed in every patch, without what tiles see beyond it, where they did most; as `worst`."""
        found = []
        for region in self.grid.regions if self.grid else (None,):
            place = (
                slice(None)
                if region is None
                else np.s_[region.top : region.bottom, region.left : region.right]
            )
            pairs = zip(self.film.calls[call], self.film.calls[before], strict=True)
            squares = [np.square(now[place].astype(np.float32) - last[place]).mean(-1) for now, last in pairs]
            found.append(max(float(blocks(each, 1).max()) for each in squares))
        return found

    def worst(self, made: Picture, wanted: Picture) -> list[float]:
        """The squared error of every patch, in squared levels, of the square of 8x8 pixels where it is largest."""
        squares = [self.film.squared(made[place], wanted[place]) for place in self.places]
        return [float(blocks(each, self._scale).max()) for each in squares]
