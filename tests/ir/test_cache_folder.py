from pathlib import Path

from edgeflow.ir.cache_folder import cache_folder


def test_the_folder_is_the_users_to_choose(monkeypatch):
    monkeypatch.setenv("EDGEFLOW_CACHE", "/somewhere")
    assert cache_folder("graphs") == Path("/somewhere/graphs")
    monkeypatch.setenv("EDGEFLOW_CACHE", "")
    assert cache_folder("graphs") is None
    monkeypatch.delenv("EDGEFLOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder("graphs") == Path("/caches/edgeflow/graphs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("graphs") == Path("/home/somebody/.cache/edgeflow/graphs")
