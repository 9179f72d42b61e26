import json
from pathlib import Path

import pytest

from edgeflow.ir.bundle.replacing import check_replaceable
from edgeflow.ir.errors import BundleError


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "b.edgeflow"
    (folder / "graphs").mkdir(parents=True)
    (folder / "graphs" / "a.onnx").write_bytes(b"a")
    manifest = {"format": "edgeflow-bundle", "files": {"graphs/a.onnx": {"bytes": 1, "sha256": ""}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def costs(bundle, by):
    (bundle / "profile").mkdir()
    (bundle / "profile" / "cpu.json").write_text(json.dumps({"by": by, "ms": {}}))


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_others_are_never_replaced(tmp_path, overwrite):
    folder = tmp_path / "holiday"
    folder.mkdir()
    check_replaceable(folder, overwrite)  # empty: nothing to lose
    (folder / "photo.jpg").write_bytes(b"photo")
    with pytest.raises(BundleError, match=r"holiday holds files and is no edgeflow bundle: it is left alone"):
        check_replaceable(folder, overwrite)


@pytest.mark.parametrize("manifest", ["{", "[]", '{"format": "other"}', "\udcff"])
def test_another_programs_manifest_makes_no_bundle(tmp_path, manifest):
    (tmp_path / "manifest.json").write_bytes(manifest.encode(errors="surrogateescape"))
    with pytest.raises(BundleError, match="is no edgeflow bundle"):
        check_replaceable(tmp_path, True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "graphs/mine.onnx"])
def test_files_that_somebody_put_into_a_bundle_keep_it(bundle, name, overwrite):
    check_replaceable(bundle, overwrite)
    (bundle / name).write_text("mine")
    with pytest.raises(BundleError, match=f"{name} in it is not edgeflow's"):
        check_replaceable(bundle, overwrite)


def test_built_engines_go_only_if_that_is_wanted(bundle):
    (bundle / "engines" / "key").mkdir(parents=True)
    check_replaceable(bundle, False)
    (bundle / "engines" / "key" / "a.engine").write_bytes(b"e")
    with pytest.raises(
        BundleError, match=r"holds engines that were built, which would be lost: .* --overwrite"
    ):
        check_replaceable(bundle, False)
    check_replaceable(bundle, True)


@pytest.mark.parametrize(("by", "kept"), [("export", False), ("profile", True), (None, True)])
def test_measured_costs_go_only_if_that_is_wanted(bundle, by, kept):
    costs(bundle, by)
    if kept:
        with pytest.raises(BundleError, match="holds costs that were measured"):
            check_replaceable(bundle, False)
    else:
        check_replaceable(bundle, False)
    check_replaceable(bundle, True)


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BundleError, match="a file of that name is in the way"):
        check_replaceable(tmp_path / "b", True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch, overwrite):
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path, Path("gone", "..")):
        with pytest.raises(BundleError, match="it is the folder that you are in; give the bundle a name"):
            check_replaceable(Path(name), overwrite)
