"""Streams of frames through a running Triton server: throughput and latency by how many come at a time.

    edgeflow export rife --format triton -o repository && tritonserver --model-repository repository
    pip install 'tritonclient[grpc]'
    python benchmarks/triton_streams.py rife --size 640x360 --streams 1,4,8

Every stream is a thread that sends its next frame when the last one's pictures are there.
"""

from __future__ import annotations

import threading
from time import perf_counter

import numpy as np
import tritonclient.grpc as triton
import typer
from records import record, save

from edgeflow.export.sample import moving_picture

KEY = ("model", "size", "streams", "frames")


def main(
    model: str,
    size: str = "640x360",
    streams: str = "1,4,8",
    frames: int = 30,
    address: str = "127.0.0.1:8001",
) -> None:
    """Measure and save results/triton_streams.json."""
    width, height = map(int, size.split("x"))
    film = [np.ascontiguousarray(moving_picture(height, width, time)) for time in range(frames)]
    records = []
    for count in map(int, streams.split(",")):
        _load(address, model, film[:3], 1)  # loads the engines
        seconds, latencies = _load(address, model, film, count)
        found = {
            "frames_per_second": round(count * frames / seconds, 1),
            "p50_ms": round(float(np.percentile(latencies, 50)), 1),
            "p99_ms": round(float(np.percentile(latencies, 99)), 1),
        }
        print(model, size, count, found, flush=True)
        records.append(record(model=model, size=size, streams=count, frames=frames, **found))
    save("triton_streams", records, KEY)


def _load(address: str, model: str, film: list[np.ndarray], count: int) -> tuple[float, list[float]]:
    """Seconds that so many streams took, and milliseconds of every request."""
    latencies: list[float] = []

    def stream(number: int) -> None:
        client = triton.InferenceServerClient(address)
        for place, frame in enumerate(film):
            given = triton.InferInput("FRAME", [1, *frame.shape], "UINT8")
            given.set_data_from_numpy(frame[None])
            start = perf_counter()
            ends = {"sequence_start": place == 0, "sequence_end": place == len(film) - 1}
            client.infer(model, [given], sequence_id=number + 1, **ends)
            latencies.append((perf_counter() - start) * 1e3)

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(count)]
    start = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return perf_counter() - start, latencies


if __name__ == "__main__":
    typer.run(main)
