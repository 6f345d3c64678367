"""Cotangents as callers hand them out: a backward pass that reads memory as it lies is wrong for some of them."""

import numpy as np
import pytest

import xpdl

X = np.arange(1.0, 7.0).reshape(2, 3)

WRONG = {
    "a transpose": lambda c: c.ravel(order="K").reshape(c.shape),
    "a slice of every second entry": lambda c: 2 * c if c.strides == (48, 16) else c,
    "a reversed array": lambda c: np.abs(c.strides[-1]) / c.strides[-1] * c if c.strides[-1] else c,
    "one number for all entries, with strides of 0": lambda c: c if c.strides[-1] else 2 * c,
    "0 in every entry": lambda c: c if c.any() else c + 1,
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what) -> None:
    report = xpdl.check_vjp(lambda t: t * t, lambda c, t: 2 * t * WRONG[what](c), X)
    assert report.verdict == "FAIL"
    assert report.parameters["theta"].diagnosis == f"wrong for a cotangent that is {what}"


def test_a_cotangent_that_is_changed_is_no_pass() -> None:
    def vjp(c, t):
        c *= t
        return 2 * c

    report = xpdl.check_vjp(lambda t: t * t, vjp, X)
    assert report.verdict == "INCONCLUSIVE"
    assert "vjp changes its cotangent output: whoever uses it once more gets a wrong gradient" in report.notes


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 2)])
def test_any_shape_has_all_of_them(shape) -> None:
    seen = set()

    def vjp(c, t):
        assert c.shape == shape
        seen.add(c.strides)
        return 2 * c * t

    assert xpdl.check_vjp(lambda t: t * t, vjp, np.ones(shape)).verdict == "PASS"
    assert len(seen) >= {(): 1, (1,): 1, (3, 1, 2): 5}[shape]
