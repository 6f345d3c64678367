"""What a second look may grant is measured beforehand: it is no less than what is granted to any claim."""

import math

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.detection import right_claims
from xpdl.gradcheck.function.grants import beside_kinks, grants
from xpdl.gradcheck.function.tensor import Directions, TensorCheck, unit
from xpdl.progress import report as reported


def complex_relu(t):
    return np.where(t.real > 0, t, 0 * t)


def slopes(t):
    return 10.0 ** (-4 * (np.arange(t.size) % 3))


FUNCTIONS = {  # name: (function, gradient, theta of random numbers, how much more may be granted than is)
    "powers": (lambda t: (t**3).sum(), lambda t: 3 * t * t, None, 1000),
    "products": (lambda t: np.exp(np.sin(t).sum()), lambda t: np.exp(np.sin(t).sum()) * np.cos(t), None, 10),
    "slopes": (lambda t: (slopes(t) * t * t).sum(), lambda t: 2 * slopes(t) * t, None, 10),
    "fast waves": (lambda t: np.sin(40 * t).sum(), lambda t: 40 * np.cos(40 * t), None, 3000),
    "kinks": (
        lambda t: (complex_relu(t) + t * t).sum(),
        lambda t: (t > 0) + 2 * t,
        lambda t: np.where(np.arange(t.size) % 3, t, 0),
        10,
    ),
    "kinks at 1": (
        lambda t: (complex_relu(t - 1) + t * t).sum(),
        lambda t: (t > 1) + 2 * t,
        lambda t: np.where(np.arange(t.size) % 3, t, 1),
        10,
    ),
    "a hidden part": (
        lambda t: (t * t).sum() + 1e-9 * float(np.abs(t.real).sum()),
        lambda t: 2 * t + 1e-9 * np.sign(t),
        None,
        250,
    ),
    "noise": (
        lambda t: (t * t).sum() * (1 + 1e-10 * (hash(t.real.tobytes()) % 1000 / 1000 - 0.5)),
        lambda t: 2 * t,
        None,
        math.inf,
    ),
}


@pytest.fixture
def measured(probe):
    """measured(fun, grad, theta, method) -> the tensor, after the first look at every entry."""

    def measured(fun, grad, theta, method="auto", directions=None):
        around = probe(lambda t: complex(fun(t)) if np.iscomplexobj(t) else float(fun(t)), grad, theta)
        tensor = TensorCheck(around, "theta", grad(theta), directions or Directions(theta.size))
        with reported(1, "", shown=False) as reporter:
            tensor.measure(method, reporter)
        return tensor

    return measured


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_claim_is_granted_more(name, method, measured, points) -> None:
    """A claim that is NaN misses everything, so a second look grants it all that it grants to any."""
    fun, grad, where, _ = FUNCTIONS[name]
    for seed in range(3):
        theta = points(seed, 8) if where is None else where(points(seed, 8))
        tensor = measured(fun, grad, theta, method)
        tensor.judged_entries()
        granted, right, said, true = grants([tensor])["theta"], right_claims(tensor), [], []
        for k, found in enumerate(tensor.derivatives):
            look = tensor.again(unit(8, k), math.nan, tensor.first[k])
            true.append(max(look.high - right[k], right[k] - look.low) + look.bar)
            said.append(max(found.high - right[k], right[k] - found.low) + found.bar + granted[k])
        assert np.all(np.array(said) > 0.5 * np.array(true))  # an error of twice what is detected fails
        size = np.maximum(np.abs(right), 1e-3)
        assert np.max(said / size) < FUNCTIONS[name][3] * np.max(true / size) or method == "central"


def test_nothing_is_asked_for_no_tensor() -> None:
    assert grants([]) == {}
    assert beside_kinks([]) == {}


def test_large_tensors_have_no_entries_that_kinks_excuse(measured, points) -> None:
    signs = Directions(40, np.random.default_rng(0).choice([-1.0, 1.0], (3, 40)))
    tensor = measured(np.max, lambda t: (t == np.max(t)) * 1.0, np.ones(40), directions=signs)
    assert beside_kinks([tensor]) == {}
    assert grants([tensor])["theta"].shape == (3,)


def test_a_kink_that_no_line_shows_excuses_what_lies_nearby(measured) -> None:
    """Along each line, the median of equal numbers has one derivative; nearby, it has those of the entries, 0 or 1."""
    tensor = measured(np.median, lambda t: np.full(t.size, 1 / t.size), np.ones(5))
    ranges = beside_kinks([tensor])["theta"]
    assert np.sum((ranges[:, 0] <= 0) & (ranges[:, 1] >= 1)) >= 4
    many = beside_kinks([measured(np.median, lambda t: np.full(t.size, 1 / t.size), np.ones(65))])["theta"]
    assert many[64].tolist() == [-math.inf, math.inf]
    assert np.all(np.isfinite(many[:64]))


@pytest.mark.parametrize("fun", [lambda t: (t * t).sum(), lambda t: complex_relu(t - 1).sum(), np.max])
def test_where_lines_show_all_there_is_nothing_more_is_excused(fun, measured) -> None:
    """A smooth function, and kinks that are convex."""
    tensor = measured(fun, lambda t: 0 * t, np.ones(5))
    assert beside_kinks([tensor]) == {}


def test_a_median_is_not_said_to_detect_what_it_cannot() -> None:
    report = check_gradient(np.median, lambda t: np.full(t.size, 1 / t.size), np.ones(5))
    assert report.verdict != "PASS" or report.detects > 1


def test_entries_whose_derivatives_are_alike_to_a_factor_of_1000_are_looked_at_together(measured) -> None:
    """From 2^9 to 1 they are, and from 2^18 to 1 they are two groups."""
    calls = []
    for spread, groups in ((9, 1), (18, 2)):
        slopes = 2.0 ** np.linspace(0, spread, 10)
        tensor = measured(lambda t, s=slopes: calls.append(0) or (s * t).sum(), lambda t, s=slopes: s, np.ones(10))
        before = len(calls)
        grants([tensor])
        assert (len(calls) - before < 25) is (groups == 1)


def test_beside_a_kink_of_others_an_entry_has_its_derivative(measured) -> None:
    tensor = measured(lambda t: np.median(t[:3]) + 2 * t[3], lambda t: np.array([1.0, 1, 1, 6]) / 3, np.ones(4))
    assert beside_kinks([tensor])["theta"][3] == pytest.approx([2, 2])
