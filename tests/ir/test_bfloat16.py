"""bfloat16 as bits in uint16, against ml_dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeflow.ir.bfloat16 import BFLOAT16, from_held, held, to_held

SINGLES = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


@given(SINGLES)
def test_values_are_rounded_as_ml_dtypes_rounds_them(values):
    made = from_held(to_held(values, BFLOAT16), BFLOAT16)
    np.testing.assert_array_equal(made, values.astype(ml_dtypes.bfloat16).astype(np.float32))
    numbers = ~np.isnan(values)
    wanted = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(to_held(values, BFLOAT16)[numbers], wanted[numbers])


@given(hnp.arrays(np.uint16, st.integers(0, 40)))
def test_what_is_bfloat16_already_comes_back(bits):
    bits = bits[~np.isnan(bits.view(ml_dtypes.bfloat16))]
    np.testing.assert_array_equal(to_held(from_held(bits, BFLOAT16), BFLOAT16), bits)


def test_other_types_are_numpys_own():
    values = np.array([1.5, 300.25], np.float32)
    assert held(BFLOAT16) == np.uint16 and held("float16") == np.float16
    assert to_held(values, "float16").dtype == np.float16
    np.testing.assert_array_equal(from_held(values, "float32"), values)
