"""Measurements: single steps give the size and place of epsilon, the betas and the decay."""

import math

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, rmsprop, sgd
from xpdl.gradcheck.update.measure import measure, moved_in, quotient


def measured_in(subject):
    return measure(subject, moved_in(subject, 0))


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize(("optimizer", "power"), [(sgd(0.1), 1), (momentum(0.1), 1), (adam(), 0), (rmsprop(0.1), 0)])
def test_the_power_of_a_large_gradient(subject, optimizer, power) -> None:
    assert measured_in(subject(optimizer)).power == power


def test_a_step_that_saturates_has_no_power_and_one_that_shrinks_has_a_negative_one(subject) -> None:
    def by(step):
        return measured_in(subject((lambda theta: None, lambda theta, grad, state: (theta - step(grad), state)))).power

    assert by(lambda g: 0.1 / g) == -1
    assert by(lambda g: np.sign(g) * np.sqrt(np.abs(g))) == 0.5
    assert math.isnan(by(np.log1p))


def test_the_betas_of_adam(subject) -> None:
    measured = measured_in(subject(adam(0.1, beta1=0.6, beta2=0.9)))
    assert (measured.beta1, measured.beta2) == pytest.approx((0.6, 0.9), rel=1e-5)


@pytest.mark.parametrize(("eps", "root"), [(1e-3, 0.0), (0.0, 1e-6), (1e-3, 1e-6)])
def test_epsilon_has_a_size_and_a_place(subject, eps, root) -> None:
    """The second moment of the first step is (1 - decay) g^2, so epsilon is divided by the root of 1 - decay."""
    measured = measured_in(subject(rmsprop(0.1, decay=0.75, eps=eps, eps_root=root)))
    outside, inside = measured.epsilons(1e-3)
    assert (outside, inside) == pytest.approx((eps / 0.5, root**0.5 / 0.5), rel=1e-4)
    assert measured.unit == pytest.approx(max(1.0, 1e6 * measured.epsilon))


def test_the_decay_of_theta_without_a_gradient(subject) -> None:
    assert measured_in(subject(adamw(0.1, weight_decay=0.2))).decay == pytest.approx(0.02)
    assert measured_in(subject(adam())).decay == 0


def test_a_quotient_that_is_no_number_is_0() -> None:
    assert quotient(1.0, 4.0) == 0.25
    assert [quotient(*pair) for pair in ((1.0, 0.0), (math.nan, 1.0), (1.0, math.inf))] == [0, 0, 0]
