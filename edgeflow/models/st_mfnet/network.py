"""ST-MFNet in the pieces that a flow calls, for any widths: the published one, its Mini and ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeflow.ir.errors import FlowError
from edgeflow.models.cain_sd.pwc import PWC
from edgeflow.models.st_mfnet.features import Features
from edgeflow.models.st_mfnet.gridnet import MIDDLE, GridNet
from edgeflow.models.st_mfnet.kernels import FRAMES, Kernels
from edgeflow.models.st_mfnet.texture import Texture
from edgeflow.ops.adacof import adacof
from edgeflow.ops.splat import splat
from edgeflow.ops.upsample import HALFWAY, upsample8
from edgeflow.ops.warp import warp

BLUR, SIGMA = 5, 0.5
"""Side and standard deviation of the Gaussian before a picture is halved, in pixels."""
MOST_TRUST = 8.0
"""The largest logarithm of a pixel's importance: trust is below zero, so that it is 0 where a flow is right."""
CHANGE = 4.0
"""What frames' differences from the blend are multiplied by, so that they are about as large as pictures."""
FILL = 0.1
"""Weight of what fills holes beside that of a whole pixel that lands."""


@dataclass(frozen=True)
class Sizes:
    """Widths of a network.

    Attributes:
        features: channels of the feature network's levels.
        hidden: channels of the kernel heads.
        grid: channels of GridNet's rows, finest first.
        texture: channels of the 3D network's levels.
        fused: channels in which its time slices become one picture.
        flow: keyword arguments of the flow estimator; None leaves it and its two pictures out.
        groups: of the feature network's grouped convolutions.
        side: of a kernel, in taps.
        multiple: frames are mirrored at the right and the bottom up to a multiple of so many pixels.
        residual: the blend is added to what both frames make where the flow leads them, and where none does, or there is no flow, to the
            average of their full-size pictures, so that a network begins as that.
        changes: the 3D network sees how the frames differ from the blend, in place of the frames, and makes what the truth differs by. So narrow
            a one learns nothing from the frames themselves, which hardly differ.
    """

    features: tuple[int, int, int, int]
    hidden: int
    grid: tuple[int, int, int]
    texture: tuple[int, int, int, int]
    fused: int
    flow: Mapping[str, Any] | None = None
    groups: int = 32
    side: int = 5
    multiple: int = 128
    residual: bool = False
    changes: bool = False


class STMFNet(nn.Module):
    """Four frames in, the one in the middle out.

    Published counts of parameters hold the 99 taps of two filters that do not learn; so do these.

    Args:
        sizes: its widths.

    Source: Danier et al., ST-MFNet (CVPR 2022); Morris et al., ST-MFNet Mini (2023), Fig. 2.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.features = Features(sizes.features, sizes.groups)
        self.kernels = Kernels(sizes.features[0], sizes.hidden, sizes.side**2)
        self.grid = GridNet((6, 6 if sizes.flow is None else 12, 6), sizes.grid)
        self.texture = Texture(sizes.texture, sizes.fused)
        if sizes.flow is not None:
            self.motion = PWC(**sizes.flow)
            self.trust = nn.ParameterList([-torch.ones(1, 1, 1, 1)])
        places = torch.arange(BLUR) - BLUR // 2
        bell = torch.exp(-(places**2) / (2 * SIGMA**2))
        blur = torch.outer(bell, bell) / bell.sum() ** 2
        self.blur = nn.Parameter(blur.expand(3, 1, BLUR, BLUR).clone(), requires_grad=False)
        self.halfway = nn.Parameter(HALFWAY.expand(3, 1, 1, 8).clone(), requires_grad=False)

    def forward(self, frame0: Tensor, frame1: Tensor, frame2: Tensor, frame3: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] four times -> the same, not clamped."""
        features, images = self.see(frame1, frame2), self.pictures(frame1, frame2)
        warped = list(images)
        for place, frame in enumerate(FRAMES):
            kernels = self.kernels(features, frame)
            for i, image in enumerate(images[place::2]):
                warped[2 * i + place] = adacof(image, *kernels[3 * i : 3 * i + 3])
        blended = self.blend(frame1, frame2, *warped)
        return self.finish(frame0, frame1, frame2, frame3, blended)

    def without(self, name: str) -> STMFNet:
        """The network without its flow estimator, `motion`, and the two pictures that it gives; other weights stay.

        Raises:
            FlowError: it cannot be without that component, or has none.
        """
        if name != "motion" or self.sizes.flow is None:
            raise FlowError(
                f"ST-MFNet cannot be without {name}: its flow estimator, motion, is what it can do without"
            )
        rest = STMFNet(replace(self.sizes, flow=None))
        own = {key: tensor for key, tensor in self.state_dict().items() if key in rest.state_dict()}
        for layer in ("branch.1", "skip"):
            key = f"grid.lateral.{MIDDLE}.0.{layer}.weight"
            own[key] = own[key][:, :6]  # the pictures of the kernels come first
        rest.load_state_dict(own)
        return rest.train(self.training)

    def see(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """What kernels are estimated from, of half the padded frames' size."""
        made: Tensor = self.features(self.padded(frame1), self.padded(frame2))
        return made

    def pictures(self, frame1: Tensor, frame2: Tensor) -> tuple[Tensor, ...]:
        """The padded frames at the scales of the kernels: half of both, full of both, double of both."""
        padded = [self.padded(frame) for frame in (frame1, frame2)]
        scaled = [map(self._halved, padded), padded, [upsample8(picture, self.halfway) for picture in padded]]
        return tuple(picture for pictures in scaled for picture in pictures)

    def blend(self, frame1: Tensor, frame2: Tensor, *warped: Tensor) -> Tensor:
        """The warped pictures, in the order of `pictures`, as one of the padded frame's size."""
        half, full, double = (torch.cat(warped[i : i + 2], 1) for i in (0, 2, 4))
        between = (warped[2] + warped[3]) / 2
        if self.sizes.flow is not None:
            sums = self._splats(self.padded(frame1), self.padded(frame2))
            full = torch.cat([full, *(_shared_out(each) for each in sums)], 1)
            between = _filled(sums[0] + sums[1], between)
        made: Tensor = self.grid(double, full, half)
        return made + between if self.sizes.residual else made

    def moved(self, frame1: Tensor, frame2: Tensor, filling: Tensor) -> Tensor:
        """Both frames halfway along the flow as one picture, `filling` where neither lands; (n, 3, h, w), sides as the estimator wants them."""
        first, second = self._splats(frame1, frame2)
        return _filled(first + second, filling)

    def finish(
        self, frame0: Tensor, frame1: Tensor, frame2: Tensor, frame3: Tensor, blended: Tensor
    ) -> Tensor:
        """Add texture, and cut to the frames' size."""
        before0, before1, after0, after1 = map(self.padded, (frame0, frame1, frame2, frame3))
        made: Tensor = blended + self._detail(blended, before0, before1, after0, after1)
        return made[..., : frame1.shape[-2], : frame1.shape[-1]]

    def _detail(self, blended: Tensor, *frames: Tensor) -> Tensor:
        """What the 3D network adds to the blend."""
        if not self.sizes.changes:
            made: Tensor = self.texture(*frames[:2], blended, *frames[2:])
            return made
        changes = [(frame - blended) * CHANGE for frame in frames]
        made = self.texture(*changes[:2], blended, *changes[2:])
        return made / CHANGE

    def padded(self, frame: Tensor) -> Tensor:
        """Mirrored at the right and the bottom; a small frame several times."""
        for dim in (2, 3):
            wanted = -(-frame.shape[dim] // self.sizes.multiple) * self.sizes.multiple
            while (missing := wanted - frame.shape[dim]) > 0:
                more = min(missing, frame.shape[dim] - 1)
                if more == 0:  # one row has no other to mirror
                    frame = frame.expand(*(wanted if d == dim else -1 for d in range(4)))
                else:
                    frame = F.pad(frame, (0, 0, 0, more) if dim == 2 else (0, more, 0, 0), mode="reflect")
        return frame

    def _halved(self, picture: Tensor) -> Tensor:
        border = BLUR // 2
        smooth = F.conv2d(F.pad(picture, (border,) * 4, mode="reflect"), self.blur, groups=3)
        return F.interpolate(smooth, scale_factor=0.5, mode="bilinear", align_corners=False)

    def _splats(self, frame1: Tensor, frame2: Tensor) -> tuple[Tensor, Tensor]:
        """Both frames moved halfway along the flow, times their importance, and the sums of that: (n, 4, h, w) each."""
        there, back = self.motion.both(frame1, frame2)
        made = []
        for own, other, flow in ((frame1, frame2, there), (frame2, frame1, back)):
            metric = self.trust[0] * (own - warp(other, flow)).abs().mean(1, keepdim=True)
            importance = metric.clamp(max=MOST_TRUST).exp()
            made.append(splat(torch.cat([own * importance, importance], 1), flow / 2))
        return made[0], made[1]


def _shared_out(sums: Tensor) -> Tensor:
    """Weighted sums and their weights, (n, 4, h, w), as a picture that is zero where nothing lands."""
    total = sums[:, -1:]
    return sums[:, :-1] / torch.where(total == 0, torch.ones_like(total), total)


def _filled(sums: Tensor, filling: Tensor) -> Tensor:
    """The same, with another picture where little lands."""
    return (sums[:, :-1] + FILL * filling) / (sums[:, -1:] + FILL)
