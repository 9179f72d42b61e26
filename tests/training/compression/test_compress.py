"""Sparsity, distillation, and the command on a network that is not ours."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeflow.cli import main
from edgeflow.cli.reference import find_function
from edgeflow.ir.errors import TrainError
from edgeflow.models.rebuilt import rebuilt
from edgeflow.training.compression.compress import Plan, compress
from edgeflow.training.compression.density import component_densities, densities
from edgeflow.training.compression.learning import Pace, distil, likeness, truth
from edgeflow.training.compression.obprox import OBProxSG
from edgeflow.training.losses import laplacian

EXAMPLE = Path(__file__).parents[3] / "examples/compress_a_classifier.py"


def stepped(values, gradient, orthant, **settings):
    weight = nn.Parameter(torch.tensor([values]))
    weight.grad = torch.tensor([gradient])
    optimiser = OBProxSG([weight], **settings)
    optimiser.orthant = orthant
    optimiser.step()
    return weight[0].tolist()


def test_a_proximal_step_is_soft_thresholding():
    made = stepped([1.0, -1.0, 0.05, 0.0], [1.0, 1.0, 0.0, -2.0], False, rate=0.1, sparsity=1.0)
    assert made == pytest.approx([0.8, -1.0, 0.0, 0.1])


def test_an_orthant_step_crosses_no_axis_and_wakes_no_zero():
    made = stepped([1.0, -0.1, 0.05, 0.0], [1.0, -3.0, 0.0, -2.0], True, rate=0.1, sparsity=0.1, eps=1e-2)
    assert made == pytest.approx([0.89, 0.0, 0.04, 0.0])


def test_biases_are_not_regularised():
    bias = nn.Parameter(torch.tensor([0.05]))
    bias.grad = torch.zeros(1)
    OBProxSG([bias], rate=0.1, sparsity=1.0).step()
    assert float(bias.detach()) == pytest.approx(0.05)


def test_what_is_kept_is_not_regularised():
    kept, other = (nn.Parameter(torch.full((1, 2), 0.05)) for _ in range(2))
    for weight in (kept, other):
        weight.grad = torch.zeros_like(weight)
    OBProxSG([kept, other], rate=0.1, sparsity=1.0, keep=[kept]).step()
    assert kept.tolist() == [pytest.approx([0.05, 0.05])] and other.count_nonzero() == 0


def test_densities_by_layer_and_by_component():
    module = nn.Sequential(nn.Linear(4, 2), nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU()))
    with torch.no_grad():
        module[0].weight[0] = 0
        module[1][0].weight[:] = 0
    assert densities(module) == {"0": 0.5, "1.0": 0.0}
    assert component_densities(module, densities(module)) == {"0": 0.5, "1": 0.0}


def test_a_laplacian_pyramid_has_a_flat_error_in_its_coarsest_level_alone():
    zero = torch.zeros(1, 3, 32, 32)
    flat = torch.full_like(zero, 0.2)
    assert laplacian(flat, flat) == 0
    assert laplacian(flat, zero) == pytest.approx(
        3 * 2**4 * 0.2 / 4**4, rel=1e-4
    )  # of 5 levels, summed per pixel
    fine = torch.zeros_like(zero)
    fine[..., ::2, ::2] = 0.8  # as large on average, and in all levels
    assert laplacian(fine, zero) > 10 * laplacian(flat, zero)


def test_losses_follow_what_the_network_makes():
    scores, classes = torch.tensor([[4.0, 0.0]]), torch.tensor([0])
    assert truth(scores, classes) == likeness(scores, classes) < 0.1
    assert likeness(scores, scores) == pytest.approx(0, abs=1e-6)
    with pytest.raises(TrainError, match="let batches give what it makes"):
        truth(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))


class Picture(nn.Module):
    """A branch that does something and one that its network can be without."""

    def __init__(self, branch=True):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
        if branch:
            self.branch = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))
            for layer in self.branch:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        made = self.body(x)
        return made + self.branch(x) if hasattr(self, "branch") else made

    def without(self, name):
        assert name == "branch"
        rest = Picture(branch=False)
        rest.body.load_state_dict(self.body.state_dict())
        return rest


def smooth(count=4):
    while True:
        x = torch.rand(count, 3, 16, 16)
        yield (x,), nn.functional.avg_pool2d(x, 3, 1, 1)


def test_a_component_of_which_nothing_is_left_goes():
    torch.manual_seed(0)
    plan = Plan(Pace(20, 0.02), Pace(2, 1e-3), sparsity=0.02)
    made = compress(Picture(), smooth(), plan, lambda phase: None)
    assert made.report.dropped == ("branch",) and not hasattr(made.module, "branch")
    assert [layer.after for layer in made.report.layers if layer.name.startswith("branch")] == [None, None]
    assert made.report.after.parameters < made.report.before.parameters
    assert made.report.after.flops < made.report.before.flops


def test_a_name_to_keep_that_is_none_is_refused():
    plan = Plan(Pace(1, 0.1), Pace(0, 0.1), keep=("boody",))
    with pytest.raises(TrainError, match="no module boody to keep: give names such as body"):
        compress(Picture(), smooth(), plan, lambda phase: None)


def test_distillation_beats_the_truth_alone_where_the_truth_is_noisy():
    """As Table I's two rows of the Mini do: a teacher knows what noisy examples show only in the mean."""

    def noisy(count=4):
        while True:
            x = torch.rand(count, 3, 16, 16)
            yield (x,), nn.functional.avg_pool2d(x, 3, 1, 1) + 0.5 * torch.randn_like(x)

    class Teacher(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool2d(x, 3, 1, 1)

    errors = {}
    for name, teacher in (("alone", None), ("distilled", Teacher())):
        torch.manual_seed(0)
        student = nn.Conv2d(3, 3, 3, padding=1)
        distil(student, teacher, noisy(), Pace(80, 0.02))
        (x,), wanted = next(smooth(16))
        errors[name] = float((student(x) - wanted).detach().square().mean())
    assert errors["distilled"] < 0.7 * errors["alone"]


def test_norms_keep_their_statistics_in_the_end():
    student, held = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), []

    def seen(step, loss):
        held.append(student[1].running_mean.clone())

    distil(student, None, smooth(), Pace(6, 1e-3, seen))
    assert not torch.equal(held[2], held[3])
    assert torch.equal(held[3], held[4]) and torch.equal(held[4], held[5])


class Deaf(nn.Module):
    """Makes something else than a picture of what it is given."""

    def __init__(self, made):
        super().__init__()
        self.layer, self.made = nn.Conv2d(4, 4, 3, padding=1), made

    def forward(self, x):
        return self.layer(x) if self.made is None else self.made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, r"does not run on what batches gives, \(2, 3, 8, 8\): Given groups=1"),
        ([torch.zeros(2, 3, 8, 8)], "makes a list: let it make one tensor"),
        (torch.zeros(2, 3, 4, 4), r"makes \(2, 3, 4, 4\) and the batch's target is \(2, 3, 8, 8\)"),
    ],
)
def test_a_network_that_does_not_take_the_batches_is_refused_before_it_learns(made, said):
    batches = iter([((torch.rand(2, 3, 8, 8),), torch.rand(2, 3, 8, 8))])
    plan = Plan(Pace(1, 1e-3), Pace(1, 1e-3))
    with pytest.raises(TrainError, match=said):
        compress(Deaf(made), batches, plan, print)


@pytest.mark.slow
def test_the_command_on_a_users_network(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    output, picture = tmp_path / "small.safetensors", tmp_path / "layers.png"
    with pytest.raises(SystemExit) as ended:
        main(
            f"compress {EXAMPLE}:build -o {output} --steps 120 --distil-steps 60 --rate 0.05 "
            f"--sparsity 0.02 --keep entry --plot {picture} --json".split()
        )
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.with_suffix(".json").read_text())
    assert picture.stat().st_size > 10_000
    assert told["density"] < 0.5 and told["after"]["parameters"] < told["before"]["parameters"]
    assert told["before"]["ms"] > 0 and told["after"]["ms"] > 0
    build = find_function(f"{EXAMPLE}:build")
    small = rebuilt(build(), output).eval()
    assert small.merge.in_channels < build().merge.in_channels
    pictures, corners = next(find_function(f"{EXAMPLE}:batches")(64))
    assert (small(pictures).argmax(1) == corners).float().mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.py:build"], "no file nothing.py"),
        (["st-mfnet"], "st-mfnet is no function: give path/to/file.py:build"),
        ([f"{EXAMPLE}:batches"], "returns a generator: it must return a torch.nn.Module"),
        ([f"{EXAMPLE}:build", "--batches", f"{EXAMPLE}:none"], "has no function 'none'"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compress", *arguments, "-o", str(tmp_path / "x.safetensors")])
    assert ended.value.code == 1 and said in " ".join(capsys.readouterr().err.split())


def test_weights_in_another_format_are_refused_before_anything_is_learnt(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["compress", f"{EXAMPLE}:build", "-o", str(tmp_path / "new" / "x.json")])
    assert "is the file of the weights: let its name end in .safetensors" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not (tmp_path / "new").exists()
