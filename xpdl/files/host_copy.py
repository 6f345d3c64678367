"""Copies of trees of arrays, from the device to the host and back.

Python numbers in a tree stay numbers.  JAX turns them into arrays in a jitted step; here they become numbers again.
"""

from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import Backend
from xpdl.pytree import tree_map, tree_map_with_path

NUMBER = "number"


def leaves_by_path(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by their paths; ``ValueError`` if two have the same path."""
    found: dict[str, Any] = {}

    def enter(path: str, leaf: Any) -> None:
        if path in found:
            raise ValueError(f"two entries of the optimizer's state have the path {path}")
        found[path] = leaf

    tree_map_with_path(enter, tree, path)
    return found


def kinds(tree: Any, path: str = "") -> dict[str, str]:
    """Return the kind of each leaf by its path."""
    return {place: kind(leaf) for place, leaf in leaves_by_path(tree, path).items()}


def kind(leaf: Any) -> str:
    """Return the kind of a leaf: its dtype and shape as in "float32 (97,)", or NUMBER."""
    return f"{checks.dtype_name(leaf.dtype)} {tuple(leaf.shape)}" if hasattr(leaf, "dtype") else NUMBER


def number(leaf: Any, backend: Backend) -> bool | int | float | None:
    """Return a leaf as a number if it is a Python number, or an array that the backend made from one; else None."""
    if type(leaf) in (bool, int, float):
        return leaf  # type: ignore[no-any-return]
    return backend.to_numpy(leaf).item() if backend.was_number(leaf) else None


def to_host(tree: Any, backend: Backend) -> Any:
    """Return the same tree with new NumPy arrays."""

    def fetch(leaf: Any) -> Any:
        plain = number(leaf, backend)
        return leaf if not hasattr(leaf, "dtype") else np.array(backend.to_numpy(leaf)) if plain is None else plain

    return tree_map(fetch, tree)


def to_device(tree: Any, like: Any, backend: Backend) -> Any:
    """Return the same tree with new arrays on the device; ``ValueError`` unless its leaves have the kinds in ``like``.

    If ``like`` has a number in some place, an array of shape () in this place becomes a number.
    """
    expected = kinds(like)

    def plain(path: str, leaf: Any) -> Any:
        return leaf.item() if expected.get(path) == NUMBER and getattr(leaf, "shape", None) == () else leaf

    tree = tree_map_with_path(plain, tree)
    found = kinds(tree)
    for path in {**expected, **found}:
        was, now = found.get(path, "nothing"), expected.get(path, "nothing")
        if was != now:
            raise ValueError(f"the result to resume does not fit: {path} is {was} in it and {now} here")
    return tree_map(lambda leaf: put(leaf, backend), tree)


def put(leaf: Any, backend: Backend) -> Any:
    """Return a NumPy array as a new array on the device, and anything else unchanged."""
    return backend.asarray(leaf, copy=True) if isinstance(leaf, np.ndarray) else leaf
