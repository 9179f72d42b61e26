"""Models of other tasks through every command, on both libraries: four frames in, a clip in, a larger picture out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
from film_models import NAMES

pytestmark = pytest.mark.slow

MODELS = Path(__file__).parents[1] / "film_models.py"
TARGETS = ("cpu", "openvino-cpu")
KINDS = ("four_frames", "labels", "whole_clip", "larger")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture
def exported(export_kept, folder, clip):
    """A function that exports a model for a target once, planned by a clip."""

    def export(kind, target, *options):
        path = folder / f"{kind}-{target}{'-'.join(options)}.edgeflow"
        if not path.exists():
            export_kept(path, MODELS, kind, "--target", target, "--clip", clip, *options)
        return path

    return export


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_check_and_profile_serve_it(edgeflow, exported, clip, tmp_path, kind, target):
    bundle = exported(kind, target)
    said = edgeflow("check", bundle)
    assert said.code == 0, said.err
    said = edgeflow("profile", bundle, "--clip", clip, "--json", tmp_path / "p.json")
    assert said.code == 0, said.err
    calls = {"four_frames": 8, "labels": 3, "whole_clip": 5, "larger": 9}[kind]
    assert json.loads((tmp_path / "p.json").read_text())["clip"]["frames"] == calls - 2  # two warm up
    manifest = json.loads((bundle / "manifest.json").read_text())
    decided = next(iter(manifest["provenance"]["decisions"].values()))
    assert decided["routes"].endswith("frames of the clip")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_calibrated_with_its_calls(edgeflow, exported, kind, target):
    bundle = exported(kind, target, "--precision", "int8")
    said = edgeflow("check", bundle)
    assert said.code == 0, said.err
    entries = json.loads((bundle / "manifest.json").read_text())["graphs"].values()
    assert any(entry["sqnr_db"] is not None for entry in entries)


@pytest.mark.parametrize("target", TARGETS)
def test_four_frames_double_the_rate(edgeflow, exported, clip, tmp_path, target):
    out = tmp_path / "out.mp4"
    said = edgeflow("run", exported("four_frames", target), clip, "-o", out, "--json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert (report["frames_read"], report["frames_written"], report["fps"]) == (9, 18, 50)
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 18
    said = edgeflow("run", exported("four_frames", target), clip, "-o", out, "--times", "3", "--overwrite")
    assert said.code == 1 and "times is 3; choose 2 or 4 or 8" in said.err


@pytest.mark.parametrize("target", TARGETS)
def test_a_clips_labels_become_lines(edgeflow, exported, clip, tmp_path, target):
    out = tmp_path / "labels.jsonl"
    said = edgeflow("run", exported("labels", target), clip, "-o", out, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["calls"] == 3
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["start"], line["end"]) for line in lines] == [(0, 0.16), (0.16, 0.32), (0.32, 0.36)]
    assert all(line["name"] == NAMES[line["label"]] and isinstance(line["score"], float) for line in lines)
    said = edgeflow("run", exported("labels", target), clip, "-o", out)
    assert said.code == 1 and "--overwrite" in said.err


def test_labels_become_a_table(edgeflow, exported, clip, tmp_path):
    out = tmp_path / "labels.csv"
    said = edgeflow("run", exported("labels", "cpu"), clip, "-o", out, "--window", "3", "--stride", "2")
    assert said.code == 0, said.err
    with out.open() as file:
        rows = list(csv.DictReader(file))
    spans = [(float(row["start"]), float(row["end"])) for row in rows]
    assert spans == [(0, 0.12), (0.08, 0.2), (0.16, 0.28), (0.24, 0.36), (0.32, 0.36)]
    assert all(row["name"] == NAMES[int(row["label"])] and float(row["score"]) for row in rows)


@pytest.mark.parametrize("target", TARGETS)
def test_labels_stand_in_the_film(edgeflow, exported, clip, tmp_path, target):
    out = tmp_path / "labels.mp4"
    said = edgeflow("run", exported("labels", target), clip, "-o", out, "--overlay", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["calls"] == 3
    with av.open(str(clip)) as source, av.open(str(out)) as made:
        pairs = [
            [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
            for film in (source, made)
        ]
    assert len(pairs[0]) == len(pairs[1]) == 9 and pairs[0][0].shape == pairs[1][0].shape
    for before, after in zip(*pairs, strict=True):
        change = np.abs(after - before).mean(2)
        assert change[4:20, 4:40].mean() > 20 > 2 * change[30:, 20:].mean()


def test_a_folder_of_pictures_is_a_film(edgeflow, exported, clip, tmp_path):
    folder = tmp_path / "pictures [1]"
    folder.mkdir()
    with av.open(str(clip)) as film:
        for number, frame in enumerate(film.decode(video=0)):
            frame.to_image().save(folder / f"{number:03}.png")
    said = edgeflow("run", exported("labels", "cpu"), folder, "-o", "-")
    assert said.code == 0, said.err
    assert [json.loads(line)["end"] for line in said.out.splitlines()] == [0.16, 0.32, 0.36]
    (folder / "more.jpg").write_bytes((folder / "000.png").read_bytes())
    said = edgeflow("run", exported("labels", "cpu"), folder, "-o", "-")
    assert said.code == 1 and "several kinds (.jpg, .png)" in " ".join(said.err.split())
    said = edgeflow("run", exported("labels", "cpu"), tmp_path, "-o", "-")
    assert said.code == 1 and "holds no pictures" in " ".join(said.err.split())


def test_windows_that_do_not_fit_are_refused(edgeflow, exported, clip, tmp_path):
    said = edgeflow("run", exported("whole_clip", "cpu"), clip, "-o", "-", "--window", "5")
    assert said.code == 1 and "the model takes 3, no other number" in " ".join(said.err.split())
    said = edgeflow("run", exported("larger", "cpu"), clip, "-o", tmp_path / "out.mp4", "--stride", "5")
    assert said.code == 1 and "for models that label" in " ".join(said.err.split())
    said = edgeflow("run", exported("labels", "cpu"), "-", "-o", tmp_path / "out.mp4")
    assert said.code == 1 and "read once" in " ".join(said.err.split())


def test_labels_without_names_on_stdout(edgeflow, exported, clip):
    said = edgeflow("run", exported("whole_clip", "cpu"), clip, "-o", "-")
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [(line["start"], line["end"]) for line in lines][-2:] == [(0.24, 0.36), (0.32, 0.36)]
    assert all(line["name"] is None for line in lines)


@pytest.mark.parametrize("target", TARGETS)
def test_a_larger_film_is_written(edgeflow, exported, clip, tmp_path, target):
    said = edgeflow(
        "run", exported("larger", target), clip, "-o", tmp_path / "out.mp4", "--json", "--overlay"
    )
    assert said.code == 0, said.err
    assert json.loads(said.out)["frames_written"] == 9
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (96, 64)


def test_what_makes_no_film_is_refused(edgeflow, exported, clip, tmp_path):
    said = edgeflow("run", exported("labels", "cpu"), clip, "-o", tmp_path / "out.jsonl", "--times", "2")
    assert said.code == 1 and "leaves the frames' rate as it is" in said.err
    said = edgeflow("run", exported("labels", "cpu"), clip, "-o", tmp_path / "out.jsonl", "--overlay")
    assert said.code == 1 and "--overlay draws on films" in " ".join(said.err.split())


def test_inspect_says_what_a_call_is_made_of(edgeflow, exported):
    said = edgeflow("inspect", exported("labels", "cpu"))
    assert "task    a clip of 4 frames, every 4 -> labels at 0" in said.out


def test_a_film_within_a_budget(edgeflow, exported, clip, tmp_path):
    bundle = exported("larger", "cpu")
    film = tmp_path / "out.mp4"
    said = edgeflow("run", bundle, clip, "-o", film, "--policy", "budget", "--budget-ms", 5000, "--json")
    assert said.code == 0, said.err
    deadline = json.loads(said.out)["deadline"]
    assert deadline["calls"] == 9 and deadline["within"] == 1 and deadline["percentile"] == 95
    assert 0 < deadline["median_ms"] <= deadline["reached_ms"] <= deadline["max_ms"] < 5000
    budget = ("--policy", "budget", "--budget-ms", 5000, "--percentile", 90, "--overwrite")
    said = edgeflow("run", bundle, clip, "-o", film, *budget)
    assert "deadline: 100.0% of 9 calls within 5000 ms" in said.err and "p90" in said.err


@pytest.mark.parametrize(
    "options, says",
    [
        (("--policy", "budget"), "give --budget-ms"),
        (("--budget-ms", 33), "--budget-ms 33 is for --policy budget"),
        (("--percentile", 99), "--percentile 99 is for --policy budget"),
        (("--policy", "budget", "--budget-ms", 0), "a frame's budget is more than 0 milliseconds, got 0"),
        (("--policy", "budget", "--budget-ms", 33, "--percentile", 100), "50 to less than 100 percent"),
        (("--policy", "budget", "--budget-ms", 33, "--quality", 0.5), "give one of them"),
        (("--policy", "budget", "--budget-ms", 33, "--policy", "depth=argmax"), "give no other --policy"),
    ],
)
def test_budgets_that_say_nothing_are_refused(edgeflow, exported, clip, tmp_path, options, says):
    said = edgeflow("run", exported("larger", "cpu"), clip, "-o", tmp_path / "out.mp4", *options)
    assert said.code == 1 and says in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()
