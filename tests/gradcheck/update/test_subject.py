"""The optimizer under test: the paths of theta, its state, and entries that take the same path."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from xpdl import adam, momentum, sgd
from xpdl.gradcheck.update.subject import arrays_in, groups_of, observe


def test_a_path_is_theta_before_and_after_each_step(subject) -> None:
    path = subject(sgd(0.5)).run(1.0, [1.0, 0.0, -2.0])
    assert path.tolist() == [[1.0] * 4, [0.5] * 4, [0.5] * 4, [1.5] * 4]


def test_a_path_is_not_a_number_once_arithmetic_fails(subject) -> None:
    def update(theta, grad, state):
        return theta - grad * (1 / (2 - state)), state + 1

    path = subject((lambda theta: 1, update)).run(0.0, [1.0, 1.0, 1.0])
    assert path[:, 0].tolist() == pytest.approx([0, -1, np.nan, np.nan], nan_ok=True)


def test_the_state_after_a_history(subject) -> None:
    (velocity,) = subject(momentum(0.1, beta=0.5)).slots(0.0, [1.0, 1.0])
    assert velocity == pytest.approx(0.15)
    assert len(subject(adam()).slots(0.0, [1.0])) == 2


def test_arrays_are_found_in_a_state_of_any_shape() -> None:
    @dataclass
    class Moments:
        first: Any
        rest: Any

    one, two, three = np.ones(1), np.ones(2), np.ones(3)
    found = arrays_in({"a": Moments(one, [(two, "text", 3)]), "b": MappingProxyType({"z": three}), "c": None})
    assert [array.size for array in found] == [1, 2, 3]


@pytest.mark.parametrize("result", [3, (np.ones(4),), (np.ones(3), None), ("theta", None)])
def test_what_update_returns_is_checked(subject, result) -> None:
    with pytest.raises(TypeError, match=r"optimizer.update must return"):
        subject((lambda theta: None, lambda theta, grad, state: result)).run(0.0, [1.0])


def test_entries_that_take_the_same_path_are_a_group(subject) -> None:
    rates = np.array([0.1, 0.2, 0.1, 0.1, 0.2])
    given = subject((lambda theta: None, lambda theta, grad, state: (theta - rates * grad, state)), size=5)
    paths = observe(given, [(0.0, np.array([1.0, -2.0])), (1.0, np.array([0.5, 3.0]))])
    assert paths.theta.shape == (3, 2, 5)
    assert groups_of(paths) == [[0, 2, 3], [1, 4]]
    one = paths.of(1)
    assert one.theta[:, 0].tolist() == pytest.approx([0, -0.2, 0.2])
    assert one.scale == pytest.approx([0.4, 0.6], rel=1e-6)
