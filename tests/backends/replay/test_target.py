"""A target: what a library must say so that its steps are replayed, and that the defaults are enough for it."""

import numpy as np
import pytest

import xpdl
from xpdl.backends.numpy_replay import memory
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.recorder import Library
from xpdl.backends.replay.replayed import Replayed
from xpdl.backends.replay.target import Target

xp = xpdl.backend("numpy").xp
SMALLEST = Target(Library(xp, np, (np.ndarray, np.generic)), memory, lambda function: False, {})
"""NumPy without a word on how its functions write: every result is copied."""


def step(theta, x):
    """Products, sums, views and functions."""
    theta += xp.sum(xp.tanh(x @ xp.matrix_transpose(x)), axis=0) * theta[::-1]
    return theta


def test_the_defaults_replay_a_step() -> None:
    x, expected, theta, replayed = np.eye(3) + 0.5, np.ones(3), np.ones(3), Replayed(SMALLEST, step)
    for _ in range(5):
        expected, theta = step(expected, x), replayed(theta, x)
    assert [type(run) for run in replayed.runs.values()] == [Plan]
    assert np.array_equal(theta, expected)


def test_a_target_is_told_when_a_plan_is_ready_and_may_run_it_in_its_way() -> None:
    said = []

    def dispatch(plan, plain):
        said.append("dispatch")
        return plan

    target = SMALLEST._replace(ready=lambda calls: said.append(all(map(callable, calls))), dispatch=dispatch)
    replayed, theta = Replayed(target, step), np.ones(3)
    for _ in range(4):
        theta = replayed(theta, np.eye(3))
    assert said == [True, "dispatch"]


def test_a_target_is_told_why_a_step_is_not_replayed() -> None:
    said, rates = [], iter(range(9))

    def changing(theta):
        theta += float(next(rates))
        return theta

    def reading(theta):
        theta += float(theta[0])
        return theta

    for other in (changing, reading):
        replayed, theta = Replayed(SMALLEST._replace(notice=said.append), other), np.ones(2)
        for _ in range(3):
            theta = replayed(theta)
    assert said[0] == "the step did something else the second time"
    assert "RecordingError: a step must not read the values of an array" in said[1]


def test_a_plan_that_is_not_exact_computes_every_step() -> None:
    """The plan also computes the recorded steps, so all steps round alike."""

    def doubled(place, x):
        return lambda: np.multiply(x, 2.0, out=place)

    target = SMALLEST._replace(writers={xp.tanh: doubled}, exact=False)
    replayed, theta = Replayed(target, lambda theta: xp.tanh(theta)), np.ones(2)
    seen = []
    for _ in range(4):
        theta = replayed(theta)
        seen.append(float(theta[0]))
    assert seen == pytest.approx([2.0, 4.0, 8.0, 16.0])
