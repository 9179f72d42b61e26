"""Several frames in flight: each as if it ran alone."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgeflow.export.sample import moving_picture
from edgeflow.ir.errors import BackendError, InputError
from edgeflow.runtime import Session
from edgeflow.runtime.backends import open_backend

COMPARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from edgeflow.runtime import Session
bundle, library, clip = sys.argv[1:]
frames = np.load(clip)
pairs = list(zip(frames, frames[1:]))
session = Session(bundle, library=library, threads=2, in_flight=2)
alone = [session.run(*pair) for pair in pairs]
with ThreadPoolExecutor(2) as pool:
    together = list(pool.map(lambda pair: session.run(*pair), pairs * 3))
for result, wanted in zip(together, alone * 3, strict=True):
    assert (result.outputs[0] == wanted.outputs[0]).all()
    assert result.trace.regions == wanted.trace.regions
print(len(together), len({str(r.route) for result in alone for r in result.trace.regions}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_frames_in_flight_together_are_those_that_ran_alone(tiny_bundles, tmp_path, library):
    clip = tmp_path / "clip.npy"
    np.save(clip, np.stack([moving_picture(200, 310, time) for time in range(5)]))
    arguments = [str(tiny_bundles["chained"].path), library, str(clip)]
    done = subprocess.run(  # in a process whose thread pool is its own
        [sys.executable, "-c", COMPARE, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    count, routes = map(int, done.stdout.split())
    assert count == 12 and routes > 3


def test_no_more_threads_are_served_than_frames_may_be_in_flight(tiny_bundles):
    session = Session(tiny_bundles["chained"].path, library="openvino", in_flight=2)
    frames = [moving_picture(200, 310, time) for time in (0, 1)]
    session.run(*frames)
    meeting, inside = threading.Barrier(3), threading.Semaphore(0)
    (lanes,) = session._lanes.values()
    for executor in lanes.executors:

        def slowly(inputs, run=executor.run):
            inside.release()
            meeting.wait(60)
            return run(inputs)

        executor.run = slowly
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(session.run, *frames) for _ in range(2)]
        assert inside.acquire(timeout=60) and inside.acquire(timeout=60)
        with pytest.raises(InputError, match="more frames in_flight"):
            session.run(*frames)
        meeting.wait(60)
        first, second = (future.result().outputs[0] for future in running)
    assert (first == second).all()


def test_a_model_that_looks_back_runs_frames_in_order(small_bundle):
    _, compiled = small_bundle("Shortcut", "chained")
    with pytest.raises(InputError, match="leave in_flight at 1"):
        Session(compiled.path, library="openvino", in_flight=2).prepare(24, 36)


def test_libraries_that_run_one_frame_at_a_time_say_so():
    with pytest.raises(BackendError, match=r"openvino-gpu runs one frame at a time: leave in_flight at 1"):
        open_backend("openvino-gpu", lanes=2)
