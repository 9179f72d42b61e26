"""Which layers stay in float: their order, and how many."""

from __future__ import annotations

from math import ceil, log2

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_bundles import compile_kept
from uneven_model import Uneven

from edgeflow.export.precision.asked import Asked
from edgeflow.export.precision.calibrate import watch
from edgeflow.export.precision.float_layers import least_float, worst_first
from edgeflow.export.precision.qdq import guest_session, layers_of, quantised, ranged, scheme_of
from edgeflow.export.sample import moving_picture
from edgeflow.ir.sqnr import worst_sqnr_db
from edgeflow.runtime import open_bundle
from edgeflow.targets import load


@given(st.integers(0, 70), st.integers(1, 80))
def test_no_more_layers_than_needed_by_few_attempts(total, needed):
    tried = []

    def attempt(kept):
        tried.append(tuple(kept))
        return len(kept) if len(kept) >= needed else None

    assert least_float(range(total), attempt) == (needed if needed < total else None)
    assert all(kept == tuple(range(len(kept))) and 0 < len(kept) < total for kept in tried)
    assert len(tried) <= ceil(log2(max(total, 1)))


@given(st.lists(st.booleans(), min_size=1))
def test_only_what_passed_is_taken(passing):
    found = least_float(range(len(passing)), lambda kept: len(kept) if passing[len(kept)] else None)
    assert found is None or passing[found]


@pytest.mark.parametrize("library", ["onnxruntime", "tensorrt"])
def test_layers_are_in_the_order_of_what_each_alone_costs(tmp_path, library):
    frames = [moving_picture(16, 24, time) for time in range(4)]
    made = compile_kept(Uneven().eval(), load("cpu"), tmp_path / "u.edgeflow", reference={}, frames=frames)
    bundle = open_bundle(made.path)
    ((name, entry),) = bundle.manifest.graphs.items()
    seen = watch(bundle, frames, {name})[name]
    inputs = [port.tensor for port in seen.inputs]
    source = ranged(onnx.load(bundle.path / entry.file), inputs, seen.rows)
    scheme = scheme_of(library)

    def alone(layer):
        session = guest_session(quantised(source, [layer], scheme).SerializeToString())
        outputs = [port.tensor for port in seen.outputs]
        rows = [session.run(outputs, dict(zip(inputs, row, strict=True))) for row in seen.rows]
        return worst_sqnr_db(rows, seen.wanted)

    order = worst_first(source, seen, scheme, Asked())
    assert "uneven" in order[0] and sorted(order) == sorted(layers_of(source.graph))
    costs = [alone(layer) for layer in order]
    assert all(np.diff(costs) > -0.3), costs  # built apart, within rounding
