"""``Arguments``: trees of arrays and numbers, taken apart into named leaves and put together again.

Dicts, lists, tuples, NamedTuples and dataclasses are followed to any depth.  A leaf has the name by which Python
reaches it: ``args[1]["layer1"].w``.  Floating arrays and numbers are variables, everything else is a constant.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import copy
from dataclasses import fields, is_dataclass
from functools import cache
import json
from typing import Any

from array_api_compat import is_array_api_obj

from xpdl import checks
from xpdl.arrays import namespace

Child = tuple[str, Any]
"""(how Python reaches it from its parent, what is there)."""


class Arguments:
    """The arguments of a function, and the leaves in them that can be differentiated.

    variables   floating arrays and numbers by name: "theta", "W1" of a dict, 'args[1]["layer1"].w' of several
    arrays      those of them that are arrays
    constants   everything else, by name

    ``only`` is the place of an argument that is the only one.
    """

    def __init__(self, args: Sequence[Any], only: str = "theta") -> None:
        self.args = tuple(args)
        self.roots = [only] if len(args) == 1 else [f"args[{k}]" for k in range(len(args))]
        leaves = {place: leaf for root, arg in zip(self.roots, args, strict=True) for place, leaf in walk(arg, root)}
        self.names = self._named(leaves)
        self.places = {name: place for place, name in self.names.items()}
        self.variables = {name: leaves[place] for name, place in self.places.items() if is_variable(leaves[place])}
        self.arrays = {name: leaf for name, leaf in self.variables.items() if is_array_api_obj(leaf)}
        self.constants = {name: leaves[place] for name, place in self.places.items() if name not in self.variables}

    def filled(self, leaves: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments with other variables, by name, in new containers."""
        values = {self.places[name]: leaf for name, leaf in leaves.items()}
        return tuple(
            values[root] if root in values else fill(arg, root, values)
            for root, arg in zip(self.roots, self.args, strict=True)
        )

    def leaves_of(self, args: Sequence[Any]) -> dict[str, Any]:
        """All leaves of arguments that were filled, by name."""
        return {
            self.names.get(place, place): leaf
            for root, arg in zip(self.roots, args, strict=True)
            for place, leaf in walk(arg, root)
        }

    def matched(self, title: str, result: Any) -> dict[str, Any]:
        """What ``title`` returned for the variables, by name."""
        found = self.paired(title, result)
        return {name: found[name] for name in self.variables}

    def paired(self, title: str, result: Any) -> dict[str, Any]:
        """What ``title`` returned for all leaves, by name: of each argument a tree of the same form.

        That of an only argument may be in a tuple of one, as ``jax.vjp`` returns it.
        """
        if len(self.args) == 1 and isinstance(result, tuple) and len(result) == 1 and not _is_one(self.args[0]):
            result = result[0]
        results = [result] * len(self.args)
        if result is not None and len(self.args) > 1:
            if not isinstance(result, (tuple, list)) or len(result) != len(self.args):
                raise TypeError(
                    f"{title} must return a tuple of {len(self.args)} gradients, got {checks.shorten(result)}"
                )
            results = list(result)
        return {
            self.names[place]: leaf
            for root, arg, tree in zip(self.roots, self.args, results, strict=True)
            for place, leaf in pair_up(arg, tree, root, title)
        }

    def _named(self, places: Iterable[str]) -> dict[str, str]:
        """The leaves by place: their places where two would have one name, such as {"a": [x], "a[0]": y}."""
        names = {place: self._name(place) for place in places}
        return names if len(set(names.values())) == len(names) else {place: place for place in names}

    def _name(self, place: str) -> str:
        """A leaf of the only argument has the name of its key, if that is a dict: "W1", not 'theta["W1"]'."""
        if len(self.args) > 1 or not isinstance(self.args[0], Mapping):
            return place
        root = self.roots[0]
        key = next((key for key in self.args[0] if place.startswith(f"{root}{_item(key)}")), None)
        return f"{key}{place.removeprefix(f'{root}{_item(key)}')}" if isinstance(key, str) else place


def is_variable(leaf: Any) -> bool:
    """Whether a leaf is a floating number or an array of them."""
    if not is_array_api_obj(leaf):
        return isinstance(leaf, (float, complex))
    try:
        return bool(namespace(leaf).isdtype(leaf.dtype, ("real floating", "complex floating")))
    except TypeError:  # a dtype of the library alone, such as that of JAX's keys
        return False


def is_opaque(leaf: Any) -> bool:
    """Whether a leaf is an object of a class that is not known here, such as a sparse array or a node of a tree."""
    return not (is_array_api_obj(leaf) or leaf is None or isinstance(leaf, (int, float, complex, str, bytes)))


def _is_one(tree: Any) -> bool:
    """Whether a tree is itself a tuple or a list of one entry."""
    return isinstance(tree, (tuple, list)) and len(tree) == 1


# Trees


def children(tree: Any) -> list[Child] | None:
    """What a container holds, in order; None for a leaf."""
    if isinstance(tree, Mapping):
        return [(_item(key), value) for key, value in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{name}", value) for name, value in zip(tree._fields, tree, strict=True)]
    if isinstance(tree, (list, tuple)):
        return [(f"[{k}]", value) for k, value in enumerate(tree)]
    if is_dataclass(tree) and not isinstance(tree, type):
        return [(f".{field.name}", getattr(tree, field.name)) for field in fields(tree)]
    return None


def _item(key: Any) -> str:
    return f"[{_quoted(key) if isinstance(key, str) else repr(key)}]"


@cache
def _quoted(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def walk(tree: Any, place: str) -> Iterator[Child]:
    """The leaves of a tree with their places, where ``place`` is that of the tree."""
    inside = children(tree)
    if inside is None:
        yield place, tree
    for step, child in inside or ():
        yield from walk(child, place + step)


def fill(tree: Any, place: str, leaves: Mapping[str, Any]) -> Any:
    """The tree with other leaves at some places, in new containers."""
    inside = children(tree)
    if inside is None:
        return leaves.get(place, tree)
    return _container(tree, [fill(child, place + step, leaves) for step, child in inside])


def _container(tree: Any, items: list[Any]) -> Any:
    """A container like the tree that holds these items."""
    if isinstance(tree, Mapping):
        return _with_items(tree, dict(zip(tree, items, strict=True)))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*items)
    if isinstance(tree, (list, tuple)):
        return type(tree)(items)
    other = copy.copy(tree)
    for field, item in zip(fields(tree), items, strict=True):
        object.__setattr__(other, field.name, item)  # a frozen dataclass, too
    return other


def _with_items(mapping: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the same kind: a defaultdict keeps its factory, and one that cannot be changed is made anew."""
    if not isinstance(mapping, dict):
        return type(mapping)(items)  # type: ignore[call-arg]
    other = copy.copy(mapping)
    other.update(items)
    return other


def pair_up(tree: Any, result: Any, place: str, title: str) -> Iterator[Child]:
    """The leaves of a result that has the form of a tree; where the result is None, each leaf below is None."""
    expected, found = children(tree), children(result)
    if expected is None:
        yield place, result
    elif result is None:
        yield from ((leaf, None) for leaf, _ in walk(tree, place))
    elif found is None or isinstance(tree, Mapping) != isinstance(result, Mapping):
        kind = "dict" if isinstance(tree, dict) else type(tree).__name__
        raise TypeError(f"{title} must return a {kind} like {place}, got {checks.shorten(result)}")
    else:
        if isinstance(tree, tuple) and not hasattr(result, "_fields") and len(found) == len(expected):
            found = [(step, value) for (step, _), (_, value) in zip(expected, found, strict=True)]
        others = {step: None for step, child in expected if not _varies(child)} | dict(found)
        _same_keys(expected, list(others.items()), place, title)
        for step, child in expected:
            yield from pair_up(child, others[step], place + step, title)


def _varies(tree: Any) -> bool:
    """Whether a variable is in a tree; a result may leave out what holds constants only."""
    return any(is_variable(leaf) for _, leaf in walk(tree, ""))


def _same_keys(expected: Sequence[Child], found: Sequence[Child], place: str, title: str) -> None:
    wanted, given = ([step for step, _ in steps] for steps in (expected, found))
    if sorted(wanted) != sorted(given):
        raise ValueError(f"{title} must return the keys of {place}, {', '.join(wanted)}, got {', '.join(given)}")
