from __future__ import annotations

import pytest
import torch

from edgeflow.ir.errors import TrainError
from edgeflow.models.cain_sd import build
from edgeflow.models.cain_sd.weights import load_weights, pretrained, save_weights


def test_weights_come_back_as_float32(tmp_path):
    model, path = build("tiny"), tmp_path / "w.safetensors"
    save_weights(model, path, half=False, facts={"steps": "7"})
    again = build("tiny")
    assert load_weights(again, path) == {
        "family": "cain-sd",
        "preset": "tiny",
        "variant": "SD",
        "steps": "7",
    }
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_half_precision_halves_the_file_and_loses_little(tmp_path):
    model, path = build("tiny"), tmp_path / "w.safetensors"
    save_weights(model, path, half=False)
    whole = path.stat().st_size
    save_weights(model, path)
    assert path.stat().st_size < 0.6 * whole
    again = build("tiny")
    load_weights(again, path)
    for name, tensor in model.state_dict().items():
        found = again.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "no weights at"),
        (lambda path: path.write_bytes(b"nothing"), "cannot read weights"),
        (lambda path: save_weights(build("small"), path), "preset small.* is .* expected"),
        (lambda path: save_weights(build("tiny", "D"), path), "variant D.*absent"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path, prepare, words):
    path = tmp_path / "w.safetensors"
    prepare(path)
    with pytest.raises(TrainError, match=words) as caught:
        load_weights(build("tiny"), path)
    assert "\n" not in str(caught.value)


def test_there_are_no_packaged_weights_of_the_full_preset():
    assert pretrained("full") is None
