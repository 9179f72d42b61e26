import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgeflow.ir.bundle import MANIFEST, WEIGHTS
from edgeflow.ir.errors import BundleError, EdgeflowError
from edgeflow.ir.files import sha256_of, write_atomically
from edgeflow.ir.program import Tile
from edgeflow.ir.task import Made, Task
from edgeflow.runtime import open_bundle


@pytest.fixture
def bundle(small_bundle, tmp_path):
    """A copy of a bundle, to be damaged."""
    _, compiled = small_bundle("Shortcut", "chained")
    return Path(shutil.copytree(compiled.path, tmp_path / "model.edgeflow"))


def rewrite(bundle, change):
    data = json.loads((bundle / MANIFEST).read_text())
    change(data)
    (bundle / MANIFEST).write_text(json.dumps(data))


def refused(bundle, match, **options):
    with pytest.raises(EdgeflowError, match=match) as caught:
        open_bundle(bundle, **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BundleError)


def test_a_whole_bundle_opens(bundle):
    opened = open_bundle(str(bundle))
    assert opened.path == bundle and WEIGHTS in opened.manifest.files
    assert {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} == {
        MANIFEST,
        *opened.manifest.files,
    }


def test_no_bundle(tmp_path):
    refused(tmp_path / "no.edgeflow", r"no bundle at .*no\.edgeflow: make one with `edgeflow export")


def test_a_folder_or_a_file_that_is_no_bundle(tmp_path):
    refused(tmp_path, r"is not a bundle: it has no readable manifest\.json; export it again")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", r"file is a file, and a bundle is a folder that `edgeflow export` writes")


@pytest.mark.parametrize("kind", ["graphs/*.onnx", "graphs/weights.bin", "golden/*.npz"])
def test_every_damaged_file_is_named(bundle, kind):
    path = next(iter(sorted(bundle.glob(kind))))
    name, whole = path.relative_to(bundle).as_posix(), path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(bundle, f"{name} has {len(whole) - 1} bytes instead of {len(whole)}; copy or export it again")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(bundle, rf"{name} was altered \(its SHA-256 differs\); copy or export it again")
    open_bundle(bundle, verify=False)
    path.unlink()
    refused(bundle, f"{name} is missing; copy the bundle again, or export it again", verify=False)


@pytest.mark.parametrize("text", ["{", "", "[1, 2", '{"format": "edgeflow-bundle"'])
def test_a_manifest_that_is_not_json(bundle, text):
    (bundle / MANIFEST).write_text(text)
    refused(bundle, r"manifest\.json is damaged \(.*\); export it again")


def test_a_manifest_that_is_not_text(bundle):
    (bundle / MANIFEST).write_bytes(b"\xff\xfe\x00")
    refused(bundle, r"manifest\.json is damaged")


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format": "other"}'])
def test_a_manifest_of_something_else(bundle, text):
    (bundle / MANIFEST).write_text(text)
    refused(bundle, r"manifest\.json is not an edgeflow manifest; export the bundle again")


@pytest.mark.parametrize("version", [[1, 9], [2, 0], [0, 9]])
def test_another_schema(bundle, version):
    rewrite(bundle, lambda data: data.update(schema_version=version))
    number = ".".join(map(str, version))
    refused(bundle, rf"has schema {number}, this edgeflow reads up to 1\.8: update edgeflow, or export")


def test_a_bundle_without_kernels_and_float_layers_is_read(bundle):
    """Schema 1.1 has no such field."""

    def older(data):
        data["schema_version"] = [1, 1]
        for graph in data["graphs"].values():
            del graph["kernel"], graph["float_layers"]

    rewrite(bundle, older)
    assert all(graph.kernel is None for graph in open_bundle(bundle).manifest.graphs.values())


def test_a_bundle_that_names_no_task_has_the_one_of_its_inputs(bundle):
    """Schema 1.5 has no task."""

    def older(data):
        data["schema_version"] = [1, 5]
        del data["task"]

    rewrite(bundle, older)
    assert open_bundle(bundle).manifest.task == Task((0,), (Made("image"),))


def test_a_bundle_whose_tiles_begin_anywhere_is_read(bundle):
    """Schema 1.3 has no grid."""

    def older(data):
        data["schema_version"] = [1, 3]
        for step in (step for plan in data["plans"].values() for step in plan["steps"]):
            step.pop("multiple", None)

    rewrite(bundle, older)
    steps = [step for plan in open_bundle(bundle).manifest.plans.values() for step in plan.steps]
    assert all(step.multiple == 1 for step in steps if isinstance(step, Tile))


def test_a_bundle_that_says_no_expected_routes_is_read(bundle):
    """Schema 1.2 has no such field."""

    def older(data):
        data["schema_version"] = [1, 2]
        for plan in data["plans"].values():
            for graph in (graph for step in plan["steps"] for graph in step.get("graphs", ())):
                del graph["expected"]

    rewrite(bundle, older)
    plans = open_bundle(bundle).manifest.plans.values()
    assert all(g.expected is None for plan in plans for stage in plan.stages for g in stage.graphs)
    assert not any(plan.usual for plan in plans)


def test_a_bundle_whose_engines_tell_no_means_is_read(bundle):
    """Schema 1.6 has no such field."""

    def older(data):
        data["schema_version"] = [1, 6]
        for plan in data["plans"].values():
            for graph in (graph for step in plan["steps"] for graph in step.get("graphs", ())):
                del graph["means"]

    before = open_bundle(bundle).manifest.plans
    assert any(g.means for plan in before.values() for stage in plan.stages for g in stage.graphs)
    rewrite(bundle, older)
    plans = open_bundle(bundle).manifest.plans.values()
    assert not any(g.means for plan in plans for stage in plan.stages for g in stage.graphs)


@pytest.mark.parametrize("version", ["1.0", [1], 1, None, ["a", "b"]])
def test_a_schema_that_is_no_version(bundle, version):
    rewrite(bundle, lambda data: data.update(schema_version=version))
    refused(bundle, r"manifest\.json lacks or misstates")


@pytest.mark.parametrize("field", ["model", "plans", "graphs", "files", "target", "provenance"])
def test_a_missing_field_is_named(bundle, field):
    rewrite(bundle, lambda data: data.pop(field))
    refused(bundle, f"manifest.json: {field} is missing: export it again")


@pytest.mark.parametrize("field", ["plans", "graphs", "files"])
@pytest.mark.parametrize("value", [[], 3, {"a": 3}, {"a": {}}])
def test_a_field_of_the_wrong_kind(bundle, field, value):
    rewrite(bundle, lambda data: data.update({field: value}))
    refused(bundle, rf"manifest\.json: {field}")


@pytest.mark.parametrize("path", ["../outside.bin", "/etc/hostname", "graphs/../../outside.bin"])
def test_a_file_outside_the_bundle_is_not_trusted(bundle, path):
    (bundle.parent / "outside.bin").write_bytes(b"x")
    rewrite(bundle, lambda data: data["files"].update({path: {"bytes": 1, "sha256": "0"}}))
    refused(bundle, "a path inside the bundle of at most 800 characters is wanted, got")


@pytest.mark.parametrize("field", ["file", "golden"])
def test_a_graph_that_is_not_among_the_files_is_not_trusted(bundle, field):
    (bundle.parent / "outside.onnx").write_bytes(b"x")

    def change(data):
        stages = [step for step in data["plans"]["any"]["steps"] if step["kind"] == "stage"]
        where = data["graphs"] if field == "file" else {"": stages[0]["graphs"][0]}
        next(iter(where.values()))[field] = "../outside.onnx"

    rewrite(bundle, change)
    refused(bundle, r"a path inside the bundle of at most 800 characters is wanted, got '\.\./outside\.onnx'")


def test_an_unknown_step_and_rule(bundle):
    rewrite(bundle, lambda data: data["plans"]["any"]["steps"][0].update(kind="splat"))
    refused(
        bundle,
        r"plans\.any\.steps\[0\]: an object whose kind is one of tile, route, .* is wanted, got 'splat'",
    )


def test_an_unknown_rule(bundle):
    rewrite(bundle, lambda data: data["plans"]["any"]["steps"][0]["decisions"][0]["rule"].update(kind="dice"))
    refused(bundle, r"decisions\[0\]\.rule: an object whose kind is one of argmax, .* is wanted, got 'dice'")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match=r"cannot write .*file: No space left on device; free some space"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_bundle_of_the_previous_schema_is_read(bundle):
    wanted = open_bundle(bundle).manifest.plans

    def as_in_1_0(data):
        data["schema_version"] = [1, 0]
        del data["target"]["roofline"]
        for plan in data["plans"].values():
            plan["batches"] = [1, 2, 4, 8]
            for graph in (g for step in plan["steps"] for g in step.get("graphs", ())):
                for field in ("precision", "sqnr_db", "note"):
                    data["graphs"][graph["graph"]].pop(field, None)
                moved = {name: graph.pop(name) for name in ("flops", "golden")}
                del graph["batches"]
                data["graphs"][graph["graph"]].update(moved)

    rewrite(bundle, as_in_1_0)
    plans = open_bundle(bundle).manifest.plans
    assert [len(plan.steps) for plan in plans.values()] == [len(plan.steps) for plan in wanted.values()]
    for graph, other in zip(_graphs(plans), _graphs(wanted), strict=True):
        assert graph == replace(other, means=())


def _graphs(plans):
    return [graph for plan in plans.values() for stage in plan.stages for graph in stage.graphs]


def test_the_documented_history_ends_with_todays_schema():
    from edgeflow.ir.bundle import SCHEMA

    text = (Path(__file__).parents[3] / "docs" / "bundle.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| 1.")]
    assert rows == [f"1.{minor}" for minor in range(SCHEMA[1] + 1)]
    assert f"Schema {SCHEMA[0]}.{SCHEMA[1]}." in text
