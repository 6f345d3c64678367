"""What a check detects: twice that error fails in every entry, for every function, and it is no larger than needed."""

import math

from functions import FUNCTIONS, HARD, complex_relu
from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient

few = settings(max_examples=2, deadline=None, derandomize=True)


def planted(grad, k, error):
    """The gradient with an error in one entry."""
    return lambda t: grad(t) + error * (np.arange(t.size) == k)


def entries(report, theta, grad):
    """The entries that matter, each with its size: the smallest, the largest, one between, one of 0."""
    found = report.parameters["theta"]
    claims = np.abs(grad(theta))
    size = np.where(claims, claims, np.abs(found.numeric))
    size[np.maximum(claims, np.abs(found.numeric)) <= found.bar] = 0
    size[size == 0] = np.max(size)
    order = np.argsort(size)
    return [(k, size[k]) for k in {int(order[0]), int(order[-1]), int(order[size.size // 2]), int(np.argmin(claims))}]


@pytest.mark.parametrize("options", [{}, {"method": "central"}, {"dtype": "float32"}], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9))
@few
def test_twice_what_is_detected_fails_in_every_entry(name, options, seed, n) -> None:
    fun, grad, where, *most = FUNCTIONS[name]
    theta = np.random.default_rng(seed).standard_normal(n)
    theta = theta if where is None else where(theta)
    report = check_gradient(fun, grad, theta, **options)
    if math.isnan(report.detects) and not np.any(grad(theta)):
        return
    if report.verdict != "PASS" or not math.isfinite(report.detects):
        assert most[1] == HARD or "dtype" in options, str(report)
        return
    assert "dtype" in options or report.detects < most["method" in options], str(report)
    for k, size in entries(report, theta, grad):
        for sign in (1, -1):
            wrong = check_gradient(fun, planted(grad, k, sign * 2 * report.detects * size), theta, **options)
            assert wrong.verdict == "FAIL", (
                f"{k}: {grad(theta)[k]} + {sign * 2 * report.detects * size}\n{report}\n{wrong}"
            )


LARGE = {  # name: (function, gradient, where)
    "waves": (lambda t: np.sin(t).sum(), np.cos, None),
    "a quadratic form": (lambda t: t.sum() ** 2 + (t * t).sum(), lambda t: 2 * t.sum() + 2 * t, None),
    "real": (lambda t: float((t.real**2).sum()), lambda t: 2 * t, None),
    "kinks": (
        lambda t: (complex_relu(t) * (1 + t)).sum(),
        lambda t: (t > 0) * (1 + 2 * t),
        lambda t: np.where(np.arange(t.size) % 99, t, 0),
    ),
}


@pytest.mark.parametrize("options", [{}, {"method": "central"}, {"dtype": "float32"}], ids=str)
@pytest.mark.parametrize("name", LARGE)
def test_twice_what_is_detected_fails_in_a_large_tensor(name, options, points) -> None:
    fun, grad, where = LARGE[name]
    theta = points(4, 300) if where is None else where(points(4, 300))
    report = check_gradient(fun, grad, theta, **options)
    assert report.verdict == "PASS"
    assert report.detects < (1e-5 if name != "kinks" and not options else 1e3)
    size = np.abs(grad(theta))
    smallest = int(np.argmin(np.where(size > 100 * np.min(report.parameters["theta"].bar), size, math.inf)))
    for k, sign in ((smallest, 1), (int(np.argmax(size)), -1)):
        wrong = check_gradient(fun, planted(grad, k, sign * 2 * report.detects * size[k]), theta, **options)
        assert wrong.verdict == "FAIL", f"{k}\n{report}\n{wrong}"


def test_every_tensor_says_what_it_detects_on_its_own_scale() -> None:
    theta = {"a": np.array([1.0, 2.0]), "b": np.array([1e-3]), "c": np.array([1.0])}

    def fun(p):
        return (p["a"] ** 2).sum() + 1e-3 * (p["b"] ** 2).sum()

    def grad(p):
        return {"a": 2 * p["a"], "b": 2e-3 * p["b"], "c": 0 * p["c"]}

    report = check_gradient(fun, grad, theta)
    assert max(report.parameters[name].detects for name in "ab") == report.detects < 1e-9
    assert math.isnan(report.parameters["c"].detects)
    assert check_gradient(fun, grad, theta, method="central").parameters["b"].detects > 1e-4


def test_a_kink_hides_what_lies_between_its_sides() -> None:
    report = check_gradient(lambda t: complex_relu(t).sum(), lambda t: (t > 0) * 1.0, np.array([0.0, 1.0]))
    assert report.detects == pytest.approx(1.0, rel=1e-6)


def test_where_nothing_is_judged_nothing_is_detected() -> None:
    refused = check_gradient(lambda t: float(np.random.default_rng().random()), lambda t: t, np.ones(2))
    taylor = check_gradient(lambda t: (t**2).sum(), lambda t: 2 * t, np.ones(2), method="taylor")
    for report in (refused, taylor):
        assert math.isnan(report.detects)
        assert report.to_dict()["detects"] is None
        assert "detects" not in str(report).split("\n")[0]


def test_what_is_detected_costs_few_evaluations(points) -> None:
    """A glance along one direction through all entries, however many there are."""
    asked = []

    def fun(t):
        asked.append(t)
        return np.sin(t).sum()

    for n, most in ((3, 110), (50, 205), (256, 620), (2000, 130)):
        asked.clear()
        assert check_gradient(fun, np.cos, points(0, n))
        assert len(asked) <= most
