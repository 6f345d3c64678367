"""Each constant of the check of update rules matters: what passes by it, and what does not, is within a factor of four.

A constant that moved by four either way would change one of these verdicts.
"""

import numpy as np
import pytest

from xpdl import adam
from xpdl.gradcheck.update.fit import (
    ALIKE,
    FAR,
    FINE,
    MOST_UNSURE,
    NEAR,
    ROUNDINGS,
    STRAY,
    Candidate,
    compare,
    fit,
)
from xpdl.gradcheck.update.identify import _told_apart
from xpdl.gradcheck.update.measure import NO_DECAY, measure, moved_in
from xpdl.gradcheck.update.rules import NOTHING, RULES
from xpdl.gradcheck.update.subject import tolerance_of

ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "eps_root": 0.0}


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def candidate(name, finding=""):
    return Candidate(next(r for r in RULES if r.name == name and finding in r.finding), NOTHING, NOTHING)


@pytest.fixture
def found(observed):
    """Adam, fitted to its own steps."""
    return fit(candidate("adam"), *observed(adam(0.1)))


def with_error(found, error, rounding=0.0):
    return found._replace(errors=np.full_like(found.errors, error), rounding=rounding)


def test_fine_is_the_tolerance_of_float64(found) -> None:
    assert pytest.approx(1.2e-7, rel=0.05) == FINE == tolerance_of(2.0**-52)
    assert tolerance_of(2.0**-23) == pytest.approx(2.8e-3, rel=0.05)
    assert with_error(found, 6e-8).exact
    assert not with_error(found, 2.4e-7).exact


def test_roundings(found) -> None:
    """Of right rules in float32, 12 were seen; 3 times as many are too many."""
    assert ROUNDINGS == 16
    assert with_error(found, 12e-5, rounding=1e-5).exact
    assert not with_error(found, 36e-5, rounding=1e-5).exact


def test_closer(found, observed) -> None:
    """A rule that is 5 times as far away may be the one; one that is 20 times as far away is not."""
    _, short, long = observed(adam(0.1))
    other = compare(candidate("amsgrad", "corrected for its bias"), ADAM | {"beta2": 0.9}, long)
    other = other._replace(rates=found.rates, alike=found.alike, missing=found.missing, rounding=1.0)
    for times, rivals in ((5.0, True), (20.0, False)):
        near = with_error(found._replace(rates=np.full(30, 0.1)), 1e-5, rounding=1.0)
        best = _told_apart([near, with_error(other._replace(rates=near.rates), times * 1e-5, rounding=1.0)], short)
        assert (best.name, bool(best.rival)) == ("adam", rivals), times


@pytest.mark.parametrize(("off", "alike"), [(0.5, 2), (2.0, 0)])
def test_numbers_of_the_state_are_alike(found, off, alike) -> None:
    slots = tuple(tuple(value * (1 + off * ALIKE) for value in slot) for slot in found.long.slots)
    long = type(found.long)(found.long.grads, found.long.theta, slots, found.long.u)
    again = compare(found.candidate, found.values, long)
    assert again.alike + again.sums == alike
    assert ALIKE == 1e-3
    assert MOST_UNSURE == 0.1


def test_where_a_search_goes_on() -> None:
    """Above what led to a rule (FAR 0.14, NEAR 4e-5, STRAY 1e-6), and below what others begin with."""
    assert 0.14 < FAR < 0.52
    assert 4e-5 < NEAR < 4e-3
    assert 1e-3 < STRAY < 0.17


def test_no_decay(subject) -> None:
    """A step of theta = 1 without a gradient, of 4 roundings and of 16, where no gradient gives 0 / 0."""
    for times, seen in ((0.5, False), (2.0, True)):

        def update(theta, grad, state, times=times):
            return theta - grad / np.abs(grad) * 0.0 - times * NO_DECAY * 2.0**-52 * theta, state

        given = subject((lambda theta: None, update))
        assert bool(measure(given, moved_in(given, 0)).decay) == seen, times
    assert NO_DECAY == 8
