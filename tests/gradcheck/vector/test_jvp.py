"""check_jvp: forward passes of small inputs, entry by entry, and of large ones along random tangents."""

import numpy as np
import pytest

import xpdl


def test_a_right_forward_pass(layer) -> None:
    report = xpdl.check_jvp(layer.forward, layer.tangent, *layer.point)
    assert report.verdict == "PASS", str(report)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("factor", [1 + 1e-6, -1.0, 0.0])
def test_the_wrong_argument_is_named(place, factor, layer) -> None:
    def tangent(tangents, *args):
        return layer.tangent([t * factor if k == place else t for k, t in enumerate(tangents)], *args)

    report = xpdl.check_jvp(layer.forward, tangent, *layer.point)
    assert [name for name, p in report.parameters.items() if p.verdict == "FAIL"] == [f"args[{place}]"]


@pytest.mark.parametrize("n", [5, 300])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_small_and_large_inputs(n, dtype) -> None:
    """One entry of many that is wrong by a hundredth is found, whether entries or tangents are judged."""
    x = np.random.default_rng(0).uniform(1, 2, n).astype(dtype)

    def jvp(t, x, factor=1.0):
        weights = np.ones_like(x)
        weights[n // 2] = factor
        return 2 * x * t * weights

    assert xpdl.check_jvp(np.square, jvp, x).verdict == "PASS"
    report = xpdl.check_jvp(np.square, lambda t, x: jvp(t, x, 1.01), x)
    assert report.verdict == "FAIL"
    if n == 5:
        assert report.parameters["theta"].worst.index == (2,)


def test_a_constant_has_no_tangent() -> None:
    def jvp(tangents, x, k, name):
        assert tangents[1:] == (None, None)
        return k * x ** (k - 1) * tangents[0]

    assert xpdl.check_jvp(lambda x, k, name: x**k, jvp, np.array([1.0, 2.0]), 3, "cube").verdict == "PASS"


def test_hessian_vector_products() -> None:
    """A gradient is a vector function; its forward pass multiplies its Hessian with a vector."""
    a = np.random.default_rng(0).standard_normal((4, 4))

    def gradient(x):  # of x' a x / 2
        return (a + a.T) @ x / 2

    x = np.ones(4)
    assert xpdl.check_jvp(gradient, lambda v, x: (a + a.T) @ v / 2, x).verdict == "PASS"
    assert xpdl.check_jvp(gradient, lambda v, x: a @ v, x).verdict == "FAIL"


def test_jvp_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="jvp must be a function of tangents and the arguments, got 3"):
        xpdl.check_jvp(np.sin, 3, np.ones(2))
