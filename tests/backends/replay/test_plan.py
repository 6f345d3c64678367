"""Plans: each result has its place in memory, arrays are copied only where they must be, and inputs may change."""

from functools import partial

import numpy as np
import pytest

import xpdl
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay import replayed
from xpdl.backends.replay.plan import Plan, Pool, needed, users
from xpdl.backends.replay.recorder import Record
from xpdl.backends.replay.target import unfused

xp = xpdl.backend("numpy").xp
Replayed = partial(replayed.Replayed, TARGET)


def recorded(function, *arrays):
    """The record of a function, its inputs and its result."""
    record = Record(TARGET.library)
    inputs = [record.stand_in(array) for array in arrays]
    return record, inputs, function(*inputs)


def test_gradients_are_computed_where_they_are_joined() -> None:
    """No product is copied into the gradient: ``concat`` finds every part in its place."""

    def step(theta, x):
        w, v = xp.reshape(theta[:12], (3, 4)), xp.reshape(theta[12:], (4, 2))
        a = x @ w
        dv = xp.matrix_transpose(a) @ (a @ v)
        dw = xp.matrix_transpose(x) @ (a @ v @ xp.matrix_transpose(v))
        theta += xp.concat([xp.reshape(dw, (-1,)), xp.reshape(dv, (-1,))])
        return theta

    rng = np.random.default_rng(0)
    x, theta = rng.normal(size=(5, 3)), rng.normal(size=20)
    expected, compiled = [theta := step(theta.copy(), x) for _ in range(4)][-1], Replayed(step)
    theta = np.random.default_rng(0).normal(size=35)[15:].copy()
    for _ in range(4):
        theta = compiled(theta, x)
    assert np.array_equal(theta, expected)
    (plan,) = compiled.runs.values()
    (joined,) = [o for o in plan.record if o.function is xp.concat]
    assert all(np.shares_memory(plan.arrays[joined.results[0]], plan.arrays[part]) for part in joined.inputs)


def test_what_is_not_consumed_is_never_written() -> None:
    def step(theta, x):
        theta += xp.sum(x * x)
        return theta

    compiled, theta = Replayed(step), np.zeros(3)
    for k in range(1, 6):
        x = np.full(2, float(k))
        x.flags.writeable = False
        theta = compiled(theta, x)
    assert theta.tolist() == [2.0 * (1 + 4 + 9 + 16 + 25)] * 3


def test_results_may_change_places() -> None:
    """The state of the next step is the state of this step in another order."""

    def step(state):
        a, b = state
        a *= 2.0
        return b, a

    compiled, state = Replayed(step), (np.ones(2), np.full(2, 3.0))
    for _ in range(6):
        state = compiled(state)
    assert [x.tolist() for x in state] == [[8.0, 8.0], [24.0, 24.0]]


def test_a_new_array_in_place_of_a_consumed_one_is_read() -> None:
    def step(theta):
        return theta * 2.0

    compiled, theta = Replayed(step), np.ones(3)
    for _ in range(5):
        theta = compiled(theta)
    assert theta.tolist() == [32.0] * 3
    assert compiled(np.full(3, 5.0)).tolist() == [10.0] * 3


def test_an_operand_that_is_broadcast_is_not_written_over() -> None:
    """This holds even if the result has as many bytes: 4 numbers of 8 bytes, 32 of 1 byte."""
    column = np.linspace(0, 6, 8)[:, None]

    def step(theta):
        hit = xp.reshape(theta, (1, 4)) * 2.0 > column
        theta += xp.sum(xp.astype(hit, theta.dtype), axis=0)
        return theta

    expected, theta, replayed = np.arange(4.0), np.arange(4.0), Replayed(step)
    for _ in range(4):
        expected, theta = step(expected), replayed(theta)
    assert np.array_equal(theta, expected)


def test_a_plan_is_calls_into_the_same_memory() -> None:
    def function(theta, x):
        theta += x * 2.0
        return theta

    record, inputs, result = recorded(function, np.zeros(3), np.ones(3))
    plan = Plan(TARGET, record, inputs, 1, result)
    results = [plan((), [np.zeros(3), np.full(3, float(k))])[0] for k in (1, 2)]
    assert results[0] is results[1]
    assert results[1].tolist() == [4.0] * 3
    assert len(plan.calls) == 2


def test_what_nobody_reads_is_not_done() -> None:
    """Unused views are left out, too; operations that change an argument are done."""

    def function(theta, x):
        y = xp.exp(x)[1:]
        theta += 1.0
        return x * 3.0, y[:1]

    record, _, (kept, _) = recorded(function, np.zeros(3), np.ones(3))
    assert [o.function for o in needed(record, [kept])] == [np.add, np.multiply]


def test_users_of_an_input_read_its_memory_directly_or_through_views() -> None:
    def function(x, y):
        return (x[1:] * y[1:]) + y[:2]

    record, [x, y], _ = recorded(function, np.zeros(3), np.ones(3))
    read = {name: {record[number].function for number in users(record, z)} for name, z in {"x": x, "y": y}.items()}
    assert np.multiply in read["x"]
    assert np.add not in read["x"]
    assert {np.multiply, np.add} <= read["y"]


def test_memory_is_used_again_only_where_the_target_says_so() -> None:
    x = Record(TARGET.library).stand_in(np.zeros(4))
    for reuse in (True, False):
        pool = Pool(TARGET._replace(reuse=reuse))
        first = pool.take(x)
        pool.give(first)
        assert np.shares_memory(first, pool.take(x)) == reuse


@pytest.mark.parametrize("fusion", [unfused, TARGET.fusion])
def test_a_plan_of_a_fusion_does_the_same(fusion) -> None:
    def step(theta, x):
        theta += xp.sqrt(x * x + 1.0)
        return theta

    x, expected = np.linspace(-1, 1, 200_000), np.zeros(200_000)
    compiled, theta = replayed.Replayed(TARGET._replace(fusion=fusion), step), np.zeros(200_000)
    for _ in range(4):
        expected, theta = step(expected, x), compiled(theta, x)
    assert np.array_equal(theta, expected)
