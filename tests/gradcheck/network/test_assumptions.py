"""Assumptions: what works entry by entry is not refused, what mixes entries is, and what is not analytic is noticed."""

from itertools import product

import numpy as np
import pytest

from xpdl import Activation, Network
from xpdl.backends import backend
from xpdl.backends.base import to_numpy
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.assumptions import check_row_by_row, cost_not_analytic, not_analytic
from xpdl.gradcheck.network.perturbation import complex_derivative, point
from xpdl.gradcheck.problem import Problem
from xpdl.losses import LOSSES


def softmax_rows(z):
    e = np.exp(z - np.max(np.real(z), axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(da, z, a):
    return a * (da - (a * da).sum(axis=-1, keepdims=True))


def centred(axis):
    """z less its mean, with the right derivative."""
    less = lambda z: z - z.mean(axis=axis, keepdims=True)  # noqa: E731
    return Activation(less, lambda da, z, a: less(da))


MIXING = {
    "softmax": Activation(softmax_rows, softmax_backward),
    "centred units": centred(-1),
    "centred samples": centred(0),
    "swapped units": Activation(lambda z: z[..., ::-1], lambda da, z, a: da[..., ::-1]),
}


@pytest.mark.parametrize(("name", "scale"), list(product(MIXING, [1e-4, 1.0, 10.0])))
def test_an_activation_that_mixes_entries_is_refused(name, scale) -> None:
    """Its gradient may be right, but it cannot be checked by moving one unit at a time."""
    net = Network([3, 5, 2], hidden=MIXING[name])
    rng = np.random.default_rng(1)
    theta, x, y = scale * net.initialize(1, "float64"), rng.standard_normal((40, 3)), rng.integers(0, 2, 40)
    with pytest.raises(ValueError, match=r"hidden must work entry by entry.*check_gradient checks any function"):
        check_network(net, theta, x, y)


ENTRY_BY_ENTRY = {
    "sqrt where it is defined": Activation(lambda z: (9 - z * z) ** 0.5, lambda da, z, a: -da * z / a),
    "shifted by the maximum": Activation(
        lambda z: np.exp(z - np.max(np.real(z))) * np.exp(np.max(np.real(z))), lambda da, z, a: da * a
    ),
}


@pytest.mark.parametrize("name", ENTRY_BY_ENTRY)
def test_an_activation_that_works_entry_by_entry_is_not_refused(name) -> None:
    """The test stays in its domain, and ignores rounding that depends on other entries."""
    net = Network([3, 5, 2], hidden=ENTRY_BY_ENTRY[name])
    rng = np.random.default_rng(1)
    theta, x, y = 0.5 * net.initialize(1, "float64"), rng.uniform(-1, 1, (40, 3)), rng.integers(0, 2, 40)
    report = check_network(net, theta, x, y)
    assert report.verdict == "PASS", str(report)


NOT_ANALYTIC = {
    "abs": Activation(abs, lambda da, z, a: da * np.sign(z)),
    "conj": Activation(lambda z: np.conj(z) * np.conj(z), lambda da, z, a: 2 * da * z),
    "real": Activation(lambda z: np.tanh(np.real(z)), lambda da, z, a: da * (1 - a * a)),
    "raises": Activation(lambda z: np.arctan2(z, 1.0), lambda da, z, a: da / (1 + z * z)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_an_activation_that_is_not_analytic_is_noticed_and_judged_by_differences(name) -> None:
    net = Network([3, 5, 2], hidden=NOT_ANALYTIC[name])
    rng = np.random.default_rng(1)
    theta, x, y = net.initialize(1, "float64"), rng.standard_normal((20, 3)), rng.integers(0, 2, 20)
    report = check_network(net, theta, x, y)
    assert (report.verdict, report.method) == ("PASS", "central differences"), str(report)
    assert "analytic" in report.notes[0] or "complex" in report.notes[0]
    wrong = check_network(net, theta, x, y, lambda t: 1.001 * net.loss_and_grad(t, x, y)[1])
    assert wrong.verdict == "FAIL"
    with pytest.raises(ValueError, match="method 'complex' cannot be used"):
        check_network(net, theta, x, y, method="complex")


# The trials themselves


@pytest.mark.parametrize("f", [np.tanh, lambda z: z * (z.real > 0), lambda z: z * z, lambda z: 1e6 * np.sin(z)])
def test_functions_that_are_analytic_in_their_branches(f) -> None:
    assert not_analytic(f, [np.linspace(-3, 3, 13), np.array([1e-8, 1e3])]) is None


@pytest.mark.parametrize(
    ("f", "why"),
    [
        (lambda z: abs(z), "the f is not analytic"),
        (lambda z: z.real**2, "the f is not analytic"),
        (lambda z: np.arctan2(z, 1.0), "the f cannot be computed for complex z"),
    ],
)
def test_why_the_complex_step_cannot_be_used(f, why) -> None:
    assert not_analytic(f, [np.array([-1.0, 2.0])], "f").startswith(why)


def problem(output=LOSSES["linear"]):
    net = Network([2, 3], output=output)
    rng = np.random.default_rng(0)
    return Problem(net, backend("numpy"), net.initialize(0, "float64"), rng.random((5, 2)), rng.random((5, 3)), None)


def test_the_cost_of_a_sample_is_its_own() -> None:
    given = problem()
    check_row_by_row(given, given.x @ np.ones((2, 3)), given.y)
    net = given.net
    meeting = net.head._replace(cost=lambda s, y: np.sum((s - np.mean(s, axis=-2, keepdims=True)) ** 2, axis=-1))
    with pytest.raises(ValueError, match="one that changes with other samples"):
        check_row_by_row(problem(meeting), given.x @ np.array([[1.0, 2, 3], [4, 5, 7]]), given.y)


def test_the_cost_is_analytic_or_not() -> None:
    given = problem()
    at = point(given.net, given.theta, *given.samples, complex_derivative)
    assert cost_not_analytic(at) is None
    absolute = problem(given.net.head._replace(cost=lambda s, y: np.sum(np.abs(s - y), axis=-1)))
    at = point(absolute.net, absolute.theta, *absolute.samples, complex_derivative)
    assert cost_not_analytic(at) == "the loss is not analytic: its complex step differs from its differences"


@pytest.mark.parametrize("name", LOSSES)
def test_named_losses_are_what_no_check_of_a_network_tests(name, lib) -> None:
    """They act row by row and are analytic, on every library."""
    if lib.jitted or lib.dtype == "float32":
        pytest.skip("a check is in float64 and not traced")
    rng, net = np.random.default_rng(0), Network([2, 3], output=LOSSES[name])
    x, theta = lib.put(rng.standard_normal((5, 2))), lib.put(net.initialize(0, "float64"))
    at = point(net, theta, x, lib.put(rng.integers(0, 2, (5, 3)) * 1.0), None, None, complex_derivative)
    check_row_by_row(Problem(net, lib.backend, theta, x, at.y, None), to_numpy(at.layers[-1].z), to_numpy(at.y))
    assert cost_not_analytic(at) is None
