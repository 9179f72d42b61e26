"""A user's own translator through the commands: export, check, run with policies, profile."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

MODEL = """
from torch import nn
from edgeflow.models.shortcut_v2v import ShortcutV2V

def build():
    generator = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 8, 3, 1, 1),
        nn.ConvTranspose2d(8, 3, 3, 2, 1, 1), nn.Sigmoid(),
    )
    model = ShortcutV2V(generator, "0", "4", channels=8, interval=3)
    model.size = (32, 48)
    return model.eval()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("translate")


@pytest.fixture
def bundle(export_kept, folder) -> Path:
    path = folder / "translator.edgeflow"
    if not path.exists():
        (folder / "translator.py").write_text(MODEL)
        export_kept(path, folder / "translator.py", "build", "--plan", "chained")
    return path


@pytest.mark.parametrize(
    ("policy", "keys"), [([], 3), (["--policy", "mode=interval:2"], 5), (["--policy", "mode=drift:9:8"], 2)]
)
def test_a_video_is_translated_at_the_bundles_size(edgeflow, bundle, clip, tmp_path, policy, keys):
    said = edgeflow("run", bundle, clip, "-o", tmp_path / "out.mp4", "--json", *policy)
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert (report["frames_read"], report["frames_written"]) == (9, 9)
    assert report["routes"] == {"mode=key": keys, "mode=shortcut": 9 - keys}
    assert "the video is 160x96, the bundle for 48x32" in said.err
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (48, 32)


def test_check_and_profile_serve_it(edgeflow, bundle, clip, tmp_path):
    assert edgeflow("check", bundle).code == 0
    said = edgeflow("profile", bundle, "--clip", clip, "--frames", 9, "--json", tmp_path / "p.json")
    assert said.code == 0, said.err
    report = json.loads((tmp_path / "p.json").read_text())
    assert report["clip"]["size"] == [48, 32]
    assert report["waterfall"]["full"] == "the dearest route, mode=key"
    assert set(report["clip"]["routes"]) == {"mode=key", "mode=shortcut"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--times", "2"], "leaves the frames' rate as it is"),
        (["--fix", "mode=key", "--policy", "mode=interval:2"], "--fix and --policy both decide routes"),
        (["--policy", "exit=interval:2"], "give AXIS=RULE with an axis of the bundle: mode"),
        (
            ["--policy", "mode=now"],
            "the rules are argmax, confidence-below:THRESHOLD, drift:THRESHOLD:LONGEST",
        ),
        (["--policy", "mode=interval:two"], "cannot be read"),
        (["--policy", "mode=drift:0.3"], "cannot be read"),
        (["--policy", "mode=interval:0"], "counts frames from 1 up, got 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(edgeflow, bundle, clip, tmp_path, options, complaint):
    said = edgeflow("run", bundle, clip, "-o", tmp_path / "out.mp4", *options)
    assert said.code == 1
    assert complaint in " ".join(said.err.split())
    assert not (tmp_path / "out.mp4").exists()


def test_a_built_in_family_names_its_presets(edgeflow, tmp_path):
    said = edgeflow("export", "shortcut-v2v", "--preset", "small", "-o", tmp_path / "b")
    assert said.code == 1 and "presets full, tiny, got 'small'" in said.err
    said = edgeflow("export", "shortcut-v2v", "--variant", "SD", "-o", tmp_path / "b")
    assert said.code == 1 and "variants low, medium, high, got 'SD'" in said.err
