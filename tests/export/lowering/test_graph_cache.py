"""What is kept between exports: whole or not at all, within bounds, and never in an export's way."""

import os
import threading

import pytest

from edgeflow.export.lowering.graph_cache import GraphCache


def test_what_was_put_is_found_by_another_process_of_the_folder(tmp_path):
    GraphCache(tmp_path / "new").put("a" * 64, b"graph")
    assert GraphCache(tmp_path / "new").get("a" * 64) == b"graph"
    assert GraphCache(tmp_path / "new").get("b" * 64) is None


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:-1], lambda d: b"", lambda d: d[:40] + b"!" + d[41:], lambda d: d * 2]
)
def test_a_spoiled_file_is_missing(tmp_path, spoil):
    GraphCache(tmp_path).put("key", b"0123456789")
    file = tmp_path / "key"
    file.write_bytes(spoil(file.read_bytes()))
    assert GraphCache(tmp_path).get("key") is None
    GraphCache(tmp_path).put("key", b"0123456789")
    assert GraphCache(tmp_path).get("key") == b"0123456789"


def test_a_file_under_another_name_is_missing(tmp_path):
    GraphCache(tmp_path).put("one", b"graph")
    (tmp_path / "one").rename(tmp_path / "other")
    assert GraphCache(tmp_path).get("other") is None


def test_those_used_longest_ago_go_first(tmp_path):
    cache = GraphCache(tmp_path, bound=350)
    for age, key in enumerate("abc"):
        cache.put(key, bytes(68))
        os.utime(tmp_path / key, (age, age))
    assert GraphCache(tmp_path).get("a")  # used just now
    cache.put("d", bytes(68))
    assert {file.name for file in tmp_path.iterdir()} == {"a", "c", "d"}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = GraphCache(tmp_path / "file")
    cache.put("key", b"graph")
    assert cache.get("key") == b"graph"
    assert GraphCache(tmp_path / "file").get("key") is None


def test_exports_at_once_share_a_folder(tmp_path):
    wrong = []

    def work(number):
        for turn in range(30):
            cache, key = GraphCache(tmp_path, bound=2000), f"{turn % 7}"
            cache.put(key, key.encode() * 500)
            found = GraphCache(tmp_path).get(key)  # another may have removed it
            wrong.extend([found] if found not in (None, key.encode() * 500) else [])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
