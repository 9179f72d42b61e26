"""Quality against time of policies on a clip."""

import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from kept_bundles import compile_kept

from edgeflow.cli import main
from edgeflow.export.sample import moving_picture
from edgeflow.ir.bundle import open_bundle
from edgeflow.ir.bundle.beside_static import Beside, all_beside, save_beside
from edgeflow.ir.bundle.costs import Device
from edgeflow.ir.errors import BundleError, InputError
from edgeflow.ir.film import calls_of
from edgeflow.models.fan import build as fan
from edgeflow.models.rife import build as rife
from edgeflow.runtime import Fixed, Session
from edgeflow.runtime.measure.beside_static import advice, beside_static
from edgeflow.runtime.measure.worth import BEST_DB, DEAREST, WARMUP, worth
from edgeflow.runtime.stream.policy import Own
from edgeflow.targets import load

SEED = 0
"""Of untrained weights whose router does not average every tile."""
FRAMES = [np.ascontiguousarray(moving_picture(130, 200, time)) for time in range(13)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """By what they make, untrained."""
    folder = tmp_path_factory.mktemp("worth")
    made = {}
    torch.manual_seed(SEED)
    for name, model in (("pictures", rife("tiny")), ("labels", fan("tiny").eval())):
        made[name] = folder / f"{name}.edgeflow"
        compile_kept(model, load("cpu"), made[name], reference={"model": name}, strategy="routes")
    return made


def run(command):
    with pytest.raises(SystemExit) as end:
        main(command)
    assert not end.value.code


def psnr(own, true):
    return 10 * np.log10(255**2 / np.square(own.astype(float) - true).mean())


@pytest.mark.slow
def test_pictures_are_compared_with_the_frames_that_were_left_out(bundles):
    policies = {"own": Own(), "average": Fixed(extent="tiles", way="average")}
    report = worth(open_bundle(bundles["pictures"]), FRAMES, policies)
    own, average, dearest = report.each
    assert report.reference == "frames that were left out"
    assert (report.calls, report.size) == (6 - WARMUP, (200, 130)) and dearest.name == DEAREST
    wanted = [
        psnr(np.rint((FRAMES[k].astype(float) + FRAMES[k + 2]) / 2), FRAMES[k + 1])
        for k in range(2 * WARMUP, 11, 2)
    ]
    assert average.psnr == pytest.approx(np.mean(wanted), abs=0.05)
    assert average.worst_psnr == pytest.approx(min(wanted), abs=0.05)
    assert average.gflops <= own.gflops <= dearest.gflops > average.gflops and average.flicker > 0
    assert average.routes["way"] == {"average": 1.0} and average.agreement is None
    with pytest.raises(InputError, match="2 of them warm up"):
        worth(open_bundle(bundles["pictures"]), FRAMES[:5], policies)


def test_labels_are_compared_with_those_of_the_dearest_route(bundles):
    frames = [np.ascontiguousarray(moving_picture(64, 64, time)) for time in range(100)]
    bundle = open_bundle(bundles["labels"])
    task = bundle.manifest.task
    longest = len(task.offsets)
    report = worth(bundle, frames[: 6 * longest], {"own": Own(), "short": Fixed(frames=4)})
    *_, short, dearest = report.each
    assert dearest.agreement == 1 and dearest.psnr is None and "dearest" in report.reference
    clips = [np.stack(frames[k * longest : (k + 1) * longest]) for k in range(WARMUP, 6)]
    made = {n: Session(bundle, policy=Fixed(frames=n)) for n in (4, longest)}
    alike = [made[4](clip).argmax() == made[longest](clip).argmax() for clip in clips]
    assert short.agreement == pytest.approx(np.mean(alike)) and short.gflops < dearest.gflops


@pytest.mark.slow
def test_the_command_prints_draws_and_refuses(bundles, tmp_path, capsys):
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as film:
        stream = film.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 200, 130, "bgr0"
        for frame in FRAMES:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    bundle, picture = str(bundles["pictures"]), tmp_path / "worth.svg"
    command = ["eval", bundle, "--clip", str(clip), "--quality", "0,1"]
    run([*command, "--picture", str(picture)])
    said = capsys.readouterr().out
    assert "quality 0" in said and DEAREST in said and "speed-up" in said
    assert picture.read_text().lstrip().startswith("<?xml")
    run([*command, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["each"]] == ["own", "quality 0", "quality 1", DEAREST]
    assert all(0 < each["psnr"] <= BEST_DB for each in told["each"])
    for wrong, complaint in (
        (["--picture", str(picture)], "exists"),
        (["--quality", "high"], "give numbers from 0 to 1"),
        (["--quality", "2"], "quality goes from 0 to 1"),
        (["--picture", str(tmp_path / "worth.doc"), "--quality", "0"], "pictures are drawn as"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *wrong])
        assert complaint in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(SystemExit):
        main(["eval", str(bundles["labels"]), "--clip", str(clip), "--quality", "0"])
    assert "weighs quality against time" in capsys.readouterr().err.replace("\n", " ")


def test_a_clip_is_run_beside_the_full_static_model(bundles):
    opened = open_bundle(bundles["pictures"])
    found = beside_static(opened, list(calls_of(opened.manifest.task, FRAMES)), "clip.mkv")
    assert sum(found.routes.values()) == pytest.approx(1)
    assert (
        found.full.startswith("the whole frame at once, extent=whole") and found.routed_ms > 0 < found.full_ms
    )
    assert bool(found.advice) == (found.routed_ms > found.full_ms)


@pytest.mark.parametrize("names", [("кот.mkv", "дом.mkv"), ("Clip.mkv", "clip.mkv"), ("a" * 101, "a" * 102)])
def test_clips_whose_names_look_alike_in_plain_letters_have_a_file_each(tmp_path, names):
    device = Device("a processor", 2, "onnxruntime", "1.31")
    found = [Beside(device, name, (200, 130), 8, {}, "the whole frame", 2.0, 9.0, ()) for name in names]
    for one in (*found, found[0]):  # the last takes the place of the first
        save_beside(tmp_path, one)
    assert {one.clip for one in all_beside(tmp_path)} == set(names) and len(all_beside(tmp_path)) == 2


def test_what_routing_was_worth_is_kept_for_every_clip_and_shown(bundles, tmp_path, capsys):
    path = tmp_path / "b.edgeflow"
    shutil.copytree(bundles["pictures"], path)
    run(["inspect", str(path)])
    assert "was not run beside this bundle: `edgeflow profile --clip VIDEO` does" in capsys.readouterr().out
    device = Device("a processor", 2, "onnxruntime", "1.31")
    still = Beside(device, "still.mkv", (200, 130), 8, {"way=average": 1.0}, "the whole frame", 2.0, 9.0, ())
    moving = replace(still, clip="moving\x1b.mkv", routed_ms=10.0, advice=("larger tiles",))
    for found in (still, moving, replace(still, clip="labels", full_ms=None)):
        save_beside(path, found)
    assert all_beside(path) == [replace(moving, clip="moving?.mkv"), still]
    run(["inspect", str(path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "still.mkv, 200x130, a processor, 2 threads, onnxruntime 1.31: a call takes 2.0 ms" in said
    assert "full static model (the whole frame) 9.0: 4.50x as fast" in said
    assert (
        "0.90x as fast (medians, in turn) routing loses on this clip. What would help: larger tiles" in said
    )
    next((path / "profile" / "beside" / device.key).glob("still*")).write_text("{}")
    with pytest.raises(BundleError, match=r"is damaged .* delete it and run `edgeflow profile --clip`"):
        all_beside(path)


def test_a_bundle_that_loses_is_told_what_would_help(bundles):
    plans = {name: next(iter(open_bundle(path).manifest.plans.values())) for name, path in bundles.items()}
    said = "; ".join(advice(plans["pictures"], "onnxruntime", host=0.3))
    assert "larger tiles: 30% of a call" in said and "--target openvino-cpu" in said
    assert "whole frame" not in said  # it has that route
    assert "tiles" not in "; ".join(advice(plans["labels"], "openvino", host=0.3))
