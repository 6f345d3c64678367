"""Identification: the textbook first, then mistakes, and what other entries do beside most."""

import numpy as np
import pytest

from xpdl import adam, momentum, sgd
from xpdl.gradcheck.update.identify import identify, relate
from xpdl.gradcheck.update.rules import NOTHING


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def twice(optimizer):
    """The optimizer, applied twice with each gradient."""

    def update(theta, grad, state):
        theta, state = optimizer.update(theta, grad.copy(), state)
        return optimizer.update(theta, grad.copy(), state)

    return optimizer.init, update


def test_the_textbook_is_found_without_a_mistake(observed) -> None:
    found = identify(*observed(adam()))
    assert (found.name, found.candidate.mistake) == ("adam", NOTHING)


def test_a_mistake_around_the_textbook_is_found(observed) -> None:
    found = identify(*observed(twice(momentum(0.1))))
    assert (found.name, found.candidate.mistake.finding) == ("momentum", "applied 2 times a step")


def test_what_nobody_knows_is_not_found(observed) -> None:
    assert identify(*observed((lambda theta: None, lambda p, g, s: (p - 0.1 * np.tanh(g), s)))) is None


def test_another_entry_has_another_rate_a_mistake_or_another_rule(observed) -> None:
    main = identify(*observed(adam(0.1)))
    faster = relate(main, *observed(adam(0.3)))
    assert faster.candidate == main.candidate
    assert faster.rates[0] / main.rates[0] == pytest.approx(3)
    assert relate(main, *observed(twice(adam(0.1)))).candidate.mistake.finding == "applied 2 times a step"
    assert relate(main, *observed(sgd(0.1))).name == "sgd"
    assert relate(None, *observed(sgd(0.1))).name == "sgd"
