"""Makes whole pictures of interlaced ones, by FFmpeg's bwdif."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.filter import Graph
from av.video.frame import VideoFrame


class Deinterlacer:
    """Takes pictures of two fields each, gives as many whole ones."""

    def __init__(self) -> None:
        self._graph: Graph | None = None

    def push(self, picture: VideoFrame) -> Iterator[VideoFrame]:
        """One more picture, and those that are whole with it."""
        if self._graph is None:
            self._graph = Graph()
            source = self._graph.add_buffer(
                width=picture.width,
                height=picture.height,
                format=picture.format,
                time_base=picture.time_base,
            )
            self._graph.link_nodes(
                source,
                self._graph.add("bwdif", "mode=send_frame:deint=interlaced"),
                self._graph.add("buffersink"),
            ).configure()
        self._graph.push(picture)
        yield from self._ready()

    def rest(self) -> Iterator[VideoFrame]:
        """What is left when the film has ended."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _ready(self) -> Iterator[VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                picture = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            yield picture
