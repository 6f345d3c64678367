"""What rounding may change, and what it may not."""

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.vector.rounding import Rounding

T = np.array([1.0, 2.0, -3.0])


@pytest.mark.parametrize(("dtype", "part"), [("float64", 2.0**-20), ("float32", 2.0**-11)])
def test_a_small_part_of_the_largest_entry_is_rounding(dtype, part) -> None:
    rounding = Rounding(xpdl.check_gradient(lambda t: (t**2).sum(), lambda t: 2 * t, T, dtype=dtype), {"theta": T})
    for factor, same in ((0.5, True), (3.0, False)):
        found = 2 * T
        found[0] += factor * part * 6
        assert rounding.same("theta", 2 * T, found) is same
    assert not rounding.same("theta", 2 * T, T * np.nan)


def test_error_bars_are_rounding_where_all_is_0() -> None:
    report = xpdl.check_gradient(lambda t: (t - t.mean()).sum(), lambda t: 0 * t, T)
    rounding = Rounding(report, {"theta": T})
    assert rounding.same("theta", 0 * T, 0 * T + 1e-17)
    assert not rounding.same("theta", 0 * T, 0 * T + 1e-6)
    assert 0 < rounding.along({"theta": T}) < 1e-6
