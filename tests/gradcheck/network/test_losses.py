"""Losses of your own: a right derivative is never accused, a wrong one is found, and the cause is named."""

from itertools import product

import numpy as np
import pytest

from xpdl import Loss, Network, losses
from xpdl.gradcheck.network import check_network
from xpdl.losses import LOSSES


def error(s, y):
    """s - y between -1 and 1, on the branch of the real part."""
    e = s - y
    inside = np.abs(np.real(e)) <= 1
    return np.where(inside, e, np.sign(np.real(e)))


HUBER = Loss(lambda s, y: np.sum(error(s, y) * (s - y - error(s, y) / 2), axis=-1), lambda s, p, y: error(s, y))


FOCAL = losses.softmax._replace(
    cost=lambda s, y: -np.sum(y * (1 - np.exp(s)) * s, axis=-1),
    derivative=lambda s, p, y: y * (p + p * s - 1) - p * np.sum(y * (p + p * s - 1), axis=-1, keepdims=True),
    error_variance=None,
)


OWN = {
    "huber": HUBER,
    "focal": FOCAL,
    "huber, not analytic": HUBER._replace(
        cost=lambda s, y: np.sum(np.where(np.abs(s - y) <= 1, (s - y) ** 2 / 2, np.abs(s - y) - 0.5), axis=-1)
    ),
    "log cosh": Loss(lambda s, y: np.sum(np.log(np.cosh(s - y)), axis=-1), lambda s, p, y: np.tanh(s - y)),
    "poisson": Loss(lambda s, y: np.sum(np.exp(s) - y * s, axis=-1), response=np.exp),
    "outputs that meet": Loss(
        lambda s, y: np.sum(s, axis=-1) ** 2 / 2 - np.sum(y * s, axis=-1),
        lambda s, p, y: np.sum(s, axis=-1, keepdims=True) - y,
    ),
    "sines": Loss(lambda s, y: np.sum(np.sin(5 * (s - y)), axis=-1), lambda s, p, y: 5 * np.cos(5 * (s - y))),
    **{f"{name}, its errors not told": loss._replace(error_variance=None) for name, loss in LOSSES.items()},
}


def own_case(name, seed=1, n=30, k=3):
    """A network with a loss of its own, theta, x and y."""
    rng = np.random.default_rng(seed)
    net = Network([4, 6, 5, k], hidden="tanh", output=OWN[name], l2=0.1)
    theta = net.initialize(seed, "float64") + 0.1 * rng.standard_normal(net.size)
    labels = np.eye(k)[rng.integers(0, k, n)] if OWN[name].decide else rng.standard_normal((n, k))
    labels = np.abs(labels) if OWN[name].accepts else labels
    return net, theta, rng.standard_normal((n, 4)), labels


@pytest.mark.parametrize(("name", "dtype"), list(product(OWN, ["float64", "float32"])))
def test_a_right_loss_of_your_own_is_never_accused(name, dtype) -> None:
    for seed in range(10):
        report = check_network(*own_case(name, seed), dtype=dtype)
        assert report, str(report)
        assert all(np.all(p.bar < 1e-2) for p in report.parameters.values()), "a bar that lets everything pass"


@pytest.mark.parametrize(("name", "size"), [(name, 1e-4 if "not analytic" in name else 1e-9) for name in OWN])
def test_a_wrong_derivative_of_your_own_loss_is_found(name, size) -> None:
    """Even a small error is found: the bars come from the cost, not from the derivative."""
    net, *case = own_case(name)
    right = net.head.derivative
    wrong = net.head._replace(derivative=lambda s, p, y: right(s, p, y) * (1 + size))
    report = check_network(Network(net.sizes, hidden="tanh", output=wrong, l2=0.1), *case)
    assert report.verdict == "FAIL", str(report)
    assert "the numeric gradient" in report.parameters["W3"].diagnosis


def test_a_loss_that_is_not_analytic_is_checked_by_differences() -> None:
    report = check_network(*own_case("huber, not analytic"))
    assert (report.verdict, report.method) == ("PASS", "central differences")
    assert "the loss is not analytic: its complex step differs from its differences" in report.notes
    with pytest.raises(ValueError, match="'complex' cannot be used: the loss is not analytic"):
        check_network(*own_case("huber, not analytic"), method="complex")


def test_at_large_logits_a_loss_that_is_not_analytic_is_found_too() -> None:
    """All error bars are large there, and the complex step says that the cost does not change at all."""
    net, theta, x, y = own_case("huber, not analytic")
    report = check_network(net, 1e5 * theta, x, y)
    assert (report.verdict, report.method) != ("FAIL", "complex step"), str(report)


def test_a_derivative_that_was_forgotten_is_named() -> None:
    net, *case = own_case("huber")
    report = check_network(Network(net.sizes, hidden="tanh", output=Loss(HUBER.cost), l2=0.1), *case)
    assert (
        report.parameters["W3"].diagnosis == "dW3 has (p - y) / n, which is not the derivative of this cost, in layer 3"
    )
    assert "follows from a wrong dz of layer 3" in report.parameters["b1"].diagnosis


@pytest.mark.parametrize("name", OWN)
def test_dropout_masks_that_were_forgotten_are_named_for_your_own_loss(name) -> None:
    net, theta, x, y = own_case(name)
    rng = np.random.default_rng(2)
    masks = [(rng.random((30, units)) < 0.7) / 0.7 for units in (6, 5)]
    report = check_network(net, theta, x, y, lambda t: net.loss_and_grad(t, x, y)[1], masks=masks)
    causes = {parameter.diagnosis.partition(" ")[2] for parameter in report.parameters.values()}
    assert causes == {"is that of the cost without its dropout masks"}


def mean_over_samples(s, y):
    return np.sum((s - s.mean(axis=-2, keepdims=True) - y) ** 2, axis=-1)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (mean_over_samples, "the cost of each sample alone"),
        (lambda s, y: np.sum((s - y) ** 2, axis=1), r"a cost \(\.\.\., n\) for logits"),
        (lambda s, y: (s - y) ** 2, r"a cost \(\.\.\., n\) for logits \(\.\.\., n, k\), got shape \(30, 3\)"),
        (lambda s, y: np.sum(np.exp(1e3 * (s - y) ** 2), axis=-1), "finite costs"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_cost_that_cannot_be_checked_is_refused(cost, said) -> None:
    net, *case = own_case("huber")
    with pytest.raises(ValueError, match=said):
        check_network(Network(net.sizes, output=Loss(cost)), *case)
