"""Activations against scalar formulas written with ``math``; their derivatives by complex step and by Cauchy's formula.

A new activation needs one line in ``FORMULAS``.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

import numpy as np
import pytest

from xpdl.activations import ACTIVATIONS, elu, leaky_relu

GRID = [-1e4, -800.0, -50.0, -20.0, -5.0, -1.5, -0.3, -1e-9, 0.0, 1e-9, 0.3, 1.5, 5.0, 20.0, 50.0, 800.0, 1e4]
SMOOTH = [z for z in GRID if z]  # no activation has a kink but at 0
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


class Formula(NamedTuple):
    """The textbook value, and below which size of it accuracy is absolute (0: every digit counts)."""

    value: Callable[[float], float]
    floor: Callable[[float], float] = lambda z: 0.0


def logistic(z: float) -> float:
    e = math.exp(-abs(z))
    return 1 / (1 + e) if z > 0 else e / (1 + e)


FORMULAS = {
    "identity": Formula(lambda z: z),
    "relu": Formula(lambda z: max(z, 0.0)),
    "tanh": Formula(math.tanh),
    "sigmoid": Formula(logistic, floor=lambda z: 1.0),
    "leaky_relu": Formula(lambda z: max(z, 0.01 * z)),
    "elu": Formula(lambda z: z if z > 0 else math.expm1(z)),
    "softplus": Formula(lambda z: math.log1p(math.exp(-abs(z))) + max(z, 0.0)),
    "gelu": Formula(lambda z: z * logistic(math.sqrt(8 / math.pi) * (z + 0.044715 * z**3)), floor=abs),
    "silu": Formula(lambda z: z * logistic(z), floor=abs),
}

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def expected(name, grid):
    """The formula at each point, and the size its error is measured in."""
    formula = FORMULAS[name]
    values = np.array([formula.value(z) for z in grid])
    return values, np.maximum(np.abs(values), [formula.floor(z) for z in grid])


def derivative(name, z):
    """f'(z) as the library has it."""
    f = ACTIVATIONS[name]
    return f.backward(np.ones_like(z), z, f.forward(z))


def test_every_activation_has_its_formula_here() -> None:
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@every_activation
@pytest.mark.parametrize("dtype", EPS)
def test_forward_is_the_formula_to_four_roundings(name, dtype) -> None:
    z = np.array(GRID, dtype=dtype)
    values, size = expected(name, z.tolist())
    error = np.abs(ACTIVATIONS[name].forward(z).astype(float) - values)
    assert np.all(error <= 4 * EPS[dtype] * size), dict(zip(GRID, error / EPS[dtype], strict=True))


@every_activation
def test_forward_on_every_library(lib, name) -> None:
    z = np.array(GRID, dtype=lib.dtype)
    values, size = expected(name, z.tolist())
    error = np.abs(lib.host(lib.call(ACTIVATIONS[name].forward, lib.put(z))).astype(float) - values)
    assert np.all(error <= 8 * EPS[lib.dtype] * size), dict(zip(GRID, error / EPS[lib.dtype], strict=True))


@every_activation
def test_backward_is_the_derivative_by_complex_step(name) -> None:
    z = np.array(SMOOTH)
    stepped = ACTIVATIONS[name].forward(z + 1e-100j).imag / 1e-100
    np.testing.assert_allclose(derivative(name, z), stepped, rtol=1e-14, atol=1e-14)


@every_activation
def test_backward_is_the_derivative_of_the_formula_by_central_differences(name) -> None:
    h, f = 1e-5, FORMULAS[name].value
    z = np.array([z for z in SMOOTH if 10 * h < abs(z) < 100])
    slopes = [(f(x + h) - f(x - h)) / (2 * h) for x in z.tolist()]
    np.testing.assert_allclose(derivative(name, z), slopes, rtol=0, atol=1e-9)


@every_activation
def test_backward_multiplies_by_da(lib, name) -> None:
    f, z, da = ACTIVATIONS[name], np.array(GRID), np.linspace(-2.0, 3.0, len(GRID))
    got = lib.call(lambda da, z: f.backward(da, z, f.forward(z)), lib.put(da), lib.put(z))
    lib.close(got, da * derivative(name, z))


@every_activation
@pytest.mark.parametrize("centre", [-2.0, 2.0])
def test_complex_input_is_the_analytic_function_of_its_half_plane(name, centre) -> None:
    """Cauchy: over a circle the mean of f is f(centre), of f' it is f'(centre), of f(z) / (z - centre) too."""
    f = ACTIVATIONS[name]
    offset = 0.5 * np.exp(2j * np.pi * np.arange(64) / 64)
    a = f.forward(centre + offset)
    slope = derivative(name, np.array([centre]))[0]
    assert np.mean(a) == pytest.approx(FORMULAS[name].value(centre), abs=1e-14)
    assert np.mean(a / offset) == pytest.approx(slope, abs=1e-14)
    assert np.mean(f.backward(np.ones(64), centre + offset, a)) == pytest.approx(slope, abs=1e-14)


@every_activation
def test_complex_input_on_every_library(lib, name) -> None:
    """The complex step, on the library itself."""
    f, z = ACTIVATIONS[name], np.array(SMOOTH)
    dtype = {"float64": "complex128", "float32": "complex64"}[lib.dtype]
    a = lib.host(lib.call(f.forward, lib.put(z + 1e-30j, dtype)))
    np.testing.assert_allclose(a.real, expected(name, SMOOTH)[0], rtol=lib.tolerance, atol=lib.tolerance)
    np.testing.assert_allclose(a.imag / 1e-30, derivative(name, z), rtol=lib.tolerance, atol=lib.tolerance)


@every_activation
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_dtype_is_kept(lib, name, dtype) -> None:
    """No constant widens it."""
    f = ACTIVATIONS[name]

    def both(z):
        a = f.forward(z)
        return a, f.backward(z, z, a)

    results = lib.call(both, lib.put(np.array(GRID), dtype))
    assert [str(lib.host(result).dtype) for result in results] == [dtype, dtype]


@every_activation
def test_nan_stays_visible(lib, name) -> None:
    """NaN must not turn into the 0 of a unit that is off."""
    a = lib.host(lib.call(ACTIVATIONS[name].forward, lib.put([math.nan, 1.0])))
    assert np.isnan(a).tolist() == [True, False]


@every_activation
def test_nan_from_above_passes_units_that_are_on(lib, name) -> None:
    f, z, da = ACTIVATIONS[name], lib.put([1.0, 1.0]), lib.put([math.nan, 1.0])
    dz = lib.host(lib.call(lambda da, z: f.backward(da, z, f.forward(z)), da, z))
    assert np.isnan(dz).tolist() == [True, False]


@every_activation
@pytest.mark.parametrize("dtype", EPS)
def test_derivative_is_finite_and_bounded_far_out(name, dtype) -> None:
    """From |z| = 1e4 on, every derivative is that of the asymptote: 0, 1 or the slope of leaky_relu."""
    f, far = FORMULAS[name].value, float(np.finfo(dtype).max) / 4
    with np.errstate(over="ignore"):
        slopes = derivative(name, np.array([-far, -1e4, 1e4, far], dtype=dtype))
    left, right = f(-1e4) - f(-10001.0), f(10001.0) - f(1e4)
    np.testing.assert_allclose(slopes, [left, left, right, right], rtol=0, atol=1e-6)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_has_derivative_0_at_0(lib, zero) -> None:
    f, z = ACTIVATIONS["relu"], lib.put([zero])
    assert lib.host(lib.call(lambda z: f.backward(z + 1, z, f.forward(z)), z)).tolist() == [0.0]


@pytest.mark.parametrize("z", [0.3, -2.0])
def test_alpha_is_the_slope_of_leaky_relu_and_the_depth_of_elu(z) -> None:
    point = np.array([z])
    assert leaky_relu(0.2).forward(point)[0] == pytest.approx(z if z > 0 else 0.2 * z, rel=1e-15)
    assert elu(1.5).forward(point)[0] == pytest.approx(z if z > 0 else 1.5 * math.expm1(z), rel=1e-15)
    for f in (leaky_relu(0.2), elu(1.5)):
        slope = f.backward(np.ones(1), point, f.forward(point))
        assert slope == pytest.approx(f.forward(point + 1e-100j).imag / 1e-100, rel=1e-14)


@every_activation
def test_arguments_are_left_alone(lib, name) -> None:
    f, z = ACTIVATIONS[name], lib.put(GRID)
    a = f.forward(z)
    before = [lib.host(array).tobytes() for array in (z, a)]
    f.backward(z, z, a)
    assert [lib.host(array).tobytes() for array in (z, a)] == before
