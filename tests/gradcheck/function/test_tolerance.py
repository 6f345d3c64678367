"""rtol: what it grants, what it does not, and what would have been said without it."""

import math

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.tolerance import Tolerance, tolerances

few = settings(max_examples=6, deadline=None, derandomize=True)


def cubes(t):
    return (t**3).sum()


def off_by(relative):
    return lambda t: 3 * t * t * (1 + relative)


def euler(steps):
    """The square of y(1), y' = -p y, by Euler's method: the gradient by another number of steps is right to 1/steps."""

    def fun(p, steps=steps):
        return ((1 - p / steps) ** (2 * steps)).sum()

    return fun, lambda p: -2 * np.exp(-2 * p)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("n", [1, 7, 300])
@given(seed=st.integers(0, 10**6), log_rtol=st.floats(-6, -2), part=st.floats(-0.9, 0.9))
@few
def test_errors_within_rtol_pass_and_larger_ones_fail(method, n, seed, log_rtol, part) -> None:
    """Within: any error of each entry of up to rtol.  Larger: all entries off by 3 rtol, or one by what is detected."""
    rtol, theta = 10.0**log_rtol, np.random.default_rng(seed).uniform(0.5, 2, n)
    errors = rtol * part * np.random.default_rng(seed + 1).uniform(-1, 1, n)
    report = check_gradient(cubes, off_by(errors), theta, method=method, rtol=rtol)
    assert report.verdict == "PASS", str(report)
    assert check_gradient(cubes, off_by(rtol * part), theta, method=method, rtol=rtol).verdict == "PASS"
    assert check_gradient(cubes, off_by(3 * rtol), theta, method=method, rtol=rtol).verdict == "FAIL"
    one = 2 * report.detects * (np.arange(n) == np.argmax(theta))
    assert check_gradient(cubes, off_by(one), theta, method=method, rtol=rtol).verdict == "FAIL"
    assert rtol < report.detects < (3 * rtol if n < 300 else 1e4 * rtol)


def test_the_report_says_what_the_verdict_is_without_it() -> None:
    fun, grad = euler(1000)
    theta = np.array([0.3, 1.0])
    assert check_gradient(fun, grad, theta).verdict == "FAIL"
    report = check_gradient(fun, grad, theta, rtol=1e-2)
    assert (report.verdict, report.detects > 1e-2) == ("PASS", True)
    assert "rtol=0.01 is part of every error bar; without it the verdict is FAIL" in report.notes
    right = check_gradient(cubes, off_by(0), theta, rtol=1e-2)
    assert "without it the verdict is PASS" in "".join(right.notes)
    assert not any("rtol" in note for note in check_gradient(cubes, off_by(0), theta).notes)
    assert check_gradient(fun, lambda p: -grad(p), theta, rtol=1e-2).verdict == "FAIL"


def test_a_small_entry_is_judged_by_its_own_size_and_a_tiny_one_by_a_part_of_the_largest() -> None:
    theta = np.ones(3)
    slopes = np.array([1.0, 1e-2, 1e-6])

    def verdict(error):
        return check_gradient(lambda t: (slopes * t).sum(), lambda t: slopes + error, theta, rtol=1e-4).verdict

    assert verdict([0.9e-4, 0, 0]) == "PASS"
    assert verdict([0, 0.9e-6, 0]) == "PASS"
    assert verdict([0, 2e-6, 0]) == "FAIL"
    assert verdict([0, 0, 0.9e-7]) == "PASS"
    assert verdict([0, 0, 2e-7]) == "FAIL"


def test_a_tolerance_does_not_depend_on_how_entries_are_split_into_tensors() -> None:
    slopes, errors = np.array([1.0, 1e-5]), np.array([0.0, 5e-8])
    together = check_gradient(lambda t: (slopes * t).sum(), lambda t: slopes + errors, np.ones(2), rtol=1e-4)
    apart = check_gradient(
        lambda p: p["a"] * slopes[0] + p["b"] * slopes[1],
        lambda p: {"a": slopes[0] + errors[0], "b": slopes[1] + errors[1]},
        {"a": 1.0, "b": 1.0},
        rtol=1e-4,
    )
    assert together.verdict == apart.verdict == "PASS"


@pytest.mark.parametrize(
    ("wrong", "error"), [(-1e-3, ValueError), (1.0, ValueError), (math.nan, ValueError), ("1", TypeError)]
)
def test_a_tolerance_is_a_number_below_1(wrong, error) -> None:
    with pytest.raises(error, match="rtol must be"):
        check_gradient(cubes, off_by(0), np.ones(2), rtol=wrong)
    with pytest.raises(ValueError, match="not possible with method 'taylor'"):
        check_gradient(cubes, off_by(0), np.ones(2), rtol=0.1, method="taylor")


def test_entries_of_a_kink_that_are_slightly_off_together_pass() -> None:
    """The maximum of four equal numbers: the claims must add up to 1, but for rtol."""
    for error, verdict in ((0.01, "PASS"), (0.2, "FAIL")):
        report = check_gradient(np.max, lambda t, e=error: np.full(4, 0.25 * (1 + e)), np.ones(4), rtol=0.02)
        assert report.verdict == verdict, str(report)


def test_what_rtol_grants_along_a_direction() -> None:
    one, all_ = np.eye(4)[0], np.ones(4)
    granted = Tolerance(rtol=0.1, smallest=1e-3, typical=2.0)
    assert granted.along(one, 5.0) == pytest.approx(0.5)
    assert granted.along(one, 0.0) == pytest.approx(1e-4)
    assert granted.along(all_, 0.0) == pytest.approx(0.1 * 8 * 2 * 2)
    entries, rows = np.array([3.0, -4.0]), np.array([10.0, -10.0])
    found = tolerances(0.1, {"small": entries, "large": rows}, {"small": 2, "large": 100})
    assert found["small"] == pytest.approx((0.1, 4e-3, 3.5))
    assert found["large"] == pytest.approx((0.1, 4e-3, 1.0))
