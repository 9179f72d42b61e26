import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeflow.flow import DriftAbove, Eager, Training, cost, trace
from edgeflow.ir.errors import FlowError, TrainError
from edgeflow.ir.rules import StreamContext
from edgeflow.models.shortcut_v2v import PRESETS, Teacher, build
from edgeflow.models.shortcut_v2v.block import ShortcutBlock
from edgeflow.models.shortcut_v2v.counting import paper_count
from edgeflow.models.shortcut_v2v.edges import Edges
from edgeflow.models.shortcut_v2v.paper import CASES, count
from edgeflow.models.shortcut_v2v.teachers import resnet_generator
from edgeflow.models.shortcut_v2v.weights import pretrained
from edgeflow.models.weights import load_weights
from edgeflow.ops.deform_conv import deform_conv2d


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def lively(block):
    """Offsets and masks that differ from pixel to pixel: fresh ones are all the same."""
    for last in (block.coarse_offset[-1], block.fine[-1]):
        nn.init.normal_(last.weight, 0, 0.3)
    return block


@pytest.fixture
def model():
    torch.manual_seed(3)
    made = build("tiny")
    lively(made.block)
    return made


def frames(count, height=32, width=48):
    picture = torch.rand(1, 3, height, width + 2 * count)
    return [picture[..., 2 * t : 2 * t + width] for t in range(count)]


def test_the_teacher_and_the_block_are_the_papers():
    generator = resnet_generator()
    assert (len(generator), parameters(generator)) == (25, 7_837_699)
    assert parameters(ShortcutBlock(128, 128, 64)) == 230_429
    assert parameters(build("tiny")) < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.task}-{case.dependence}")
def test_tables_1_and_4_come_out_by_the_papers_rule(case):
    teacher, shortcut = count(case)
    published = case.published
    pairs = [
        (teacher.paper.macs / 1e9, published.teacher_gmacs),
        (teacher.paper.parameters / 1e6, published.teacher_mparams),
        (shortcut.paper.macs / 1e9, published.shortcut_gmacs),
    ]
    if (case.task, case.dependence) != ("v2c", "high"):  # no width gives that row's parameters as well
        pairs.append((shortcut.paper.parameters / 1e6, published.shortcut_mparams))
    for counted, printed in pairs:  # printed with two decimals
        assert counted == pytest.approx(printed, rel=0.02, abs=0.006)


def test_the_papers_rule_counts_transposed_convolutions_at_their_output():
    layer = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1)
    counted = paper_count(layer, torch.zeros(1, 4, 5, 7))
    assert counted.macs == 6 * 10 * 14 * 4 * 9
    assert counted.parameters == parameters(layer)
    grouped = paper_count(nn.Conv2d(8, 12, 3, padding=1, groups=4), torch.zeros(1, 8, 5, 7))
    assert grouped.macs == 12 * 35 * 2 * 9


@pytest.mark.slow
def test_true_costs_are_those_of_the_flow():
    costs = cost(build("full"), {"height": 256, "width": 512}).table("frame")
    case = next(c for c in CASES if (c.task, c.dependence) == ("v2c", "medium"))
    teacher, shortcut = count(case)
    assert costs == {"mode=key": 2 * teacher.macs, "mode=shortcut": 2 * shortcut.macs}
    assert teacher.macs / 1e9 == pytest.approx(70.1, rel=1e-3)


def test_the_block_does_what_the_paper_says():
    """Written out with bilinear interpolation and two masked deformable convolutions (Eq. 4 and 6)."""
    torch.manual_seed(1)
    block, (a, a_ref, f_ref) = lively(ShortcutBlock(8, 12, 8)), (torch.randn(2, c, 6, 10) for c in (8, 8, 12))

    def half(x):
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)

    current, reference = (F.relu(block.reduce_encoded(x)) for x in (a, a_ref))
    feature = F.relu(block.reduce_decoded(f_ref))
    offset = block.coarse_offset(torch.cat([half(a), half(a_ref)], 1)).repeat(1, 9, 1, 1)
    both = torch.cat([half(reference), half(feature)])
    deformed = deform_conv2d(both, offset.repeat(2, 1, 1, 1), block.coarse_weight, padding=1)
    encoded, decoded = F.interpolate(deformed, scale_factor=2, mode="bilinear").chunk(2)
    fine = block.fine(torch.cat([current, encoded], 1))
    offset, mask = fine[:, :18], fine[:, 18:].sigmoid()
    weight = block.blend.weight
    blended = deform_conv2d(current, torch.zeros_like(offset), weight, padding=1, mask=mask)
    blended = blended + deform_conv2d(decoded, offset, weight, padding=1, mask=1 - mask)
    assert (block(a, a_ref, f_ref) - block.expand(blended)).abs().max() <= 1e-5


def test_the_aligned_encoding_gives_no_gradient_to_the_coarse_weights():
    block = lively(ShortcutBlock(8, 8, 8))
    a, a_ref, f_ref = torch.randn(3, 1, 8, 4, 4)
    *_, offset, mask = block.align(a, a_ref, f_ref)
    (offset.sum() + mask.sum()).backward()
    assert block.coarse_weight.grad is None
    assert block.fine[-1].weight.grad.abs().sum() > 0


def test_key_frames_are_the_teachers_and_others_are_not(model):
    eager, teacher = Eager(model), Eager(Teacher(model))
    modes, errors = [], []
    for frame in frames(model.interval + 2):
        result = eager(frame)
        modes.append(result.routes["mode"][0])
        errors.append(float((result.outputs[0] - teacher(frame).outputs[0]).abs().max()))
    wanted = ["key", *["shortcut"] * (model.interval - 1), "key", "shortcut"]
    assert modes == wanted
    assert all((error < 1e-5) == (mode == "key") for error, mode in zip(errors, modes, strict=True))


@pytest.mark.slow
def test_training_equals_eager_also_where_drift_decides(model):
    rule = DriftAbove(0.5, longest=3)
    model.interval = 2
    for rules, flow in (({}, model), ({"mode": rule}, adaptive(model, rule))):
        eager, context, states = Eager(model, rules=rules), StreamContext(), {}
        for frame in [*frames(4), *frames(3)]:
            wanted = eager(frame)
            result = Training(flow, noise=False)(frame, context=context, states=states)
            assert (result.outputs[0] - wanted.outputs[0]).abs().max() <= 1e-5
            context.advance({name: mask.argmax(1).numpy() for name, mask in result.masks.items()})
            states = {name: tensor.detach() for name, tensor in result.kept.items()}


def adaptive(model, rule):
    """The same model with another rule in its flow."""

    class Adaptive(type(model)):
        def flow(self, f, frame):
            f.decide = lambda measured, mode, decide=f.decide: decide(measured, mode=rule)
            return super().flow(f, frame)

    made = build("tiny")
    made.load_state_dict(model.state_dict())
    made.__class__ = Adaptive
    return made


def test_drift_is_relative_and_nothing_for_a_still_picture(model):
    a = torch.randn(2, 8, 12, 16)
    assert model.drift(a, a).tolist() == [[0.0], [0.0]]
    assert torch.allclose(model.drift(3 * a, 3 * a + 6), model.drift(a, a + 2), atol=1e-4)


def test_a_still_video_is_keyed_by_age_alone_and_another_scene_at_once(model):
    still, other = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48) * 0.1
    eager = Eager(model, rules={"mode": DriftAbove(0.2, longest=5)})
    modes = [eager(frame).routes["mode"][0] for frame in [still] * 7 + [other] * 3]
    keys = [i for i, mode in enumerate(modes) if mode == "key"]
    assert keys == [0, 5, 7]


def test_another_size_begins_a_new_stream(model):
    eager = Eager(model)
    eager(torch.rand(1, 3, 32, 48))
    assert eager(torch.rand(1, 3, 32, 48)).routes["mode"] == ["shortcut"]
    assert eager(torch.rand(1, 3, 48, 64)).routes["mode"] == ["key"]


def test_a_free_frame_size_is_refused_with_what_to_do():
    with pytest.raises(FlowError, match="give the size"):
        trace(build("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_variant_can_be_traced(preset):
    for variant in PRESETS[preset].dependences:
        model = build(preset, variant)
        program = trace(model, dict(zip(("height", "width"), model.size, strict=True)))
        assert [state.name for state in program.states] == ["state.a_ref", "state.f_ref"]


def test_presets_and_variants_that_do_not_exist_are_refused():
    with pytest.raises(FlowError, match="presets full, tiny, got 'small'"):
        build("small")
    with pytest.raises(FlowError, match="variants low, medium, high, got 'SD'"):
        build("tiny", "SD")


def test_edges_are_where_the_picture_changes():
    picture = torch.zeros(1, 3, 8, 12)
    picture[..., 6:] = 1
    edges = Edges()(picture)[0, 0]
    assert edges[:, 5:7].min() > 0.5
    assert torch.cat([edges[:, :5], edges[:, 7:]], 1).max() < -0.9
    assert torch.allclose(Edges()(picture.transpose(2, 3))[0, 0], edges.T)


def test_packaged_weights_fit_and_are_small():
    path = pretrained("tiny")
    assert path is not None and path.stat().st_size < 2e6
    model = build("tiny")
    assert load_weights(model, path)["preset"] == "tiny"
    assert pretrained("full") is None
    with pytest.raises(TrainError, match="not of this model"):
        load_weights(build("tiny", "low"), path)
