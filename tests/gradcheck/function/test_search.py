"""The search in large tensors: wrong entries are found and named."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.directional import DirectionalDerivative
from xpdl.gradcheck.function.search import Suspect


@pytest.mark.parametrize("n", [8, 300, 100_000])
@pytest.mark.parametrize("relative", [1e-6, 1e-4, 1e-2, 1.0])
def test_one_wrong_entry_is_named(n, relative, points, with_entry) -> None:
    theta, rng = points(30, n), np.random.default_rng(n)
    place = int(rng.choice(np.flatnonzero(np.abs(theta) > 0.3)))
    grad = with_entry(lambda t: np.exp(t / 3) / 3, place, 1 + relative)
    report = check_gradient(lambda t: np.exp(t / 3).sum(), grad, theta)
    parameter = report.parameters["theta"]
    assert (report.verdict, parameter.failing, parameter.worst.index) == ("FAIL", 1, (place,)), str(report)
    assert parameter.diagnosis == f"only 1 of {n} entries wrong: [{place}]"
    assert report.evaluations < 50 * n + 1000
    differences = check_gradient(lambda t: float(np.exp(t / 3).sum()), grad, theta)
    if n < 100_000 or relative > 1e-4:  # J is known to 1e-11 there, a slope of it to 1e-6
        assert differences.parameters["theta"].worst.index == (place,), str(differences)


def test_several_wrong_entries_are_named_the_worst_first(points) -> None:
    def grad(theta):
        answer = np.exp(theta)
        answer[3, 4] *= 1.01
        answer[5, 6] *= -1
        return answer

    parameter = check_gradient(lambda t: np.exp(t).sum(), grad, points(31, 600).reshape(20, 30)).parameters["theta"]
    assert (parameter.verdict, parameter.worst.index, parameter.failing) == ("FAIL", (5, 6), 2)
    assert parameter.unseen == 0
    assert parameter.diagnosis == "only 2 of 600 entries wrong: [5, 6], [3, 4]"


def test_large_tensors_take_directions_unless_all_entries_are_asked_for(points) -> None:
    theta = points(60, 600)

    def fun(theta):
        return (theta * theta).sum()

    def grad(theta):
        return 2 * theta

    some, every = check_gradient(fun, grad, theta), check_gradient(fun, grad, theta, full=True)
    assert (some.parameters["theta"].bar.shape, every.parameters["theta"].bar.shape) == ((11,), (600,))
    assert some.evaluations < 150
    assert "11 directions" in some.notes[0]
    with pytest.raises(ValueError, match="budget must allow 2,480 evaluations of fun, got 2,000"):
        check_gradient(fun, grad, theta, full=True, budget=2000)
    with pytest.raises(ValueError, match="budget must allow 124 evaluations of fun, got 123"):
        check_gradient(fun, grad, theta, budget=123)


def test_a_suspect_at_a_kink_is_not_wrong() -> None:
    kink = DirectionalDerivative(0.5, 1e-9, 0.0, 1.0)
    assert not Suspect(3, 0.7, kink).wrong
    assert Suspect(3, 1.7, kink).wrong


def test_an_entry_in_which_the_function_jumps_is_found() -> None:
    theta = np.linspace(0.5, 2, 500)
    theta[123] = 1.0
    report = check_gradient(lambda t: t.sum() + 5 * (t[123] > 1), np.ones_like, theta)
    assert report.verdict == "INCONCLUSIVE"
    assert any("fun jumps at theta or is infinitely steep: [123]" in note for note in report.notes), str(report)


def test_an_entry_that_is_not_finite_is_found(points, with_entry) -> None:
    grad = with_entry(lambda t: 2 * t, 321, np.nan)
    found = check_gradient(lambda t: (t * t).sum(), grad, points(0, 500)).parameters["theta"]
    assert (found.verdict, found.worst.index, found.diagnosis) == ("FAIL", (321,), "not finite")


def test_more_wrong_entries_than_can_be_named(points) -> None:
    theta = points(1, 600)
    grad = lambda t: 2 * t + 0.01 * (np.arange(t.size) % 20 == 0) * np.arange(t.size)  # noqa: E731
    found = check_gradient(lambda t: (t * t).sum(), grad, theta).parameters["theta"]
    assert found.verdict == "FAIL"
    assert found.diagnosis.startswith("at least"), found.diagnosis
    assert all(int(k) % 20 == 0 for k in found.diagnosis.partition("wrong: ")[2].strip("[], .").split("], [")[:8])


def test_a_factor_shows_best_along_the_signs_of_the_gradient(points) -> None:
    """Beside 1e9, whose rounding hides it along random directions."""
    for seed in range(2):
        fun = lambda t: 1e9 + float((t * t).sum())  # noqa: E731
        assert check_gradient(fun, lambda t: 2 * (1 + 3e-6) * t, points(3, 3000), seed=seed).verdict == "FAIL"


def test_kinks_in_many_entries_keep_none_from_being_judged(points) -> None:
    """Along directions, 55 entries at their kinks hide any error of others."""
    theta = points(5, 1100) * (np.arange(1100) % 20 > 0)
    relu = lambda t: np.maximum(t, 0).sum()  # noqa: E731
    for at_0, verdict in ((0.0, "PASS"), (0.5, "PASS"), (-0.01, "FAIL")):
        grad = lambda t, at_0=at_0: np.where(t == 0, at_0, t > 0)  # noqa: E731
        assert check_gradient(relu, grad, theta).verdict == verdict
    for place in (7, 20):
        wrong = lambda t, place=place: (t > 0) + 3.0 * (np.arange(t.size) == place)  # noqa: E731
        assert check_gradient(relu, wrong, theta).verdict == "FAIL"


@pytest.mark.parametrize(("kinks", "shape"), [(15, (11,)), (30, (300,))])
def test_beyond_16_kinks_every_entry_is_looked_at(kinks, shape, points) -> None:
    theta, at_0 = points(2, 300), np.arange(300) < kinks
    theta[at_0] = 0
    found = check_gradient(
        lambda t: (t * t + np.where(at_0 & (t.real > 0), t, 0)).sum(), lambda t: 2 * t + 0.3 * at_0, theta
    )
    assert found.verdict == "PASS", str(found)
    assert found.parameters["theta"].bar.shape == shape
