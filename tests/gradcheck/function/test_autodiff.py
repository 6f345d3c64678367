"""The library's own derivatives: JAX here, and PyTorch where it is installed."""

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.function.autodiff import own_grad, own_jvp, own_vjp


def jax_library():
    jax = pytest.importorskip("jax")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")

    def wrong_sine(factor):
        sine = jax.custom_vjp(jax.numpy.sin)
        sine.defvjp(lambda x: (jax.numpy.sin(x), x), lambda x, c: (factor * c * jax.numpy.cos(x),))
        return sine

    return jax.numpy, jax.numpy.asarray, wrong_sine


def torch_library():
    torch = pytest.importorskip("torch")

    def wrong_sine(factor):
        class Sine(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return torch.sin(x)

            @staticmethod
            def backward(ctx, c):
                return factor * c * torch.cos(ctx.saved_tensors[0])

        return Sine.apply

    return torch, torch.as_tensor, wrong_sine


@pytest.fixture(params=[jax_library, torch_library])
def library(request):
    """(functions, array of numbers, factor -> a sine with a custom rule that is off by this factor)."""
    return request.param()


def test_gradients_products_and_tangents(library) -> None:
    xp, put, _ = library
    x = put(np.array([0.3, 1.2]))

    def fun(p, s):
        return {"y": xp.tanh(p["x"]) * s, "k": 2}

    def loss(p, s):
        return xp.sum(fun(p, s)["y"])

    point = {"x": x, "n": 3}, 2.0
    slope = 2 * (1 - np.tanh(np.array([0.3, 1.2])) ** 2)
    dp, ds = own_grad(loss)(*point)
    assert np.allclose(np.asarray(dp["x"]), slope)
    assert dp["n"] is None
    assert float(ds) == pytest.approx(np.tanh([0.3, 1.2]).sum())
    dp, _ = own_vjp(fun)({"y": put(np.array([1.0, -1.0])), "k": None}, *point)
    assert np.allclose(np.asarray(dp["x"]), slope * [1, -1])
    tangent = own_jvp(fun)(({"x": put(np.array([1.0, -1.0])), "n": None}, 0.0), *point)
    assert np.allclose(np.asarray(tangent["y"]), slope * [1, -1])
    assert tangent["k"] is None


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_one_line_checks_a_custom_rule(library, factor) -> None:
    xp, put, sine = library
    x = put(np.array([[0.3, 1.2], [0.5, -0.7]]))
    verdict = "PASS" if factor == 1 else "FAIL"
    assert xpdl.check_vjp(sine(factor), None, x).verdict == verdict
    assert xpdl.check_gradient(lambda t: xp.sum(sine(factor)(t) ** 2), None, x).verdict == verdict


def test_forward_mode(library) -> None:
    xp, put, _ = library
    assert xpdl.check_jvp(xp.tanh, None, put(np.array([0.3, 1.2]))).verdict == "PASS"


@pytest.mark.parametrize(
    ("check", "asked"), [(xpdl.check_gradient, "grad"), (xpdl.check_vjp, "vjp"), (xpdl.check_jvp, "jvp")]
)
def test_a_library_that_does_not_differentiate_is_named(check, asked) -> None:
    message = f"{asked}=None asks for the derivatives of PyTorch or JAX, and numpy has none: give {asked}"
    with pytest.raises(TypeError, match=message):
        check(np.sum, None, np.ones(2))
    with pytest.raises(TypeError, match="and the arguments are numbers"):
        check(lambda t: t * t, None, 2.0)
