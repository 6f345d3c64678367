"""What must hold by construction, whatever the function: claims and verdicts, the bar, scales, and how it is asked."""

import math

import array_api_strict
from functions import FUNCTIONS
from hypothesis import example, given, settings, strategies as st
import numpy as np

from xpdl.gradcheck.function import check_gradient

few = settings(max_examples=10, deadline=None, derandomize=True)
many = settings(max_examples=30, deadline=None, derandomize=True)

names, methods = st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(["auto", "central"])
seeds, sizes = st.integers(0, 10**6), st.integers(1, 6)
signs = st.sampled_from([-1.0, 1.0])


def problem(name, seed, n):
    """A function of the table, its gradient and a place."""
    fun, grad, where, *_ = FUNCTIONS[name]
    theta = np.random.default_rng(seed).standard_normal(n)
    return fun, grad, theta if where is None else where(theta)


def errors(grad, theta, seed, *, several):
    """Errors of one entry or of all, of the size of the gradient."""
    draws = np.random.default_rng(seed)
    claims = np.asarray(grad(theta))
    size = np.where(claims, np.abs(claims), np.max(np.abs(claims)) or 1.0)
    return size * (
        draws.standard_normal(theta.size) if several else np.arange(theta.size) == draws.integers(theta.size)
    )


def verdict(fun, grad, theta, **options):
    return check_gradient(fun, grad, theta, **options).verdict


def wrong_by(grad, error):
    return lambda t: grad(t) + error


# The bar


@given(
    name=names, method=methods, seed=seeds, n=sizes, log_error=st.floats(-12, 3), away=st.sampled_from([1e9, math.nan])
)
@few
def test_a_bar_does_not_depend_on_how_a_claim_varies_or_how_wrong_it_is(name, method, seed, n, log_error, away):
    fun, grad, theta = problem(name, seed, n)
    error = 10.0**log_error * errors(grad, theta, seed, several=True)
    same = check_gradient(fun, wrong_by(grad, error), theta, method=method)
    jumps = check_gradient(fun, lambda t: grad(t) + np.where(t == theta, error, away), theta, method=method)
    assert jumps.to_dict()["parameters"] == same.to_dict()["parameters"]
    bars = [check_gradient(fun, wrong_by(grad, far * error), theta, method=method) for far in (1e20, 1e100)]
    assert np.array_equal(*(report.parameters["theta"].bar for report in bars))


@given(name=names, method=methods, dtype=st.sampled_from([None, "float32"]), seed=seeds, n=sizes)
@example(name="slopes", method="central", dtype=None, seed=0, n=12)
@many
def test_where_a_gradient_passes_no_entry_is_hidden(name, method, dtype, seed, n):
    """Its bar is no larger than the entry, unless this is 0 but for rounding."""
    fun, grad, theta = problem(name, seed, n)
    report = check_gradient(fun, grad, theta, method=method, dtype=dtype)
    found = report.parameters["theta"]
    size = np.maximum(np.abs(found.analytic), np.abs(found.numeric))
    zero = np.abs(found.analytic) <= 1e3 * np.finfo(report.precision).eps * np.max(size)
    assert report.verdict != "PASS" or np.all((found.bar <= size) | zero), report


@given(
    name=names,
    method=methods,
    dtype=st.sampled_from([None, "float32"]),
    seed=seeds,
    n=sizes,
    exponent=st.floats(-300, 300),
)
@many
def test_a_right_gradient_is_not_accused(name, method, dtype, seed, n, exponent):
    fun, grad, theta = problem(name, seed, n)
    c = 10.0 ** (exponent / (10 if dtype or name == "float32" else 1))
    if math.isfinite(c * abs(fun(theta))):
        right = lambda t: c * grad(t)  # noqa: E731
        report = check_gradient(lambda t: c * fun(t), right, theta, method=method, dtype=dtype, seed=seed)
        assert report.verdict != "FAIL", report


# A claim that is more wrong

FACTORS = (1.0, 3.0, 10.0, 1e3, 1e10, 1e100)


@given(
    name=names,
    method=methods,
    dtype=st.sampled_from([None, "float32"]),
    seed=seeds,
    n=sizes,
    log_error=st.floats(-12, 1),
    sign=signs,
    several=st.booleans(),
)
@few
def test_a_claim_that_is_more_wrong_does_not_fare_better(name, method, dtype, seed, n, log_error, sign, several):
    fun, grad, theta = problem(name, seed, n)
    error = sign * 10.0**log_error * errors(grad, theta, seed, several=several)
    options = {"method": method, "dtype": dtype}
    verdicts = [verdict(fun, wrong_by(grad, factor * error), theta, **options) for factor in FACTORS]
    first = (*verdicts, "FAIL").index("FAIL")
    assert set(verdicts[first:]) <= {"FAIL"}, verdicts


# How it is asked


def split(fun, grad, theta, seed):
    """The entries in two tensors."""
    k = seed % theta.size or theta.size
    joined = lambda p: np.concatenate(list(p.values()))  # noqa: E731
    parts = lambda t: {"a": t[:k], "b": t[k:]} if k < theta.size else {"a": t}  # noqa: E731
    return lambda p: fun(joined(p)), lambda p: parts(grad(joined(p))), parts(theta), {}


def with_spare(fun, grad, theta, seed):
    """A parameter nothing depends on."""
    spare = np.linspace(-1, 3, 1 + seed % 3)
    return lambda p: fun(p["t"]), lambda p: {"t": grad(p["t"]), "s": 0 * p["s"]}, {"t": theta, "s": spare}, {}


def permuted(fun, grad, theta, seed):
    order = np.random.default_rng(seed).permutation(theta.size)
    back = np.argsort(order)
    return lambda t: fun(t[back]), lambda t: grad(t[back])[order], theta[order], {}


def renamed(fun, grad, theta, seed):
    name = f"W{seed}"
    return lambda p: fun(p[name]), lambda p: {name: grad(p[name])}, {name: theta}, {}


def with_constant(fun, grad, theta, seed):
    constant = float(fun(theta)) * (seed % 3 - 1)
    return lambda t: fun(t) + constant, grad, theta, {}


def scaled(fun, grad, theta, seed):
    scale = 2.0 ** (seed % 200 - 100)
    return lambda t: scale * fun(t), lambda t: scale * grad(t), theta, {}


def elsewhere(fun, grad, theta, seed):
    """In another library."""
    host, away = np.asarray, array_api_strict.asarray
    return lambda t: fun(host(t)), lambda t: away(grad(host(t))), away(theta), {}


OTHERWISE = {  # the same question in other words: (fun, grad, theta, seed) -> fun, grad, theta, options
    "seed": lambda fun, grad, theta, seed: (fun, grad, theta, {"seed": seed}),
    "central": lambda fun, grad, theta, seed: (fun, grad, theta, {"method": "central"}),
    "order": permuted,
    "name": renamed,
    "library": elsewhere,
    "split": split,
    "spare": with_spare,
    "constant": with_constant,
    "scale": scaled,
}


@given(
    name=names,
    seed=seeds,
    n=sizes,
    error=st.one_of(st.just(0.0), st.floats(-12, 3).map(lambda x: 10.0**x)),
    sign=signs,
    several=st.booleans(),
    otherwise=st.sampled_from(sorted(OTHERWISE)),
)
@many
def test_a_verdict_does_not_depend_on_how_it_is_asked(name, seed, n, error, sign, several, otherwise):
    """Rounding may take digits away; a wrong gradient passes only if ``detects`` says that its error is not seen."""
    fun, grad, theta = problem(name, seed, n)
    unit = errors(grad, theta, seed, several=several)
    claims = wrong_by(grad, sign * error * unit)
    *question, options = OTHERWISE[otherwise](fun, claims, theta, seed)
    reports = {
        report.verdict: report for report in (check_gradient(fun, claims, theta), check_gradient(*question, **options))
    }
    if len(reports) == 2 and "INCONCLUSIVE" not in reports:
        assert error < 2 * reports["PASS"].detects, reports
