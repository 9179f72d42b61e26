"""Bicubic resizing by any factor, one side after the other."""

from __future__ import annotations

import torch

A = -0.75
"""Keys' parameter, as in torch's and ONNX's bicubic resize."""


def bicubic(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What `F.interpolate(image, (height, width), mode="bicubic", align_corners=False)` computes.

    Four rows, then four columns, are gathered and weighed per output row and column, so no engine
    library needs its own bicubic kernel: ONNX Runtime's was the router's largest cost. The axes turn
    twice, so that columns are rows, too, and what is copied is long. The input's size may be symbolic.

    Args:
        image: (n, c, h, w) float.
        height: of the output, in pixels.
        width: of the output, in pixels.

    Returns:
        (n, c, height, width).

    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing (1981).
    """
    for side in (height, width):
        image = _resize_rows(image.permute(0, 2, 3, 1), side)
    return image.permute(0, 2, 3, 1)


def _resize_rows(image: torch.Tensor, wanted: int) -> torch.Tensor:
    """(n, rows, a, b) -> (n, wanted, a, b)."""
    n, rows, a, b = image.shape
    places, shares = _taps(rows, wanted, image)
    gathered = image.index_select(1, places).reshape(n, wanted, 4, a * b)
    return (shares.unsqueeze(1) @ gathered).reshape(n, wanted, a, b)


def _taps(length: int, wanted: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Source positions (wanted * 4) and weights (wanted, 4) of every output position."""
    places = (torch.arange(wanted, dtype=like.dtype, device=like.device) + 0.5) * (length / wanted) - 0.5
    first = places.floor()
    distance = (places - first).unsqueeze(1) + torch.tensor([1.0, 0.0, -1.0, -2.0]).to(like)
    x = distance.abs()
    near = ((A + 2) * x - (A + 3)) * x * x + 1
    far = ((A * x - 5 * A) * x + 8 * A) * x - 4 * A
    offsets = torch.arange(-1, 3, device=like.device)
    positions = (first.long().unsqueeze(1) + offsets).clamp(0, length - 1)
    return positions.flatten(), torch.where(x <= 1, near, far)
