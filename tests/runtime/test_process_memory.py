import pytest

from edgeflow.ir.errors import BackendError
from edgeflow.runtime.process_memory import check_maps, give_back


def proc(folder, held: int, most: int):
    (folder / "sys/vm").mkdir(parents=True)
    (folder / "self").mkdir()
    (folder / "sys/vm/max_map_count").write_text(f"{most}\n")
    (folder / "self/maps").write_text("7f00-7f01 rw-p 00000000 00:00 0\n" * held)
    return folder


def test_engines_are_refused_before_the_systems_limit_of_maps(tmp_path):
    with pytest.raises(BackendError, match="holds 64000 memory maps of the 65530"):
        check_maps(proc(tmp_path, 64_000, 65_530))


def test_usual_processes_pass(tmp_path):
    check_maps(proc(tmp_path / "a", 500, 65_530))
    check_maps()
    check_maps(tmp_path / "nothing")
    give_back()
