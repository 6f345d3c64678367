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


def test_a_backward_pass_that_raises_for_some_cotangent_fails() -> None:
    def vjp(c, t):
        assert c.strides[-1], "strides of 0"
        return 2 * c * t

    found = xpdl.check_vjp(lambda t: t * t, vjp, X).parameters["theta"]
    said = "vjp raises AssertionError for a cotangent that is one number for all entries, with strides of 0"
    assert (found.verdict, found.diagnosis) == ("FAIL", said)


def test_outputs_may_be_empty() -> None:
    assert xpdl.check_vjp(lambda t: (t * t, t[:0]), lambda c, t: 2 * c[0] * t, X).verdict == "PASS"


def test_a_gradient_that_is_0_but_for_rounding_is_not_accused() -> None:
    """That of a bias before a mean is subtracted: its sum is another for each order of the terms."""
    x = np.random.default_rng(0).standard_normal((400, 5))

    def fun(x, b):
        return x + b - (x + b).mean(0)

    def vjp(c, x, b, more=0.0):
        dz = c - c.mean(0)
        return dz, dz.sum(0) + more * np.abs(c).max()

    assert xpdl.check_vjp(fun, vjp, x, np.ones(5)).parameters["args[1]"].verdict == "INCONCLUSIVE"
    assert xpdl.check_vjp(fun, lambda *args: vjp(*args, more=1e-8), x, np.ones(5)).verdict == "FAIL"


def test_a_second_order_leaves_the_cotangents_as_they_are() -> None:
    jnp = pytest.importorskip("jax.numpy")
    report = xpdl.check_vjp(lambda t: t * t, None, jnp.asarray([1.0, 2.0]), order=2)
    assert list(report.parameters) == ["theta", "H v of theta"]
    assert report.verdict == "PASS", str(report)
