"""The second order: the derivative of a gradient, as JAX and PyTorch compute it."""

import re

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.function.second_order import HessianProduct


@pytest.fixture
def xp():
    jax = pytest.importorskip("jax")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")
    return jax.numpy


def bent(jax, factor):
    """x^3 whose first derivative is right, and whose second is off by a factor."""
    slope = jax.custom_jvp(lambda x: 3 * x * x)
    slope.defjvp(lambda at, along: (slope(*at), factor * 6 * at[0] * along[0]))
    cube = jax.custom_jvp(lambda x: x**3)
    cube.defjvp(lambda at, along: (cube(*at), slope(*at) * along[0]))
    return cube


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_a_wrong_second_derivative_is_found_by_order_2(xp, factor, verdict) -> None:
    import jax

    x = xp.asarray([0.5, -1.5, 2.0])
    cube = bent(jax, factor)

    def fun(t):
        return xp.sum(cube(t)) + t[0] * t[1]

    assert xpdl.check_gradient(fun, None, x).verdict == "PASS"
    report = xpdl.check_gradient(fun, None, x, order=2)
    assert report.verdict == verdict, str(report)
    assert (report.parameters["theta"].verdict, report.parameters["H v of theta"].verdict) == ("PASS", verdict)
    assert any("a Hessian is symmetric" in note for note in report.notes)


def test_what_is_no_gradient_is_not_symmetric(xp) -> None:
    a = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    for matrix, symmetric in ((a, False), (a + a.T, True)):
        note = HessianProduct(lambda t, m=matrix: m @ t, 0).asymmetry([xp.asarray([1.0, 2.0])], None)
        there, back = map(float, re.findall(r"= ([^,;]*)", note))
        assert (abs(there - back) < 1e-9) is symmetric, note


def test_complex_arguments_and_linearity(xp) -> None:
    report = xpdl.check_gradient(lambda z: xp.sum(xp.abs(z) ** 4), None, xp.asarray([1 + 2j, 3 - 1j]), order=2)
    assert report.verdict == "PASS", str(report)
    note = next(note for note in report.notes if "a Hessian is symmetric" in note)
    there, back, apart = map(float, re.findall(r"(?:= |to )([-+.e\d]+)", note))
    assert abs(there - back) < 1e-9 * abs(there)
    assert apart < 1e-9 * abs(there)


def test_order_is_1_or_2() -> None:
    with pytest.raises(ValueError, match=r"order must be in \[1, 3\), got 3"):
        xpdl.check_gradient(np.sum, np.ones_like, np.ones(2), order=3)
