"""Trees: tuples, lists and dicts with arrays and numbers in them, such as the state of an optimizer.

Each leaf has a path, "state/0".  None is a part of the structure.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import Backend

NUMBER = "number"


def map_leaves(function: Callable[[str, Any], Any], tree: Any, path: str = "") -> Any:
    """The same tree with function(path, leaf) in the place of each leaf."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return type(tree)((key, map_leaves(function, part, _join(path, key))) for key, part in tree.items())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        named = zip(tree._fields, tree, strict=True)
        return type(tree)(*(map_leaves(function, part, _join(path, name)) for name, part in named))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_leaves(function, part, _join(path, i)) for i, part in enumerate(tree))
    return function(path, tree)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    found: dict[str, Any] = {}

    def enter(path: str, leaf: Any) -> None:
        if path in found:
            raise ValueError(f"two entries of the optimizer's state have the path {path}")
        found[path] = leaf

    map_leaves(enter, tree, path)
    return found


def kinds(tree: Any, path: str = "") -> dict[str, str]:
    """What the leaves are, by their paths."""
    return {place: kind(leaf) for place, leaf in leaves(tree, path).items()}


def number(leaf: Any, host: Callable[[Any], np.ndarray]) -> bool | int | float | None:
    """The leaf if it is a Python number, also one that ``jax.jit`` has made a weakly typed array of; else None."""
    if type(leaf) in (bool, int, float):
        return leaf  # type: ignore[no-any-return]
    return host(leaf).item() if getattr(leaf, "weak_type", False) and leaf.shape == () else None


def on_host(tree: Any, backend: Backend) -> Any:
    """The same tree with NumPy arrays of its own."""

    def fetch(path: str, leaf: Any) -> Any:
        plain = number(leaf, backend.to_numpy)
        return leaf if not hasattr(leaf, "dtype") else np.array(backend.to_numpy(leaf)) if plain is None else plain

    return map_leaves(fetch, tree)


def on_device(tree: Any, like: Any, backend: Backend) -> Any:
    """The same tree with arrays of its own on the device; ``ValueError`` unless its leaves are of the kinds in like.

    What is a number in like becomes one again: ``jax.jit`` makes arrays of shape () of them.
    """
    expected = kinds(like)

    def plain(path: str, leaf: Any) -> Any:
        return leaf.item() if expected.get(path) == NUMBER and getattr(leaf, "shape", None) == () else leaf

    tree = map_leaves(plain, tree)
    found = kinds(tree)
    for path in {**expected, **found}:
        was, now = found.get(path, "nothing"), expected.get(path, "nothing")
        if was != now:
            raise ValueError(f"the result to resume does not fit: {path} is {was} in it and {now} here")
    return map_leaves(lambda _, leaf: backend.asarray(leaf, copy=True) if isinstance(leaf, np.ndarray) else leaf, tree)


def kind(leaf: Any) -> str:
    """What a leaf is: "float32 (97,)", or NUMBER."""
    return f"{checks.dtype_name(leaf.dtype)} {tuple(leaf.shape)}" if hasattr(leaf, "dtype") else NUMBER


def _join(path: str, key: Any) -> str:
    return f"{path}/{key}" if path else str(key)
