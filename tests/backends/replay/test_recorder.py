"""The recorder: operations are written down, what cannot be recorded is refused, and equal runs have equal records."""

from functools import partial

import numpy as np
import pytest

import xpdl
from xpdl.arrays import namespace
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay import replayed
from xpdl.backends.replay.recorder import Record, Recorded, RecordingError, recorded, values

xp = xpdl.backend("numpy").xp
Replayed = partial(replayed.Replayed, TARGET)


def planned(step: replayed.Replayed) -> list[bool]:
    """Whether it is replayed now, for each choice of shapes."""
    return [isinstance(run, replayed.Plan) for run in step.runs.values()]


def record_of(function, *arrays):
    """The record of a function, and its result."""
    record = Record(TARGET.library)
    return record, function(*map(record.stand_in, arrays))


def test_numpy_functions_are_recorded() -> None:
    """A kernel of the user's may call ``np.tanh`` where it should ask for the namespace."""

    def step(theta):
        theta -= np.tanh(theta)
        return theta

    compiled, expected, theta = Replayed(step), np.ones(3), np.ones(3)
    for _ in range(4):
        expected, theta = expected - np.tanh(expected), compiled(theta)
    assert np.array_equal(theta, expected)
    assert planned(compiled) == [True]


def test_a_large_constant_that_changes_in_the_middle_is_seen() -> None:
    """NumPy prints arrays of more than 1,000 entries with an ellipsis."""
    masks = [np.ones((40, 50)) for _ in range(5)]
    for k, mask in enumerate(masks):
        mask[20, 25] = k
    drawn = iter(masks)

    def step(theta):
        theta += next(drawn)
        return theta

    replayed, theta = Replayed(step), np.zeros((40, 50))
    for _ in masks:
        theta = replayed(theta)
    assert theta[20, 25] == 0 + 1 + 2 + 3 + 4
    assert planned(replayed) == [False]


def test_every_operation_is_done_and_written_down() -> None:
    def function(x, y):
        z = 1.0 - x
        z *= y
        return namespace(z).exp(-z[1:]) > 0.5

    record, result = record_of(function, np.arange(3.0), np.ones(3))
    assert isinstance(result, Recorded)
    np.testing.assert_array_equal(result.value, np.exp(-np.array([0.0, -1.0])) > 0.5)
    names = [o.function.__name__ for o in record]
    assert names == ["subtract", "multiply", "_getitem", "negative", "exp", "greater"]
    assert [o.in_place for o in record] == [False, True, False, False, False, False]
    assert [o.is_view for o in record] == [False, False, True, False, False, False]


def test_a_view_knows_whose_memory_it_has() -> None:
    record = Record(TARGET.library)
    x = record.stand_in(np.arange(6.0))
    row = xp_of(x).reshape(x, (2, 3))[1, :]
    assert row.source is not None
    assert row.root is x
    assert (row + 1.0).root is not x


def xp_of(x):
    """The namespace of a recorded array."""
    return x.__array_namespace__()


@pytest.mark.parametrize(
    ("function", "message"),
    {
        "a branch": (lambda x: 1 if x[0] > 0 else 0, "must not read the values of an array"),
        "a number": (lambda x: float(x[0]), "must not read the values of an array"),
        "an assignment": (lambda x: x.__setitem__(0, 1.0), "must not read the values of an array"),
        "a loop": (list, "must not read the values of an array"),
        "a method": (lambda x: x.sum(), "the attribute sum of an array is not recorded"),
        "an out": (lambda x: np.exp(x, out=np.zeros(3)), "exp.__call__ with"),
        "a reduction of a ufunc": (lambda x: np.add.reduce(x), "add.reduce"),
        "no array": (lambda x: np.array_equal(x, x), "gives bool, which is not an array"),
    }.values(),
)
def test_what_cannot_be_recorded_is_refused(function, message) -> None:
    with pytest.raises(RecordingError, match=message):
        record_of(function, np.ones(3))


def test_trees_give_their_arrays_and_the_values_of_them() -> None:
    record = Record(TARGET.library)
    x, y = record.stand_in(np.ones(2)), record.stand_in(np.zeros(2))
    tree = {"a": (x, 3), "b": [y, None]}
    assert recorded(tree) == [x, y]
    assert values(tree)["a"][0] is x.value


def test_records_of_runs_that_did_the_same_are_spelled_the_same() -> None:
    def function(rate):
        return lambda x: xp_of(x).astype(x * rate, xp.float32)

    spelled = [record_of(function(rate), np.ones(2))[0].spelled() for rate in (0.1, 0.1, 0.2)]
    assert spelled[0] == spelled[1]
    assert spelled[0] != spelled[2]


def test_a_dtype_may_be_a_class() -> None:
    """As ``xp.int32`` of NumPy and CuPy, the class numpy.int32: it has ``tolist``, but unbound."""
    assert isinstance(xp.int32, type)
    record, _ = record_of(lambda x: xp_of(x).astype(x > 0, xp.int32), np.ones(2))
    assert "numpy.int32" in str(record.spelled())


def test_a_released_record_holds_no_array() -> None:
    record, result = record_of(lambda x: x + 1.0, np.ones(2))
    record.release()
    assert result.value is None
    assert all(x.value is None for operation in record for x in operation.inputs)
