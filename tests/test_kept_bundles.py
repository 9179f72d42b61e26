"""Bundles that tests keep are taken for what they come from, and for nothing else."""

import os

import kept_bundles
import pytest
from kept_bundles import kept, trim


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setenv(kept_bundles.PLACE, str(folder))
    return folder


@pytest.fixture
def bundle(tmp_path):
    """A function that writes or takes a bundle of what it is made from; says how many were written by then."""
    made = []

    def get(name, made_from, **options):
        output = tmp_path / name

        def make():
            made.append(name)
            output.mkdir()
            (output / "graph").write_text(" ".join(made_from))
            return {"made": len(made)}

        told = kept(output, made_from, make, **options)
        assert (output / "graph").read_text() == " ".join(made_from) and told["made"] <= len(made)
        return len(made)

    return get


def test_what_comes_from_the_same_is_made_once(place, bundle):
    assert [bundle("a", ["model", "cpu"]), bundle("b", ["model", "cpu"])] == [1, 1]
    assert bundle("c", ["other model", "cpu"]) == 2
    assert bundle("d", ["model", "cpu"], code=("ir",)) == 3


def test_a_copy_may_be_written_into(place, bundle, tmp_path):
    bundle("a", ["model"])
    (tmp_path / "a" / "graph").write_text("built")
    assert bundle("b", ["model"]) == 1


def test_what_failed_is_not_kept(place, bundle, tmp_path):
    def fail():
        (tmp_path / "a").mkdir()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        kept(tmp_path / "a", ["model"], fail)
    assert bundle("b", ["model"]) == 1


def test_nothing_is_kept_without_a_place(bundle, monkeypatch):
    monkeypatch.delenv(kept_bundles.PLACE, raising=False)
    assert [bundle("a", ["model"]), bundle("b", ["model"])] == [1, 2]


def test_those_used_longest_ago_make_room(place, bundle):
    for age, name in enumerate("cba"):
        before = set(place.iterdir())
        bundle(name, [name * 100])
        (folder,) = (found for found in set(place.iterdir()) - before if found.is_dir())
        os.utime(folder, (0, 100 - age))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    trim(place, 2 * size)
    assert bundle("c again", ["c" * 100]) == 3 and bundle("a again", ["a" * 100]) == 4
    trim(place, 0)
    assert not list(place.iterdir())
