"""prove=True: errors are planted in every entry, and what is detected is raised where one would slip."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.planting import PLANTED, proven
from xpdl.gradcheck.function.tensor import Directions, TensorCheck
from xpdl.progress import report as reported


def squares(t):
    return (t * t).sum()


def measured(probe, theta, directions):
    around = probe(squares, lambda t: 2 * t, theta)
    tensor = TensorCheck(around, "theta", 2 * theta, directions)
    with reported(1, "", shown=False) as reporter:
        tensor.measure("complex", reporter)
    return tensor


@pytest.mark.parametrize("n", [5, 400])
@pytest.mark.parametrize("method", ["auto", "central"])
def test_what_is_detected_is_proven_on_request(method, n, points) -> None:
    theta = points(0, n)
    report = check_gradient(squares, lambda t: 2 * t, theta, method=method, prove=True)
    assert report.detects == check_gradient(squares, lambda t: 2 * t, theta, method=method).detects
    note = next(note for note in report.notes if "planted" in note)
    assert note.endswith(f"planted in {min(n, PLANTED)} of {n} entries, with both signs, fails")


@pytest.mark.parametrize("large", [False, True])
def test_a_limit_that_is_too_low_is_raised_until_no_error_slips(probe, points, large) -> None:
    theta = points(0, 12)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (3, 12))
    tensor = measured(probe, theta, Directions(12, signs if large else None))
    raised, notes = proven([tensor], {"theta": 1e-14})
    assert 1e-12 < raised["theta"] < 1e-6
    assert notes[0].endswith("fails, which is more than 1.0e-14")
    again, notes = proven([tensor], raised)
    assert again == raised
    assert notes[0].endswith("fails")


def test_a_proof_is_planned_within_the_budget() -> None:
    with pytest.raises(ValueError, match="budget must allow"):
        check_gradient(squares, lambda t: 2 * t, np.ones(100), prove=True, budget=10_000)
    with pytest.raises(ValueError, match="not possible with method 'taylor'"):
        check_gradient(squares, lambda t: 2 * t, np.ones(3), prove=True, method="taylor")
