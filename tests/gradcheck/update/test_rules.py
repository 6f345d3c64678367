"""Rules: each recurrence is that of its optimizer, and a change does to it what it says."""

from collections import defaultdict

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, rmsprop, sgd
from xpdl.gradcheck.update.rules import COUNTED, DECAYS, LOST, NOTHING, REPEATED, RULES

VALUES = {
    "beta": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "decay": 0.9,
    "dampening": 0.3,
    "eps": 1e-8,
    "eps_root": 0.0,
    "weight_decay": 0.1,
}
GRADS = [1.0, -0.5, 2.0, 0.25]


def path(recurrence, lr=0.1, grads=GRADS):
    """theta after each step, from 1."""
    p, memory, thetas = 1.0, defaultdict(float), []
    for t, g in enumerate(grads, 1):
        p = recurrence(p, g, memory, t, lr, VALUES)
        thetas.append(p)
    return thetas


def path_of(optimizer, grads=GRADS):
    theta = np.ones(1)
    state, thetas = optimizer.init(theta), []
    for g in grads:
        theta, state = optimizer.update(theta, np.array([g]), state)
        thetas.append(float(theta[0]))
    return thetas


def rule(name, finding=""):
    return next(row for row in RULES if row.name == name and finding in row.finding)


@pytest.mark.parametrize(
    ("name", "finding", "optimizer"),
    [
        ("sgd", "", sgd(0.1)),
        ("momentum", "v <- beta v + lr g", momentum(0.1)),
        ("momentum", "is an average", momentum(0.1, average=True)),
        ("nesterov", "v <- beta v + lr g", momentum(0.1, nesterov=True)),
        ("rmsprop", "", rmsprop(0.1)),
        ("adam", "", adam(0.1)),
    ],
)
def test_a_rule_makes_the_steps_of_its_optimizer(name, finding, optimizer) -> None:
    assert path(rule(name, finding).recurrence) == pytest.approx(path_of(optimizer), rel=1e-12)


def test_decoupled_decay_is_that_of_adamw() -> None:
    decayed = DECAYS[0].of(rule("adam").recurrence)
    assert path(decayed) == pytest.approx(path_of(adamw(0.1, weight_decay=0.1)), rel=1e-12)


def test_a_change_does_what_it_says() -> None:
    plain = rule("sgd").recurrence
    assert path(NOTHING.of(plain)) == path(plain)
    twice = next(change for change in REPEATED if change.finding == "applied 2 times a step")
    assert path(twice.of(plain)) == pytest.approx(path(plain, lr=0.2))
    heavy = rule("momentum", "v <- beta v + g").recurrence
    coupled = next(change for change in DECAYS if "coupled: added" in change.finding)
    assert path(coupled.of(heavy))[0] == pytest.approx(1 - 0.1 * (1 + 0.1 * 1))


def test_a_lost_moment_is_0_before_each_step() -> None:
    first = next(change for change in LOST if "first" in change.finding)
    forgetful = first.of(rule("adam").recurrence)
    memory = defaultdict(float)
    for t in (1, 2):
        forgetful(1.0, 4.0, memory, t, 0.1, VALUES)
        assert memory["m"] == pytest.approx(0.4)


def test_counters_have_different_words() -> None:
    texts = [change.finding for change in COUNTED]
    assert len(set(texts)) == len(texts)
    assert "the step counter starts at 2 and not at 1" in texts
    assert "the step counter advances by 3 a step" in texts
