"""Trees: the paths of their leaves, and that they come back from the host and to the device as they were."""

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

from xpdl import backend
from xpdl.files.pytree import kinds, leaves, map_leaves, number, on_device, on_host


class Pair(NamedTuple):
    first: Any
    second: Any


TREE = {"a": Pair(1, [2.5, None]), "b": OrderedDict(c=(True,), d=())}


def test_leaves_have_paths_and_none_is_none_of_them() -> None:
    assert leaves(TREE) == {"a/first": 1, "a/second/0": 2.5, "b/c/0": True}
    assert leaves(TREE, "run") == {f"run/{path}": leaf for path, leaf in leaves(TREE).items()}
    assert leaves(7, "run") == {"run": 7}


def test_a_path_that_two_leaves_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="two entries .* have the path a/0"):
        leaves({"a": [1], "a/0": 2})


def test_a_tree_keeps_its_containers() -> None:
    mapped = map_leaves(lambda path, leaf: path, TREE)
    assert mapped == {"a": Pair("a/first", ["a/second/0", None]), "b": OrderedDict(c=("b/c/0",), d=())}
    assert [type(mapped["a"]), type(mapped["b"])] == [Pair, OrderedDict]


def test_kinds_are_dtypes_with_shapes_or_numbers() -> None:
    assert kinds((np.zeros((2, 3), np.float32), 5)) == {"0": "float32 (2, 3)", "1": "number"}


@pytest.mark.parametrize("leaf", [True, 3, 0.5])
def test_a_number_stays_one(leaf) -> None:
    assert number(leaf, np.asarray) is leaf
    assert number(np.asarray(leaf), np.asarray) is None


def test_a_number_that_a_jitted_function_returns_is_one_again() -> None:
    jax = pytest.importorskip("jax")
    assert number(jax.jit(lambda t: t + 1)(2), np.asarray) == 3
    assert number(jax.numpy.asarray(2, dtype="int32"), np.asarray) is None


def test_to_the_host_and_back(lib) -> None:
    tree = {"state": (lib.put([1.0, 2.0]), 3, None), "rate": lib.put(0.5)}
    host = on_host(tree, lib.backend)
    assert [type(leaf) for leaf in leaves(host).values()] == [np.ndarray, int, np.ndarray]
    back = on_device(host, tree, lib.backend)
    assert kinds(back) == kinds(tree)
    lib.close(back["state"][0], [1.0, 2.0])


def test_what_jit_has_made_an_array_of_is_a_number_again() -> None:
    assert on_device((np.array(True), np.array(4)), (True, 1), backend("numpy")) == (True, 4)


def test_what_comes_is_a_copy() -> None:
    numpy, array = backend("numpy"), np.zeros(2)
    copies = [on_host(array, numpy), on_device(array, array, numpy)]
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
        on_device(tree, [np.zeros(2), 1], backend("numpy"))
