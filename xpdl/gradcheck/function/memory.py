"""``Memory``: what functions keep between calls, as far as it can be reached, so that it can be put back.

A complex step leaves complex numbers in caches and warm starts.  The user's own calls must not see them.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import itertools
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

DEPTH = 4
"""How many references are followed: a lambda, a method, its object, an object in that."""
ITEMS = 1000
"""How many items of a container are followed."""
CODE = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType, functools.partial)


class Memory:
    """The attributes of objects, and the items of lists and dicts, that functions can reach."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        found: dict[int, Any] = {}
        for function in functions:
            _collect(function, found, DEPTH)
        holders = [holder for holder in map(_container, found.values()) if holder is not None]
        self._containers = [(holder, type(holder)(holder)) for holder in holders if type(holder) in (list, dict)]

    def restore(self) -> None:
        """Put everything back."""
        for container, kept in self._containers:
            container.clear()
            container.extend(kept) if isinstance(container, list) else container.update(kept)


def _container(value: Any) -> Any:
    """The list or dict in which a value keeps what may change; None if there is none."""
    if isinstance(value, (list, dict)):
        return value
    return None if isinstance(value, CODE) else getattr(value, "__dict__", None)


def _collect(value: Any, found: dict[int, Any], depth: int) -> None:
    """Add a value and what it refers to."""
    if depth < 0 or id(value) in found:
        return
    found[id(value)] = value
    for other in _references(value):
        _collect(other, found, depth - 1)


def _references(value: Any) -> Iterator[Any]:
    """What a value refers to; of a function, what its code names."""
    if isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, FunctionType):
        yield from _named(value)
    elif (container := _container(value)) is not None:
        yield from itertools.islice(container if isinstance(container, list) else container.values(), ITEMS)
        yield vars(type(value)).get("__call__")


def _named(function: FunctionType) -> Iterator[Any]:
    """Global, enclosing and default values of a function."""
    yield from (function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
