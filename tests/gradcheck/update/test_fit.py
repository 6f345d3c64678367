"""Fits: hyper-parameters become exact, and a wrong rule is seen to be wrong."""

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, schedules, sgd
from xpdl.gradcheck.update.fit import Candidate, compare, fit
from xpdl.gradcheck.update.rules import DECAYS, NOTHING, RULES


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def candidate(name, decay=NOTHING, finding=""):
    return Candidate(next(r for r in RULES if r.name == name and finding in r.finding), decay, NOTHING)


def test_gauss_newton_makes_the_parameters_exact(observed) -> None:
    found = fit(candidate("adam"), *observed(adam(0.3, beta1=0.7, beta2=0.95, eps=1e-4)))
    assert found.exact
    assert found.constant
    assert found.name == "adam"
    values = {"lr": 0.3, "beta1": 0.7, "beta2": 0.95, "eps": 1e-4, "eps_root": 0.0}
    assert found.hyperparameters == pytest.approx(values, rel=1e-8)
    assert found.error == pytest.approx(0, abs=1e-9)


def test_adam_with_decoupled_decay_has_its_own_name(observed) -> None:
    found = fit(candidate("adam", DECAYS[0]), *observed(adamw(0.1, weight_decay=0.2)))
    assert (found.name, found.exact) == ("adamw", True)
    assert found.hyperparameters["weight_decay"] == pytest.approx(0.2, rel=1e-6)


def test_the_rate_of_each_step_is_found(observed) -> None:
    schedule = schedules.step(0.5, every=3)
    found = fit(candidate("sgd"), *observed(sgd(schedule)))
    assert found.exact
    assert not found.constant
    assert found.rates == pytest.approx([float(schedule(np.asarray(float(t)))) for t in range(30)])
    assert found.hyperparameters["lr"] == 0.5


def test_another_rule_does_not_fit(observed) -> None:
    measured, short, long = observed(momentum(0.1))
    assert fit(candidate("sgd"), measured, short, long) is None
    wrong = compare(candidate("momentum"), {"beta": 0.8}, long)
    assert not wrong.exact
    t, c = int(wrong.worst["step"]) - 1, np.unravel_index(np.argmax(wrong.errors), wrong.errors.shape)[1]
    assert wrong.worst["observed"] == long.theta[t + 1, c] != wrong.worst["reference"]


def test_the_state_tells_rules_with_the_same_steps_apart(observed) -> None:
    seen = observed(momentum(0.3, average=True))
    average, heavy = (fit(candidate("momentum", finding=text), *seen) for text in ("is an average", "v <- beta v + g"))
    assert average.exact
    assert heavy.exact
    assert average.alike > heavy.alike
