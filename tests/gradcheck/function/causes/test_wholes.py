"""Causes of a whole tensor: the factors that have a meaning, and their words."""

import cmath
import math

import numpy as np
import pytest

from xpdl.gradcheck.function.causes import diagnose
from xpdl.gradcheck.function.causes.evidence import Number
from xpdl.gradcheck.function.causes.wholes import (
    CARRIES,
    FUNCTIONS,
    SYMMETRIES,
    functions_of_theta,
    inverse,
    lengths,
    products,
    times,
)

G = np.random.default_rng(3).standard_normal((3, 4))


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (3, "3 x the numeric gradient: the length of axis 0 is 3"),
        (1 / 4, "0.25 x the numeric gradient: 1 / 4, the length of axis 1 is 4"),
        (12, "12 x the numeric gradient: the number of entries is 12"),
        (7, "7 x the numeric gradient: the length of axis 0 of x is 7"),
        (7**0.5, "2.645751 x the numeric gradient: the root of 7, the length of axis 0 of x"),
        (32, "32 x the numeric gradient: a sum instead of a mean over 32?"),
        (1 / 32, "0.03125 x the numeric gradient: divided by 32 once too often?"),
        (32.01, "32.01 x the numeric gradient"),
        (2.001, "2.001 x the numeric gradient"),
        (1 + 1e-9, "1 + 1.0e-09 times the numeric gradient"),
        (-1.5, "-1.5 x the numeric gradient"),
    ],
)
def test_a_factor_has_a_meaning_if_it_is_exact(evidence, factor, said) -> None:
    assert diagnose(evidence(factor * G, G, exact=1e-11, others={"x": np.zeros((7, 5))})) == said


def test_a_factor_is_told_from_1() -> None:
    assert times(Number(1 - 3e-8, 1e-12)) == "1 - 3.0e-08 times the numeric gradient"
    assert times(inverse(Number(0.0, 1.0))) == "inf x the numeric gradient"
    assert str(inverse(Number(1e-320, 1e-330))) != ""
    assert inverse(Number(-4.0, 0.1)) == pytest.approx((-0.25, 0.1 / 16))


def test_axes_of_the_same_length_are_named_together(evidence) -> None:
    found = evidence(np.zeros((4, 4, 2)), np.zeros((4, 4, 2)), others={"x": np.zeros((9, 4))})
    assert lengths(found) == {
        4: "the length of axis 0 or axis 1 or axis 1 of x",
        2: "the length of axis 2",
        16: "the length of axes 0 and 1",
        8: "the length of axes 0 and 2 or axes 1 and 2",
        9: "the length of axis 0 of x",
        32: "the number of entries",
    }


@pytest.mark.parametrize("text", SYMMETRIES)
def test_a_symmetry_repairs_its_own_repair_no_further(text) -> None:
    """Where a matrix is as it must be, nothing changes; "diagonal" and "g + g^T" are no projections."""
    g = np.random.default_rng(0).standard_normal((2, 4, 4))
    repaired = SYMMETRIES[text](g)
    assert repaired.shape == g.shape
    assert not np.allclose(repaired, g)
    for single, whole in zip(g, repaired, strict=True):
        np.testing.assert_allclose(SYMMETRIES[text](single), whole)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_carry_undoes_the_opposite_one(axis) -> None:
    later, earlier, not_later, not_earlier = CARRIES.values()
    np.testing.assert_allclose(not_later(later(G, axis), axis), G)
    np.testing.assert_allclose(not_earlier(earlier(G, axis), axis), G)


def test_functions_of_theta_are_vectorised_and_not_tried_in_tensors_of_more_than_20000_entries(evidence) -> None:
    theta = np.array([[0.5, -1.5], [2.0, 0.1]])
    for name, function in FUNCTIONS.items():
        with np.errstate(all="ignore"):
            assert (function(theta).shape, function(theta).dtype) == (theta.shape, np.float64), name
    with np.errstate(all="ignore"):
        assert len(list(functions_of_theta(evidence(G, G)))) == len(FUNCTIONS) * (len(FUNCTIONS) - 1)
        for n, tried in ((20_000, True), (20_001, False)):
            assert any(functions_of_theta(evidence(np.ones(n), np.ones(n)))) is tried


def test_functions_of_theta_are_what_they_are_called() -> None:
    sigma, phi, cumulative = (
        1 / (1 + math.exp(-0.5)),
        math.exp(-0.125) / math.sqrt(2 * math.pi),
        math.erfc(-math.sqrt(1 / 8)) / 2,
    )
    t = 0.5 + 1e-20j
    tanh_form = t * (1 + cmath.tanh(math.sqrt(2 / math.pi) * (t + 0.044715 * t**3))) / 2  # Hendrycks & Gimpel 2016
    at_half = {
        "1": 1, "t": 0.5, "sigma(t)": sigma, "sigma'(t)": sigma - sigma**2, "tanh(t)": math.tanh(0.5),
        "tanh'(t)": 1 / math.cosh(0.5) ** 2, "t^2": 0.25, "t^3": 0.125, "1 / t": 2, "|t|": 0.5, "sign(t)": 1,
        "exp(t)": math.exp(0.5), "log(t)": -math.log(2), "sin(t)": math.sin(0.5), "cos(t)": math.cos(0.5),
        "-sin(t)": math.sin(-0.5), "1 - t^2": 0.75, "t (1 - t)": 0.25, "Phi(t)": cumulative, "phi(t)": phi,
        "gelu'(t)": cumulative + phi / 2, "silu'(t)": sigma + (sigma - sigma**2) / 2,
        "log(1 + exp(t))": math.log1p(math.exp(0.5)), "sigma(t) (1 + sigma(t))": sigma + sigma**2,
        "1 - tanh(t)": 1 - math.tanh(0.5), "1 + tanh(t)^2": 1 + math.tanh(0.5) ** 2, "1 / t^2": 4,
        "gelu(t)": cumulative / 2, "silu(t)": sigma / 2, "gelu'(t) of its tanh form": tanh_form.imag / 1e-20,
    }  # fmt: skip
    assert {name: function(np.array(0.5)) for name, function in FUNCTIONS.items()} == pytest.approx(at_half)
    assert [FUNCTIONS[name](np.array(-0.5)) for name in ("|t|", "sign(t)")] == [0.5, -1]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (Number(1 + 4e-7, 1e-12), "1 + 4.0e-07 times the numeric gradient"),
        (Number(1 + 6e-7, 1e-12), "1.000001 x the numeric gradient"),
        (Number(5e5, 1e-3), "500000 x the numeric gradient: a sum instead of a mean over 500000?"),
        (Number(2e6, 1e-3), "2000000 x the numeric gradient"),
        (Number(32, 1e-4), "32 x the numeric gradient: a sum instead of a mean over 32?"),
        (Number(32, 1e-3), "32 x the numeric gradient"),
        (Number(2, 1e-9), "2 x the numeric gradient"),
    ],
)
def test_a_factor_is_told_from_1_and_may_be_a_number_of_terms(number, said) -> None:
    assert times(number) == said


@pytest.mark.parametrize(("condition", "count"), [(5e3, 2), (2e4, 0)])
def test_a_product_is_not_undone_with_a_matrix_that_is_nearly_singular(condition, count, evidence) -> None:
    found = evidence(G[:, :2], G[:, :2], values={"w": np.diag([1.0, condition])})
    assert len(list(products(found))) == count
