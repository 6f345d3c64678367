"""Faults that show whatever the rule is: one optimizer for each check, and none in our own."""

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, rmsprop, sgd
from xpdl.gradcheck.update.faults import FAULT_CHECKS, find_faults

GRADS = np.random.default_rng(0).standard_normal(12)


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def zeros(theta):
    return np.zeros_like(theta)


def stepping(step):
    """An optimizer without a state."""
    return lambda theta: None, lambda theta, grad, state: (step(theta, grad), state)


def random_steps():
    rng = np.random.default_rng(0)
    return stepping(lambda p, g: p - g * rng.random())


def doubles_the_gradient(theta, grad):
    grad *= 2
    return theta - grad


def reset(optimizer):
    """The state that comes back is a new one."""
    return optimizer.init, lambda theta, grad, state: (optimizer.update(theta, grad, state)[0], optimizer.init(theta))


def late(theta, grad, v):
    return theta - 0.1 * grad / (np.sqrt(v) + 1e-3), 0.9 * v + 0.1 * grad * grad


FAULTY = {  # the check: an optimizer that it complains of, and what it says
    "_is_finite": (stepping(lambda p, g: p - g / np.zeros(4)), "theta is not finite after step 1: a step counter"),
    "_survives_zero": (stepping(lambda p, g: p - g / np.abs(g)), "a gradient of 0 in the first step gives NaN"),
    "_knows_signs": (stepping(lambda p, g: p - np.abs(g)), "the sign of the gradient is lost"),
    "_restarts": (random_steps(), "a second run from a new state takes other steps"),
    "_leaves_the_gradient_alone": (stepping(doubles_the_gradient), "update changes the gradient it is given"),
    "_shares_memory": ((zeros, lambda p, g, s: (p - g, g)), "the gradient and a state vector share memory"),
    "keeps_the_dtype": (stepping(lambda p, g: (p - g).astype(np.float32)), "theta becomes float32, it was float64"),
    "_keeps_its_state": (reset(momentum(0.1)), "the state is lost between steps: 1 of its 1 vectors stay 0"),
    "_carries_its_state": ((zeros, lambda p, g, s: (p - 0.1 * g, 0.1 * g * 0.5)), "the first moment is lost"),
    "_uses_its_last_gradient": ((zeros, late), "the second moment is updated after it is used"),
}


def test_each_check_has_an_optimizer_that_it_complains_of() -> None:
    assert [check.__name__ for check in FAULT_CHECKS] == list(FAULTY)


@pytest.mark.parametrize("check", FAULT_CHECKS, ids=lambda check: check.__name__)
def test_a_fault_is_found(subject, check) -> None:
    optimizer, text = FAULTY[check.__name__]
    assert check(subject(optimizer), GRADS).startswith(text)
    assert any(fault.startswith(text) for fault in find_faults(subject(optimizer), GRADS))


def test_a_velocity_may_be_late_too(subject) -> None:
    late = (zeros, lambda theta, grad, v: (theta - 0.1 * v, 0.9 * v + grad))
    assert "the first moment is updated after it is used" in find_faults(subject(late), GRADS)[-1]


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.1), rmsprop(0.1), adam(), adamw()])
def test_ours_have_no_faults(subject, optimizer) -> None:
    assert find_faults(subject(optimizer), GRADS) == []
