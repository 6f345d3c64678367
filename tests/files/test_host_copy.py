"""Trees come to the host and back to the device as they were."""

import numpy as np
import pytest

from xpdl import backend
from xpdl.files.host_copy import kinds, leaves_by_path, number, to_device, to_host


def test_a_path_that_two_leaves_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="two entries .* have the path a/0"):
        leaves_by_path({"a": [1], "a/0": 2})


def test_kinds_are_dtypes_with_shapes_or_numbers() -> None:
    assert kinds((np.zeros((2, 3), np.float32), 5)) == {"0": "float32 (2, 3)", "1": "number"}


def test_leaves_have_paths() -> None:
    tree = {"a": [1, None], "b": (2.5,)}
    assert leaves_by_path(tree) == {"a/0": 1, "b/0": 2.5}
    assert leaves_by_path(tree, "run") == {"run/a/0": 1, "run/b/0": 2.5}


@pytest.mark.parametrize("leaf", [True, 3, 0.5])
def test_a_number_stays_a_number(leaf, lib) -> None:
    assert number(leaf, lib.backend) is leaf
    assert number(lib.put(leaf), lib.backend) is None


def test_an_array_that_jit_has_made_of_a_number_becomes_a_number() -> None:
    jax, chosen = pytest.importorskip("jax"), backend("jax")
    assert number(jax.jit(lambda t: t + 1)(2), chosen) == 3
    assert number(jax.numpy.asarray(2, dtype="int32"), chosen) is None
    assert number(jax.jit(lambda t: t + 1.0)(np.zeros(2, "float32")), chosen) is None
    assert number(np.zeros(()), chosen) is None


def test_to_the_host_and_back(lib) -> None:
    tree = {"state": (lib.put([1.0, 2.0]), 3, None), "rate": lib.put(0.5)}
    host = to_host(tree, lib.backend)
    assert [type(leaf) for leaf in leaves_by_path(host).values()] == [np.ndarray, int, np.ndarray]
    back = to_device(host, tree, lib.backend)
    assert kinds(back) == kinds(tree)
    lib.close(back["state"][0], [1.0, 2.0])


def test_an_array_is_a_number_again_where_the_other_tree_has_a_number() -> None:
    assert to_device((np.array(True), np.array(4)), (True, 1), backend("numpy")) == (True, 4)


def test_copies_share_no_memory() -> None:
    numpy, array = backend("numpy"), np.zeros(2)
    copies = [to_host(array, numpy), to_device(array, array, numpy)]
    array += 1
    assert [copy.tolist() for copy in copies] == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([np.zeros(3), 1], r"0 is float64 \(3,\) in it and float64 \(2,\) here"),
        ([np.zeros(2, np.float32), 1], "0 is float32 .* in it and float64 .* here"),
        ([np.zeros(2)], "1 is nothing in it and number here"),
        ([np.zeros(2), 1, 2], "2 is number in it and nothing here"),
        ([np.zeros(2), np.zeros(1)], r"1 is float64 \(1,\) in it and number here"),
    ],
)
def test_another_structure_is_refused_with_the_first_difference(tree, message) -> None:
    with pytest.raises(ValueError, match=f"^the result to resume does not fit: {message}$"):
        to_device(tree, [np.zeros(2), 1], backend("numpy"))
