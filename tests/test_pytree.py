"""Trees: what their leaves are, which paths they have, and that a mapped tree keeps its containers."""

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest

from xpdl.pytree import flatten, tree_map, tree_map_with_path


class Pair(NamedTuple):
    first: Any
    second: Any


TREE = {"a": Pair(1, [2.5, None]), "b": OrderedDict(c=(True,), d=())}
TREES = [TREE, 7, None, [], (1, (2, (3, {}))), {2: "x", "y": [None, {"z": 3}]}, [Pair(None, Pair(1, None))]]


def leaves_with_paths(tree, path=""):
    found = []
    tree_map_with_path(lambda place, leaf: found.append((place, leaf)), tree, path)
    return found


def test_leaves_have_paths_and_none_is_no_leaf() -> None:
    assert leaves_with_paths(TREE) == [("a/first", 1), ("a/second/0", 2.5), ("b/c/0", True)]
    assert leaves_with_paths([1], "run") == [("run/0", 1)]
    assert leaves_with_paths(7, "run") == [("run", 7)]


def test_a_mapped_tree_keeps_its_containers() -> None:
    mapped = tree_map_with_path(lambda path, leaf: path, TREE)
    assert mapped == {"a": Pair("a/first", ["a/second/0", None]), "b": OrderedDict(c=("b/c/0",), d=())}
    assert [type(mapped["a"]), type(mapped["b"])] == [Pair, OrderedDict]


def test_a_mapped_defaultdict_keeps_its_factory() -> None:
    mapped = tree_map(str, defaultdict(list, a=[1]))
    assert mapped == {"a": ["1"]}
    assert mapped["b"] == []


def test_the_tree_itself_does_not_change() -> None:
    tree = {"a": [1, 2]}
    tree_map(str, tree)
    assert tree == {"a": [1, 2]}


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_flatten_has_the_leaves_in_the_order_of_the_map(tree) -> None:
    assert flatten(tree) == [leaf for _, leaf in leaves_with_paths(tree)]
    rest = iter(flatten(tree))
    assert tree_map(lambda leaf: next(rest), tree) == tree
