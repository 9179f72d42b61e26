"""`edgeflow watch` on a real clip, where there is no terminal."""

import pytest


@pytest.fixture(scope="module")
def bundle(tiny_bundles):
    return tiny_bundles["chained"].path


def test_lines_of_a_stream(edgeflow, bundle, clip):
    said = edgeflow("watch", bundle, clip, "--frames", "5", "--fix", "exit=2")
    assert said.code == 0
    last = said.out.splitlines()[-1]
    assert last.startswith("call 4: ") and "exit 2 100%" in last and "memory" in last


def test_the_share_within_a_budget(edgeflow, bundle, clip):
    said = edgeflow("watch", bundle, clip, "--frames", "4", "--policy", "budget", "--budget-ms", "60000")
    assert said.code == 0 and "100% within the budget" in said.out


@pytest.mark.slow
def test_what_cannot_be_watched(edgeflow, bundle, tmp_path):
    said = edgeflow("watch", bundle, tmp_path / "none.mp4")
    assert said.code == 1 and "no such file" in said.err
    said = edgeflow("watch", bundle, tmp_path / "none.mp4", "--budget-ms", "5")
    assert said.code == 1 and "--policy budget" in said.err
    said = edgeflow("watch", bundle, "tcp://127.0.0.1:9")
    assert said.code == 1 and "check the address" in said.err and said.err.count("\n") == 1
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "b.mp4").touch()
    said = edgeflow("watch", bundle, tmp_path / "films")
    assert said.code == 1 and "a folder of films" in said.err and "films/b.mp4" in said.err


def test_a_film_of_one_frame(edgeflow, bundle, clip):
    said = edgeflow("watch", bundle, clip, "--frames", "1")
    assert said.code == 1 and "too few frames for a call, which reads 2" in " ".join(said.err.split())
