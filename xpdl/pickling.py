"""Pickle functions that other functions make, as the rate that ``schedules.cosine(0.1, 100)`` returns, and name them.

Python pickles a function by its name, and these have none.  Here each is pickled as its maker with the arguments, and
made again.  Copies are made in the same way.  In files of xpdl, what ``huber(1.5)`` makes has the name "huber:1.5".
"""

from collections.abc import Callable, Mapping
from functools import update_wrapper, wraps
from inspect import signature
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from xpdl import checks

P = ParamSpec("P")
T = TypeVar("T")


class Made:
    """A function with what made it: maker(*arguments, **options), or the field of that name of the result."""

    def __init__(
        self,
        function: Callable[..., Any],
        maker: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        field: str | None,
    ) -> None:
        self.recipe = (maker, arguments, dict(options), field)
        update_wrapper(self, function)
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __repr__(self) -> str:
        maker, arguments, options, field = self.recipe
        given = ", ".join([*map(repr, arguments), *(f"{name}={value!r}" for name, value in options.items())])
        return f"{maker.__name__}({given}){'' if field is None else f'.{field}'}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, self.recipe

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Made) and self.recipe == other.recipe)

    def __hash__(self) -> int:
        return hash((self.recipe[0], self.recipe[3]))


def _make(maker: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any], field: str | None) -> Any:
    made = maker(*arguments, **options)
    return made if field is None else getattr(made, field)


def picklable(maker: Callable[P, T]) -> Callable[P, T]:
    """Let what ``maker`` returns be pickled: a function, or a named tuple that holds functions."""

    takes = signature(maker)

    @wraps(maker)
    def make(*arguments: P.args, **options: P.kwargs) -> Any:
        made: Any = maker(*arguments, **options)
        given = takes.bind(*arguments, **options)
        given.apply_defaults()  # so that the same numbers are the same recipe
        given.arguments.update({name: _plain(value) for name, value in given.arguments.items()})

        def known(function: Any, field: str | None = None) -> Any:
            inner = unwrapped(function)
            local = isinstance(inner, FunctionType) and "<locals>" in inner.__qualname__
            return Made(inner, make, given.args, given.kwargs, field) if local else function

        if hasattr(made, "_fields"):
            return made._replace(**{name: known(value, name) for name, value in made._asdict().items()})
        return known(made)

    return make


def _plain(value: Any) -> Any:
    """Return an array or a list as a tuple: recipes are compared."""
    return tuple(value.tolist()) if getattr(value, "ndim", 0) else tuple(value) if isinstance(value, list) else value


def unwrapped(function: Any) -> Any:
    """Return the function in a ``Made``, and anything else unchanged."""
    return function.function if isinstance(function, Made) else function


def named(argument: str, name: Any, table: Mapping[str, T], families: Mapping[str, Callable[[float], T]]) -> T:
    """Return the entry of this name in the table, or what the family makes of the number behind a colon."""
    family, colon, number = name.partition(":") if isinstance(name, str) else (name, "", "")
    if not (colon and family in families):
        return table[checks.choice(argument, name, table)]
    try:
        return families[family](float(number))
    except ValueError as error:
        raise ValueError(f"{argument} must have a number behind {family + ':'!r}, got {name!r}: {error}") from None


def name_of(value: T, table: Mapping[str, T], families: Mapping[str, Callable[[float], T]]) -> str | None:
    """Return the name for ``named`` of a value that is in the table, or that one of the families has made."""
    known = (name for name, entry in table.items() if entry == value)
    return next(known, None) or next(filter(None, (_number_of(value, *family) for family in families.items())), None)


def _number_of(value: Any, family: str, maker: Callable[[float], Any]) -> str | None:
    """Return the name of a value that the maker has made of one number, else None."""
    made = next((part for part in value if isinstance(part, Made)), None)
    if made is None or made.recipe[0] is not maker:
        return None
    _, arguments, options, _ = made.recipe
    numbers = [*arguments, *options.values()]
    same = len(numbers) == 1 and maker(*arguments, **options) == value
    return f"{family}:{float(numbers[0])!r}" if same else None
