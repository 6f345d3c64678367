"""Quantities: what is wrong is named, there and nowhere else, and what rounding does is not."""

from itertools import product
import math

import numpy as np
import pytest

from xpdl import Activation
from xpdl.backends import backend
from xpdl.gradcheck.parity import check_backends
from xpdl.gradcheck.parity.quantities import Comparison, compare_backward, compare_forward, compute, judged
from xpdl.gradcheck.problem import Problem

PRODUCTS = ["z1", "z2", "z3", "dw3", "da2", "dw2", "da1", "dw1"]
"""In the order of computation."""


@pytest.mark.parametrize(("place", "dtype"), list(product(range(8), ["float32", "float64"])))
def test_one_wrong_entry_of_a_product_is_named(place, dtype, small, faulty) -> None:
    def fault(given, right, call):
        if call == place:
            right[1, 2] *= 1.01
        return right

    (net, theta, x, y), masks = small()
    report = check_backends(net, theta, x, y, masks=masks, dtype=dtype, backends=["numpy", faulty("matmul", fault)])
    result = report.backends["faulty"]
    assert not report
    assert result.diverging == [PRODUCTS[place]]
    assert (result.quantities[result.first].worst.index, result.quantities[result.first].failing) == ((1, 2), 1)
    assert report.backends["numpy"].verdict == "PASS"


@pytest.mark.parametrize("place", [3, 5])
def test_a_transposed_dw_is_named(place, small, faulty) -> None:
    fault = lambda given, right, call: right.T.copy() if call == place else right  # noqa: E731
    arguments, _ = small(sizes=(5, 5, 3, 3))
    assert check_backends(*arguments, backends=[faulty("matmul", fault)]).backends["faulty"].diverging == [
        PRODUCTS[place]
    ]


@pytest.mark.parametrize(("call", "named"), [(0, "x2"), (1, "x3")])
def test_a_mask_that_is_dropped_is_named(call, named, small, faulty) -> None:
    fault = lambda given, right, now: given[0].copy() if now == call else right  # noqa: E731
    arguments, masks = small("relu")
    result = check_backends(*arguments, masks=masks, backends=[faulty("multiply", fault)]).backends["faulty"]
    assert result.diverging == [named]


FUNCTIONS = [  # activation, operation, fault of its result, what is wrong by itself
    ("tanh", "tanh", lambda a: a * np.float32(1.001), ["a1", "a2"]),
    ("sigmoid", "tanh", lambda a: a + np.float32(1e-3), ["a1", "a2"]),
    ("relu", "maximum", lambda a: a + np.float32(1e-6), ["a1", "a2"]),
    ("relu", "greater", lambda a: ~a, ["dz2", "dz1"]),
    ("relu", "exp", lambda a: a * np.float32(1.0001), ["cost"]),  # p = exp(z - log of a sum of exp): there it cancels
    ("relu", "log", lambda a: a + np.float32(1e-4), ["cost", "dz3"]),
]


@pytest.mark.parametrize(("hidden", "operation", "change", "wrong"), FUNCTIONS)
def test_a_wrong_function_is_named(hidden, operation, change, wrong, small, faulty) -> None:
    arguments, masks = small(hidden)
    other = faulty(operation, lambda given, right, call: change(right))
    assert check_backends(*arguments, masks=masks, backends=[other]).backends["faulty"].diverging == wrong


def test_a_fault_does_not_hide_another(small, faulty) -> None:
    def fault(given, right, call):
        return right * np.float32(1.01) if call in (0, 2, 6) else right

    arguments, _ = small()
    report = check_backends(*arguments, backends=[faulty("matmul", fault)])
    assert report.backends["faulty"].diverging == ["z1", "z3", "da1"]
    assert "also wrong by themselves: z3, da1" in str(report)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_where_it_comes_up(value, small, faulty) -> None:
    def fault(given, right, call):
        if call == 1:
            right[0, 0] = value
        return right

    arguments, _ = small("relu")
    result = check_backends(*arguments, backends=[faulty("matmul", fault)]).backends["faulty"]
    assert (result.verdict, result.diverging, result.worst) == ("FAIL", ["z2"], math.inf)


def test_what_is_computed_is_loss_and_grad(small) -> None:
    (net, theta, x, y), masks = small(l2=0.1)
    x = x.astype(np.float32)
    masks = [mask.astype(np.float32) for mask in masks]
    grad = net.loss_and_grad(theta, x, y, masks)[1]
    result = check_backends(net, theta, x, y, masks=masks, backends=["numpy"]).backends["numpy"]
    for l, (dw, db) in enumerate(net.unpack(grad), 1):
        assert np.array_equal(result.quantities[f"dw{l}"].analytic, dw)
        assert np.array_equal(result.quantities[f"db{l}"].analytic, db)
    assert 0 < result.difference < 1e-6


def test_an_activation_of_your_own_is_checked(small) -> None:
    """The activations are softsign, and a hard sigmoid, which has its kinks away from 0."""
    softsign = Activation(lambda z: z / (1 + abs(z)), lambda da, z, a: da * (1 - abs(a)) * (1 - abs(a)))
    ramp = Activation(
        lambda z: (0.2 * z + 0.5) * (abs(z) < 2.5) + 1.0 * (z >= 2.5), lambda da, z, a: 0.2 * da * (abs(z) < 2.5)
    )
    for own in (softsign, ramp):
        (net, theta, x, y), masks = small(own)
        report = check_backends(net, 3 * theta, x, y, masks=masks, backends=["numpy"])
        assert report, str(report)


# Quantities by themselves


def problem(small, dtype="float64", **options):
    (net, theta, x, y), masks = small(**options)
    home = backend("numpy")
    given = Problem(net, home, theta.astype(dtype), x.astype(dtype), net.targets(theta.astype(dtype), x, y), masks)
    return given.on(home, dtype)


def test_all_quantities_come_in_the_order_of_computation(small) -> None:
    given = problem(small)
    ran = compute(given)
    forward, backward = compare_forward(given, given.x, ran), compare_backward(given, ran)
    names = [comparison.name for comparison in (*forward, *backward)]
    assert names == [
        *("x1", "z1", "a1", "x2", "z2", "a2", "x3", "z3", "cost", "dz3", "dw3", "db3"),
        *("da2", "dz2", "dw2", "db2", "da1", "dz1", "dw1", "db1"),
    ]


def test_float64_beside_itself_is_exact_and_float32_within_its_bars(small) -> None:
    exact = problem(small, l2=0.1)
    ran = compute(exact)
    for comparison in (*compare_forward(exact, exact.x, ran), *compare_backward(exact, ran)):
        assert judged(comparison, "float64").verdict == "PASS"
        assert comparison.actual == pytest.approx(comparison.expected, rel=1e-13, abs=1e-15)
    single = problem(small, "float32", l2=0.1)
    exact = single.on(single.home, "float64")
    ran = compute(single)
    found = [judged(c, "float32") for c in (*compare_forward(exact, exact.x, ran), *compare_backward(exact, ran))]
    assert {parameter.verdict for parameter in found} == {"PASS"}
    assert max(abs(p.worst.analytic - p.worst.numeric) / p.worst.bar for p in found) > 1e-3


def test_an_error_counts_where_it_is_made_only(small) -> None:
    """z2 is computed from a wrong x2; it is right for this x2."""
    given = problem(small)
    ran = compute(given)
    layer = ran.layers[1]
    x = layer.x + 1e-3
    w, b = given.net.unpack(given.theta)[1]
    ran.layers[1] = layer._replace(x=x, z=x @ w + b)
    failing = [c.name for c in compare_forward(given, given.x, ran) if judged(c, "float64").verdict == "FAIL"]
    assert failing == ["x2", "a2"]


def test_a_quantity_is_not_to_blame_for_what_it_is_computed_from() -> None:
    actual, error = np.array([np.nan, np.inf, 1.0]), np.ones(3)
    assert judged(Comparison("z1", actual, np.array([np.nan, np.inf, 1.0]), error), "float64").verdict == "PASS"
    assert judged(Comparison("z1", actual, np.array([0.0, np.inf, 1.0]), error), "float64").failing == 1
    tiny = np.array([1e-40, 1.0])
    assert judged(Comparison("a1", np.array([0.0, 1.0]), tiny, np.zeros(2)), "float32").verdict == "PASS"
