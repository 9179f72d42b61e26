import pytest
import torch
from routed_models import small

from edgeflow.flow import Image, RoutedModule, Tensor, Training, cost
from edgeflow.models.cain_sd import WholeFrame, build

PER_TILE = {  # GFLOPs per 256x256 output, by scale; depths 1 to 5, CARN-M included
    1: (19.03, 36.01, 53.00, 69.99, 86.97),
    2: (17.72, 21.97, 26.22, 30.46, 34.71),
    4: (5.81, 6.87, 7.93, 8.99, 10.06),
}


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        model = build("full")
    return model.to_empty(device="cpu")


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_the_papers(full):
    from edgeflow.models.cain_sd.carn import CARN

    assert parameters(full.cain) == 42_780_432
    assert parameters(full.sd_finder.motion) == 9_374_274
    assert parameters(CARN(scales=(2, 3, 4))) == 414_811 - 24  # two mean shifts are a buffer here


@pytest.mark.slow
def test_every_route_of_a_tile_costs_what_the_facts_say(full):
    table = cost(full).table("tiles")
    wanted = {f"exit={d},scale={s}": row[d - 1] for s, row in PER_TILE.items() for d in range(1, 6)}
    assert table.keys() == wanted.keys()
    for route, flops in table.items():
        assert flops / 1e9 == pytest.approx(wanted[route], rel=0.02), route


@pytest.mark.parametrize(("size", "tera"), [((1080, 2048), 3.13), ((720, 1280), 1.305)])
def test_the_whole_frame_costs_what_the_paper_says(full, size, tera):
    height, width = size
    counted = cost(WholeFrame(full, multiple=128), {"height": height, "width": width})
    assert counted.flops({}, "frame") / 1e12 == pytest.approx(tera, rel=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["small", "full"])
def test_the_router_is_a_small_share_of_the_full_path(preset, full):
    model = full if preset == "full" else build(preset)
    size = {"height": 720, "width": 1280}
    whole = cost(WholeFrame(model), size).flops({}, "frame")
    assert cost(model, size).flops({}, "frame") < 0.05 * whole


def conv(channels_in, channels_out, kernel, height, width):
    return 2 * channels_in * channels_out * kernel**2 * height * width


def test_a_cost_by_hand():
    counted = cost(small("Patchwork"))
    step = conv(4, 4, 3, 16, 16)
    edges = conv(3, 4, 3, 16, 16) + conv(4, 3, 3, 16, 16)
    for level in (1, 2, 3):
        for sharp in (False, True):
            route = {"level": level, "sharp": sharp}
            assert counted.flops(route, "tiles") == edges + (level - 1 + sharp) * step
    assert counted.flops({}, "frame") == conv(3, 5, 3, 12, 12)
    look = next(call for call in counted.calls if call.segment == "enter")
    assert look.bytes == 4 * (3 * 256 + 4 * 256 + 4 * 3 * 9 + 4)


def test_a_switch_costs_only_the_branch_that_runs():
    counted = cost(small("Shortcut"))
    common = conv(3, 4, 3, 8, 12) + conv(4, 12, 3, 8, 12)
    assert counted.flops({"mode": "key"}, "frame") == common + 2 * conv(4, 8, 3, 8, 12)
    assert counted.flops({"mode": "shortcut"}, "frame") == common + conv(4, 4, 1, 8, 12)


def test_expected_cost_of_one_hot_masks_is_the_table(tiny):
    counted = cost(tiny)
    for route, flops in counted.table("tiles").items():
        values = {name: int(value) for name, value in (part.split("=") for part in route.split(","))}
        masks = {}
        for name, value in values.items():
            axis = tiny.axes[name]
            masks[name] = torch.nn.functional.one_hot(
                torch.tensor([axis.index(value)]), len(axis.values)
            ).double()
        assert counted.expected(masks, "tiles").tolist() == [flops]


def test_expected_cost_is_that_of_the_routes_taken_and_reaches_the_router():
    torch.manual_seed(4)
    model = build("tiny")
    counted = cost(model)
    result = Training(model, temperature=5)(*torch.rand(2, 1, 3, 150, 190))
    expected = counted.expected(result.masks, "tiles")
    chosen = {n: [model.axes[n].values[i] for i in m.argmax(1).tolist()] for n, m in result.masks.items()}
    routes = [dict(zip(chosen, values, strict=True)) for values in zip(*chosen.values(), strict=True)]
    wanted = torch.tensor([float(counted.flops(route, "tiles")) for route in routes])
    assert torch.allclose(expected, wanted, rtol=1e-5) and len(wanted.unique()) > 1
    expected.mean().backward()
    for net in (model.sd_finder.scale_net, model.sd_finder.depth_net):
        assert net[0].weight.grad.abs().sum() > 0


def test_attention_is_counted_as_its_products():
    class Attends(RoutedModule):
        inputs, outputs = (Image("frame", 8, 8),), (Tensor("made", (4, 16, 64)),)

        def flow(self, f, frame):
            return f.call(self.attend, frame)

        def attend(self, x):
            tokens = x.flatten(1).reshape(-1, 1, 16, 12).repeat(1, 4, 1, 6)[..., :64]
            return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    assert cost(Attends().eval()).calls[0].flops == 2 * 2 * 4 * 16 * 16 * 64
