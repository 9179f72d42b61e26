"""Fixed mixes of CAIN-SD's routes, for models whose router is not trained and for comparisons.

PAPER is a mix like the one that CAIN-SD reports for Xiph-2K (Table 1: 3.133 TFLOPs of CAIN become
1.598, a saving of 1.96x). The paper prints no histogram of routes; what it says of them is:

- static regions, which are most of a video, leave at the first exit (Fig. 3), and depth is used where
  motion and texture are large;
- the scale is mostly left at 1 (Table 2: CAIN-S costs even more than CAIN, by its overlapping
  patches), so most of the saving is made by the depth (CAIN-D saves 23% of REDS, CAIN-SD 32%);
- regions with large motion are downscaled and go deep (Abstract, Fig. 4), mostly by 2; many at 4 are
  what too strong a regulariser does (section 4.5).

The shares are ninths, so that they come out whole at 2048x1080 (45 tiles of 256) and at 1280x720 (18).
With this model's FLOPs (19.0 GFLOPs of a tile on scale 1, exit 1; 36.0, 53.0 and 87.0 at exits 2, 3 and
5; 26.2 on scale 2, exit 3; 10.1 on scale 4, exit 5) a tile costs 32.05 GFLOPs on average. With the router's
52.5 that is 1.495 TFLOPs at 2048x1080, against 2.935 of the full static model that is measured here
(frames padded to a multiple of 8): 1.96x, halos and router included; at 1280x720 it is 1.94x. The
published CAIN pads to a multiple of 128 (3.131 TFLOPs, the paper's 3.133), which the saving would be 2.09x of.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeflow.ir.route import Variable, assignments
from edgeflow.runtime import Mix

PAPER = Mix(
    (
        (4 / 9, {"scale": 1, "exit": 1}),
        (1 / 9, {"scale": 1, "exit": 2}),
        (1 / 9, {"scale": 1, "exit": 3}),
        (1 / 9, {"scale": 1, "exit": 5}),
        (1 / 9, {"scale": 2, "exit": 3}),
        (1 / 9, {"scale": 4, "exit": 5}),
    )
)

MIXES = {"router": None, "paper": PAPER}
"""By name; `router` leaves the decision to the model."""


def every_route(variables: Sequence[Variable]) -> Mix:
    """All routes in equal shares."""
    routes = assignments(variables)
    return Mix([(1 / len(routes), dict(route)) for route in routes])
