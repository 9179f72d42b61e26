"""What is trained: the network on darkened crops, then its router."""

from __future__ import annotations

from edgeflow.flow import Training
from edgeflow.training.loop import Loss, Stage
from edgeflow.training.losses import l1
from edgeflow.training.order import Order, Trainee
from edgeflow.training.samples import Samples
from edgeflow_brighten.model import HALO, TILE, Brighten, build

DARK = 0.4
BATCH = 4


class Curriculum:
    """The losses of the stages.

    Args:
        model: what is trained.
        samples: of the clips.
        price: of going deep.
    """

    def __init__(self, model: Brighten, samples: Samples, price: float) -> None:
        self.model, self.samples, self.price = model, samples, price

    def stages(self) -> tuple[Stage, ...]:
        """The network, then the router."""
        model = self.model
        network = (model.enter, model.deepen, model.leave)
        return (
            Stage("network", 0.7, 1e-3, network, self.brighten),
            Stage("router", 0.3, 1e-3, (model.see,), self.choose),
        )

    def brighten(self) -> Loss:
        """The whole network, both routes, on crops."""
        wanted = self.samples.crops(BATCH)[0]
        dark = DARK * wanted
        shallow = self.model.enter(dark)
        deep = self.model.deepen(shallow)
        made = [l1(self.model.finish(dark, x), wanted) for x in (shallow, deep)]
        return Loss(made[0] + made[1], {"shallow": made[0], "deep": made[1]})

    def choose(self) -> Loss:
        """What the chosen routes make of whole frames, and what they cost."""
        wanted = self.samples.frames(1)[0]
        result = Training(self.model, tiles_per_frame=2)(DARK * wanted)
        (taken,) = result.tiles.values()
        error = l1(result.outputs[0], taken.cut(wanted))
        spent = result.masks["deep"][:, 1].mean()
        return Loss(error + self.price * spent, {"error": error, "deep": spent})


def begin(order: Order) -> Trainee:
    """What `edgeflow train brighten` trains."""
    model = build(order.preset, order.variant).train()
    samples = Samples(order.clips(None).training, TILE - 2 * HALO, order.rng)
    curriculum = Curriculum(model, samples, order.options.get("price", 0.01))
    return Trainee(model, model, curriculum.stages())
