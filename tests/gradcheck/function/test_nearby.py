"""Derivatives near theta: they show kinks of several entries, and only kinks at theta itself."""

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.nearby import Nearby, Range

few = settings(max_examples=12, deadline=None, derandomize=True)

SMOOTH = {
    "squares": lambda t: (t * t).sum(),
    "cubes at 0": lambda t: ((t - 1) ** 3).sum(),
    "waves": lambda t: np.sin(1e7 * t).sum(),
    "kink beside": lambda t: np.maximum(t - 1 - 1e-7, 0).sum(),
    "constant": lambda t: 3.0,
}
KINKS = {
    "median": np.median,
    "max": np.max,
    "abs": lambda t: np.abs(t - 1).sum(),
    "norm": lambda t: np.linalg.norm(t - 1),
    "with curvature": lambda t: np.abs(t - 1).sum() + (t * t).sum(),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_nothing_is_a_kink_that_is_not_at_theta(name, probe) -> None:
    assert not Nearby(probe(lambda t: float(SMOOTH[name](t)), None, np.ones(3))).kinked


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_seen_whatever_a_single_line_shows(name, dtype, probe) -> None:
    def fun(t):
        return float(np.asarray(KINKS[name](t.astype(dtype)), dtype))

    assert Nearby(probe(fun, None, np.ones(3), dtype)).kinked


def test_derivatives_along_a_direction_are_those_that_are_nearby(probe) -> None:
    near = Nearby(probe(lambda t: float(np.median(t)), None, np.ones(3)))
    low, high, between = near.along({"theta": np.array([1.0, 0, 0])})
    assert (low, high, between) == pytest.approx((0, 1, False), abs=1e-6)
    assert near.along({"theta": np.ones(3)}) is None
    assert near.mixed()
    assert not Nearby(probe(lambda t: float(np.max(t)), None, np.ones(3))).mixed()
    assert not near.mixed({"theta": np.array([1.0, 0, 0])})


def test_a_claim_a_little_outside_may_be_right() -> None:
    near = Range(-1.0, 2.0)
    assert [near.holds(claim) for claim in (-1.0, 2.02, 2.1)] == [True, True, False]
    assert [near.may_hold(claim) for claim in (-3.0, -3.1, 4.0, 4.1)] == [True, False, True, False]
    assert near.may_hold(5.9, entries=4)


# Verdicts


@given(seed=st.integers(0, 10**6), at_0=st.sampled_from([0.0, 1.0, 0.5]), n=st.integers(1, 8), d=st.integers(1, 4))
@few
def test_backpropagation_through_units_at_their_kink_is_never_accused(seed, at_0, n, d) -> None:
    """relu'(0) = 0, 1 or 1/2, multiplied with weights of both signs: no line through theta may show that number."""
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal((n, d)), rng.standard_normal((2, n))

    def grad(w):
        z = x @ w
        return x.T @ (v.T * np.where(z == 0, at_0, z > 0))

    def fun(w):
        return (v.T * np.maximum(x @ w, 0)).sum()

    right = check_gradient(fun, grad, np.zeros((d, 2)), seed=seed)
    if d > 1:  # for d = 1 there are two derivatives, which one line shows, and 0 may be neither nor between
        assert right.verdict != "FAIL", str(right)
    assert right.verdict == "PASS" or at_0 != 0.5, str(right)
    far = check_gradient(fun, lambda w: grad(w) + 100.0, np.zeros((d, 2)), seed=seed)
    assert far.verdict == "FAIL", str(far)


CLARKE = {  # name: (fun, claims at ones that are right, claims that are wrong)
    "median": (np.median, [[0, 1, 0], [0.3, 0.3, 0.4]], [[1, 1, 1], [0, 0, 0], [2, 0, 0]]),
    "min of max": (lambda t: min(max(t[0], t[1]), t[2]), [[1, 0, 0], [0, 0, 1]], [[1, 1, 1], [-3, 0, 0]]),
    "max": (np.max, [[1, 0, 0], [0.2, 0.3, 0.5]], [[1, 1, 1], [0, 0, 0], [1.2, -0.2, 0]]),
    "smallest but one": (lambda t: np.sort(t)[1], [[0, 0, 1], [0.5, 0.5, 0]], [[0, 0, 0], [1, 1, 0]]),
}


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("name", CLARKE)
def test_a_generalised_gradient_passes_and_others_do_not(name, method) -> None:
    fun, right, wrong = CLARKE[name]
    for claim in right:
        report = check_gradient(fun, lambda t, c=claim: np.array(c, float), np.ones(3), method=method)
        assert report.verdict == "PASS", f"{claim}\n{report}"
    for claim in wrong:
        report = check_gradient(fun, lambda t, c=claim: np.array(c, float), np.ones(3), method=method)
        assert report.verdict != "PASS", f"{claim}\n{report}"


@pytest.mark.parametrize("n", [255, 300])
def test_ties_of_many_entries_are_judged_entry_by_entry(n) -> None:
    theta = np.r_[np.full(n, 2.0), 1.0]
    for share, verdict in ((1 / n, "PASS"), (2 / n, "FAIL"), (0.0, "FAIL"), (1.0, "FAIL")):
        report = check_gradient(np.max, lambda t, c=share: (t == t.max()) * c, theta)
        assert report.verdict == verdict, f"{share}\n{report}"


@given(seed=st.integers(0, 10**6), n=st.integers(25, 60))
@few
def test_many_independent_kinks_of_both_kinds_may_have_any_derivatives(seed, n) -> None:
    """sum |a| - sum |b| at 0, with claims of 1, -1 or between for each entry."""
    rng = np.random.default_rng(seed)
    signs, claims = rng.choice([-1.0, 1.0], n), rng.choice([-1.0, 0.0, 1.0, 0.3], n)
    report = check_gradient(lambda t: (signs * np.abs(t)).sum(), lambda t: claims, np.zeros(n), seed=seed)
    assert report.verdict != "FAIL", str(report)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_a_kink_beside_theta_excuses_nothing(distance) -> None:
    theta = np.array([1 + distance, 1 - distance, 3.0])
    for claims, verdict in (([1, 0, 1], "PASS"), ([0, 1, 1], "FAIL"), ([0.5, 0.5, 1], "FAIL")):
        report = check_gradient(lambda t: np.maximum(t - 1, 0).sum(), lambda t, c=claims: np.array(c, float), theta)
        assert report.verdict == verdict, str(report)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["auto", "central"])
def test_one_of_many_ties_may_have_all_of_the_derivative(method, seed) -> None:
    theta = np.r_[np.full(256, 2.0), 1.0, 0.5]
    for place, verdict in ((0, "PASS"), (255, "PASS"), (256, "FAIL")):
        claim = 1.0 * (np.arange(258) == place)
        report = check_gradient(np.max, lambda t, c=claim: c, theta, method=method, seed=seed)
        assert report.verdict == verdict, str(report)


# The limits


@pytest.mark.parametrize(("offset", "seen"), [(1e6, True), (1e7, False)])
def test_a_kink_of_slope_1_is_seen_beside_1e6(offset, seen, probe) -> None:
    """Rounding of 1e7 changes a slope over 2^-28 by a third; with 16 times that there is no kink for certain."""
    assert Nearby(probe(lambda t: offset + float(np.median(t)), None, np.ones(3))).kinked is seen


def test_24_points_show_each_of_nine_ties(probe) -> None:
    calls = []
    near = Nearby(probe(lambda t: calls.append(0) or float(np.max(t)), None, np.ones(9)))
    low, high, _ = near.along({"theta": np.eye(9)[0]})
    assert (low, high) == pytest.approx((0, 1), abs=1e-6)
    assert len(calls) < 150


@pytest.mark.parametrize(("slope", "between"), [(0.02, True), (0.005, False)])
def test_a_derivative_is_between_others_if_it_differs_by_1_percent(slope, between, probe) -> None:
    """The derivatives are 0, the slope, 1 and their sum."""
    fun = lambda t: max(t[0] - 1, 0) + slope * max(t.sum() - 2, 0)  # noqa: E731
    assert Nearby(probe(fun, None, np.ones(2))).along({"theta": np.array([1.0, 0])}).between is between


@pytest.mark.parametrize(("bend", "kinked"), [(0.02, False), (-0.02, False), (0.005, True)])
def test_at_a_kink_fun_is_linear_outward_to_1_percent(bend, kinked, probe) -> None:
    """A square that bends the line by this part over 2^-18."""
    fun = lambda t: abs(t[0] - 1) + bend / 2.2 * 2**18 * (t[0] - 1) ** 2  # noqa: E731
    assert Nearby(probe(fun, None, np.ones(1))).kinked is kinked


@pytest.mark.parametrize(("slope", "mixed"), [(5e-4, False), (2e-3, True)])
def test_curvature_of_less_than_a_thousandth_is_none(slope, mixed, probe) -> None:
    near = Nearby(probe(lambda t: float(abs(t[0]) - slope * abs(t[1])), None, np.zeros(2)))
    assert near.mixed() is mixed


def test_256_pairs_of_points_show_one_concave_entry_of_40(probe) -> None:
    signs, calls = 1.0 - 2 * np.eye(40)[1], []
    assert Nearby(probe(lambda t: calls.append(0) or float(signs @ np.abs(t)), None, np.zeros(40))).mixed()
    assert len(calls) < 1000
