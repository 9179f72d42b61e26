"""A double of the CUDA runtime whose device is the host: memory is malloc's, streams are queues.

Copies are enqueued like everything else and run when somebody waits, so that a missing wait shows.
"""

from __future__ import annotations

import ctypes
from time import perf_counter

from edgeflow.ir.errors import BackendError


class HostCudart:
    """What `edgeflow.targets.cudart.Cudart` offers."""

    version = driver = "12.6"
    compute_capability = "8.7"
    name = "a double"

    def __init__(self, streams, integrated=False, total=8 << 30):
        self.streams, self.integrated, self.total = streams, integrated, total
        self.blocks, self.launches, self.copies = {}, 0, 0
        self.captures = self.taken = self._made = 0
        self.graphs, self.events, self.live_streams = {}, {}, set()

    def memory(self):
        return self.total - sum(len(block) for block in self.blocks.values()), self.total

    def malloc(self, size):
        if size > self.memory()[0]:
            raise BackendError(
                "CUDA: cudaMalloc failed: out of memory (2); close other programs that use the GPU"
            )
        self.taken += 1
        block = ctypes.create_string_buffer(size + 256)
        address = (ctypes.addressof(block) + 255) // 256 * 256
        self.blocks[address] = block
        return address

    def free(self, address):
        del self.blocks[address]

    host_alloc, free_host = malloc, free

    def device_address(self, host):
        return host

    def copy(self, target, source, size, kind, stream):
        self.copies += 1
        self.streams.enqueue(stream, lambda: ctypes.memmove(target, source, size))

    def copy_2d(self, target, target_pitch, source, source_pitch, width, height, kind, stream):
        assert width <= min(target_pitch, source_pitch)
        self.copies += 1

        def work():
            for row in range(height):
                ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)

        self.streams.enqueue(stream, work)

    def stream(self):
        self.live_streams.add(number := self._next() + 76)
        return number

    def _next(self):
        self._made += 1
        return self._made

    def free_stream(self, stream):
        self.streams.run(stream)
        self.live_streams.remove(stream)

    def event(self):
        self.events[number := self._next()] = None
        return number

    def record(self, event, stream):
        self.events[event] = None
        self.streams.enqueue(stream, lambda: self.events.update({event: perf_counter()}))

    def elapsed_ms(self, start, end):
        return (self.events[end] - self.events[start]) * 1e3

    def free_event(self, event):
        del self.events[event]

    def synchronise(self, stream):
        self.streams.run(stream)

    def begin_capture(self, stream):
        self.streams.recording[stream] = []

    def end_capture(self, stream):
        self.captures += 1
        self.graphs[number := self._next()] = self.streams.recording.pop(stream)
        return number

    def drop_capture(self, stream):
        self.streams.recording.pop(stream, None)

    def launch(self, graph, stream):
        self.launches += 1
        for work in self.graphs[graph]:
            self.streams.enqueue(stream, work)

    def free_graph(self, graph):
        del self.graphs[graph]
