"""Pickle functions that other functions make, as the rate that ``schedules.cosine(0.1, 100)`` returns.

Python pickles a function by its name, and these have none.  Here each is pickled as its maker with the arguments, and
made again.  Copies are made in the same way.
"""

from collections.abc import Callable, Mapping
from functools import update_wrapper, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

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

    @wraps(maker)
    def make(*arguments: P.args, **options: P.kwargs) -> Any:
        def known(function: Any, field: str | None = None) -> Any:
            inner = unwrapped(function)
            return Made(inner, make, arguments, options, field) if isinstance(inner, FunctionType) else function

        made: Any = maker(*arguments, **options)
        if hasattr(made, "_fields"):
            return made._replace(**{name: known(value, name) for name, value in made._asdict().items()})
        return known(made)

    return make


def unwrapped(function: Any) -> Any:
    """Return the function in a ``Made``, and anything else unchanged."""
    return function.function if isinstance(function, Made) else function
