import pytest
import torch
from routed_models import small

from edgeflow.export.sample import moving_picture
from edgeflow.flow import Eager, Training
from edgeflow.flow.tensors import paste_tile, to_tensor
from edgeflow.ir.rules import StreamContext
from edgeflow.models.cain_sd import build

TOLERANCE = 1e-5


def stitched(result, number=0):
    """The frame that the tiles of one batch entry make."""
    (taken,) = result.tiles.values()
    frame = torch.zeros(3, taken.grid.height, taken.grid.width)
    for tile, owner, tile_number in zip(result.outputs[0], taken.frames, taken.numbers, strict=True):
        if owner == number:
            paste_tile(tile.detach(), taken.grid, tile_number, frame)
    return frame


def chosen(result, model):
    return {
        name: [model.axes[name.split(".")[0]].values[i] for i in mask.argmax(1).tolist()]
        for name, mask in result.masks.items()
    }


def frames_of(size, count=2):
    return [to_tensor(moving_picture(*size, 3 * time)) for time in range(count)]


def test_without_noise_training_is_the_eager_flow_on_every_route(tiny):
    frames = frames_of((150, 190))
    result, wanted = Training(tiny, noise=False)(*frames), Eager(tiny)(*frames)
    assert (stitched(result) - wanted.outputs[0][0]).abs().max() <= TOLERANCE
    assert chosen(result, tiny) == wanted.routes
    assert len(set(zip(*wanted.routes.values(), strict=True))) > 2


def test_a_batch_is_its_frames(tiny):
    frames = frames_of((90, 100), 3)
    result = Training(tiny, noise=False)(torch.cat(frames[:2]), torch.cat(frames[1:]))
    for number in (0, 1):
        wanted = Eager(tiny)(frames[number], frames[number + 1]).outputs[0][0]
        assert (stitched(result, number) - wanted).abs().max() <= TOLERANCE


@pytest.mark.parametrize(("variant", "axes"), [("S", ["scale"]), ("D", ["exit"]), ("SD", ["scale", "exit"])])
def test_variants_of_cain_sd(variant, axes):
    torch.manual_seed(2)
    model = build("tiny", variant)
    for parameter in model.sd_finder.parameters():
        parameter.data.normal_(0, 0.3)
    frames = frames_of((80, 100))
    result, wanted = Training(model, noise=False)(*frames), Eager(model)(*frames)
    assert (stitched(result) - wanted.outputs[0][0]).abs().max() <= TOLERANCE
    assert list(wanted.routes) == list(result.masks) == axes


@pytest.mark.parametrize("noise", [False, True])
def test_gradients_reach_the_router_and_every_parameter(noise):
    torch.manual_seed(3)
    model = build("tiny").train()
    result = Training(model, noise=noise)(*frames_of((150, 190)))
    result.outputs[0].square().mean().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None] == []
    for part in (
        "sd_finder.scale_net.0",
        "sd_finder.depth_net.0",
        "sd_finder.motion.levels.0",
        "cain.head_conv",
    ):
        assert grads[f"{part}.weight" if f"{part}.weight" in grads else f"{part}.0.weight"].abs().sum() > 0


def test_tiles_are_drawn_without_repetition(tiny):
    frames = frames_of((152, 192))
    result = Training(tiny, tiles_per_frame=3)(*frames)
    (taken,) = result.tiles.values()
    assert len(set(taken.numbers)) == 3 == len(result.outputs[0])
    for number, tile in zip(taken.numbers, taken.cut(frames[0]), strict=True):
        top, left = taken.grid.origins[number]
        assert torch.equal(tile, frames[0][0, :, top : top + 64, left : left + 64])


def test_masks_are_one_hot_and_noise_moves_them(tiny):
    torch.manual_seed(0)
    masks = [Training(tiny, temperature=5)(*frames_of((150, 190))).masks["exit"] for _ in range(4)]
    for mask in masks:
        one_hot = torch.nn.functional.one_hot(mask.argmax(1), 5).float()
        assert torch.allclose(mask, one_hot, atol=1e-5)
    assert any(not torch.equal(masks[0].argmax(1), mask.argmax(1)) for mask in masks[1:])


def test_fixed_decisions(tiny):
    frames = frames_of((90, 100))
    fixed = {"scale": 2, "exit": 3}
    result = Training(tiny, fixed=fixed)(*frames)
    assert (stitched(result) - Eager(tiny, fixed)(*frames).outputs[0][0]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", ["Patchwork", "Levels"])
def test_small_tiled_models(name):
    model, (frame,) = small(name), frames_of((50, 70), 1)
    result, wanted = Training(model, noise=False)(frame), Eager(model)(frame)
    assert (stitched(result) - wanted.outputs[0][0]).abs().max() <= TOLERANCE
    assert chosen(result, model) == wanted.routes


@pytest.mark.parametrize("length", [3, 6, 12, 20])
def test_a_sampled_clip(length):
    model, clip = small("Frames"), torch.rand(1, length, 3, 6, 6)
    result, wanted = Training(model, noise=False)(clip), Eager(model)(clip)
    assert (result.outputs[0] - wanted.outputs[0]).abs().max() <= TOLERANCE
    assert chosen(result, model) == wanted.routes


def test_gates_stay_inputs_and_get_gradients():
    model = small("Gated").train()
    image = torch.rand(1, 3, 12, 12)
    result, wanted = Training(model, noise=False)(image), Eager(model)(image)
    assert (result.outputs[0] - wanted.outputs[0]).abs().max() <= TOLERANCE
    assert list(wanted.routes) == ["stride", "channels", "stride.1", "channels.1"]
    result.outputs[0].sum().backward()
    assert model.stem.weight.grad.abs().sum() > 0


def test_states_are_handed_from_frame_to_frame():
    model, states = small("Shortcut"), {}
    eager, training = Eager(model), Training(model, noise=False)
    context = StreamContext()
    for number, frame in enumerate(frames_of((16, 24), 5)):
        result = training(frame, context=context, states=states)
        context.advance({name: mask.argmax(1).numpy() for name, mask in result.masks.items()})
        wanted = eager(frame)
        assert (result.outputs[0] - wanted.outputs[0]).abs().max() <= TOLERANCE
        assert wanted.routes["mode"] == ["key" if number % 3 == 0 else "shortcut"]
        states = {name: tensor.detach() for name, tensor in result.kept.items()}
    eager.reset()
    assert eager(frame).routes["mode"] == ["key"]
