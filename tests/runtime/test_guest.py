"""edgeflow is a guest in its user's process: other sessions, other thread counts, forks and pools of threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeflow.export.sample import moving_picture
from edgeflow.runtime import Session

FRAMES = [moving_picture(96, 128, time) for time in (0, 1)]

BESIDE = """
import sys
import numpy as np
import onnxruntime as ort
from edgeflow.runtime import Session

bundle, model, library = sys.argv[1:]
def theirs():
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])
def answers(session):
    return session.run(None, {"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]
frame = np.zeros((96, 128, 3), np.uint8)
before = theirs()
ours = Session(bundle, library=library, threads=2)
first = ours(frame, frame)
after = theirs()
other = Session(bundle, library=library, threads=1, in_flight=3)
assert (other(frame, frame) == first).all() and (ours(frame, frame) == first).all()
assert answers(before) and answers(after)
print("all ran")
"""

FORKED = """
import os, sys
import numpy as np
from edgeflow.ir.errors import InputError
from edgeflow.runtime import Session

bundle, library, parent_runs = sys.argv[1:]
frame = np.zeros((96, 128, 3), np.uint8)
session = Session(bundle, library=library)
if parent_runs == "yes":
    session(frame, frame)
child = os.fork()
if child == 0:
    try:
        session(frame, frame)
    except InputError as error:
        os._exit(0 if "forked" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
session(frame, frame)
print("all ran")
"""


def ran(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip() == "all ran", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_sessions_of_other_code_and_of_unlike_threads_run_beside_ours(tiny_bundles, tmp_path, library):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, tmp_path / "relu.onnx")
    passed, why = ran(BESIDE, tiny_bundles["chained"].path, tmp_path / "relu.onnx", library)
    assert passed, why


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("parent_runs", ["yes", "no"])
def test_a_forked_session_is_refused_and_its_parent_goes_on(tiny_bundles, library, parent_runs):
    passed, why = ran(FORKED, tiny_bundles["chained"].path, library, parent_runs)
    assert passed, why


@pytest.mark.slow
@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_sessions_run_in_a_pool_of_threads_one_each(tiny_bundles, library):
    wanted = Session(tiny_bundles["chained"].path, library=library)(*FRAMES)
    with ThreadPoolExecutor(3) as pool:
        made = list(
            pool.map(lambda _: Session(tiny_bundles["chained"].path, library=library)(*FRAMES), range(6))
        )
    assert all(np.array_equal(picture, wanted) for picture in made)
