import os

import pytest

from edgeflow.ir.errors import VideoError
from edgeflow.runtime.video.writing.destination import check_destination


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "in.mp4"
    path.write_bytes(b"film")
    return path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_film_is_never_written_over_its_source(film, link, overwrite):
    other = film.with_name("other.mp4")
    link(film, other)
    for place in (film, str(film), other, film.parent / "." / film.name):
        with pytest.raises(VideoError, match="is the video that is read"):
            check_destination(film, place, overwrite)


def test_another_film_goes_only_if_that_is_wanted(film, tmp_path):
    old = tmp_path / "old.mp4"
    check_destination(film, old, False)
    old.write_bytes(b"old")
    for source in (film, "-"):
        with pytest.raises(VideoError, match=r"old\.mp4 exists: .* --overwrite"):
            check_destination(source, old, False)
        check_destination(source, old, True)


@pytest.mark.parametrize("place", ["-", "/dev/null"])
def test_streams_and_devices_hold_nothing_to_lose(film, place):
    check_destination(film, place, False)
