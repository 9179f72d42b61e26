from collections import OrderedDict

import pytest
import torch
from torch import nn

from edgeflow.ir.errors import FlowError
from edgeflow.models.shortcut_v2v import ShortcutV2V
from edgeflow.models.shortcut_v2v.cut import cut


def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 8, 3, 2, 1),
        nn.ConvTranspose2d(8, 4, 3, 2, 1, 1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(4, 3, 3, 2, 1, 1),
    )


class Named(nn.Module):
    """An author's own class: parts in order, some of them Sequentials."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(OrderedDict(enter=nn.Conv2d(3, 4, 3, 2, 1), act=nn.ReLU()))
        self.bottle = nn.Conv2d(4, 4, 3, 1, 1)
        self.decoder = nn.Sequential(nn.Tanh(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1))

    def forward(self, x):
        return self.decoder(self.bottle(self.encoder(x)))


class Skipping(Named):
    def forward(self, x):
        encoded = self.encoder(x)
        return self.decoder(self.bottle(encoded) + encoded)


def test_the_three_parts_are_the_generator():
    generator, frame = small(), torch.rand(1, 3, 32, 48)
    parts = cut(generator, "0", "3")
    a = parts.encode(frame)
    kept = a.clone()
    f = parts.middle(a)
    assert torch.allclose(parts.decode(f), generator(frame), atol=1e-6)
    assert (a == kept).all()  # nothing works in place any more
    assert (a.shape[1], f.shape[1]) == (parts.encoded, parts.decoded) == (4, 4)


@pytest.mark.parametrize(
    "names", [("encoder.enter", "bottle"), ("encoder", "bottle"), ("encoder", "decoder.0")]
)
def test_modules_inside_sequentials_have_dotted_names(names):
    generator, frame = Named(), torch.rand(2, 3, 32, 48)
    parts = cut(generator, *names)
    assert torch.allclose(parts.decode(parts.middle(parts.encode(frame))), generator(frame), atol=1e-6)
    model = ShortcutV2V(generator, *names, channels=4).eval()
    assert model(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)


@pytest.mark.parametrize(
    ("generator", "names", "complaint"),
    [
        (small, ("9", "3"), r"Sequential has no module '9' to cut at: it has 0, 1, 2, 3, 4, 5"),
        (
            Named,
            ("encoder", "middle"),
            r"Named has no module 'middle' .* encoder\.enter, encoder\.act, bottle",
        ),
        (small, ("3", "0"), "cut '3' does not come before the decoder's '0'"),
        (small, ("0", "0"), "does not come before"),
        (small, ("0", "5"), "nothing comes after the decoder's cut '5'"),
        (small, ("2", "3"), r"after '2' .* is 8x16x16 .* after '3' 4x32x32 .* fit none"),
        (small, ("0", "2"), r"with '0' fit '0' and '1', '0' and '3', '0' and '4'"),
        (Skipping, ("encoder", "bottle"), "Skipping does more than call its modules one after another"),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.ReLU()), ("0", "1"), "cannot be cut"),
    ],
)
def test_cuts_that_cannot_be_are_refused(generator, names, complaint):
    with pytest.raises(FlowError, match=complaint):
        cut(generator(), *names)
