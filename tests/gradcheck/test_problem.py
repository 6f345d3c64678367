"""Problems: the same network and samples on another backend, in another precision."""

import numpy as np
import pytest

from xpdl import Network
from xpdl.backends import backend
from xpdl.gradcheck.problem import Problem, supports


def problem(x, masks=None, weight=None):
    net = Network([3, 4, 2])
    return Problem(net, backend("numpy"), net.initialize(0, "float64"), x, np.ones((5, 2)), masks, weight)


def test_a_problem_moves_as_a_whole() -> None:
    mask = np.ones((5, 4))
    given = problem(np.ones((5, 3)), [mask], np.arange(5.0))
    moved = given.on(backend("numpy"), "float32")
    assert moved.net is given.net
    arrays = (moved.theta, moved.x, moved.y, moved.masks[0], moved.weight)
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    assert [moved.samples[0] is moved.x, moved.samples[1] is moved.y] == [True, True]
    assert np.array_equal(moved.weight, np.arange(5))


def test_images_stay_whole_numbers_and_missing_masks_stay_missing() -> None:
    moved = problem(np.ones((5, 3), np.uint8), [None]).on(backend("numpy"), "float32")
    assert moved.x.dtype == np.uint8
    assert moved.masks == [None]
    assert moved.weight is None


def test_a_backend_supports_a_dtype_or_not() -> None:
    assert supports(backend("numpy"), "float64")
    pytest.importorskip("array_api_strict")
    small = backend("array_api_strict:no_float64")
    assert (supports(small, "float32"), supports(small, "float64")) == (True, False)
