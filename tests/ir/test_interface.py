"""Declarations of what a model takes and makes say at once what is wrong with them."""

import pytest

from edgeflow.ir.errors import FlowError
from edgeflow.ir.interface import Tensor


def test_a_shape_is_sizes_and_no_number():
    assert Tensor("scores", (3,)).shape == (3,)
    with pytest.raises(FlowError, match=r"the shape of scores is 3: give its sizes as \(3,\)"):
        Tensor("scores", 3)
