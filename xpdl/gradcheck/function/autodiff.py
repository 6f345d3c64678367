"""The derivatives that the library of the arguments computes itself, by automatic differentiation.

They are called as those that a user writes: grad(*args), vjp(cotangent, *args), jvp(tangents, *args).
"""

from collections.abc import Callable, Sequence
from typing import Any

from array_api_compat import is_array_api_obj

from xpdl.arrays import Array
from xpdl.backends import Backend, backend_of
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.sparse import dense

Function = Callable[..., Any]


def own_grad(fun: Function) -> Function:
    """(*args) -> the gradient of a scalar function."""

    def grad(*args: Any) -> Any:
        record = Record("grad", fun, args)
        outputs, backward = record.home.vjp(record.run, record.arrays)
        return record.gradients(backward([record.home.xp.ones_like(output) for output in outputs]))

    return grad


def own_vjp(fun: Function) -> Function:
    """(cotangent, *args) -> the gradients of <cotangent, fun(*args)>."""

    def vjp(cotangent: Any, *args: Any) -> Any:
        record = Record("vjp", fun, args)
        _, backward = record.home.vjp(record.run, record.arrays)
        weights = record.outputs.matched("vjp", cotangent)
        return record.gradients(backward([weights[name] for name in record.outputs.arrays]))

    return vjp


def own_jvp(fun: Function) -> Function:
    """(tangents, *args) -> the tangent of fun(*args)."""

    def jvp(tangents: Any, *args: Any) -> Any:
        record = Record("jvp", fun, args)
        along = record.arguments.matched("jvp", tangents)
        found = record.home.jvp(record.run, record.arrays, [record.array(along[name]) for name in record.names])
        leaves = dict.fromkeys([*record.outputs.variables, *record.outputs.constants])
        return record.outputs.filled(leaves | dict(zip(record.outputs.arrays, found, strict=True)))[0]

    return jvp


class Record:
    """One call of a function whose derivative is taken; numbers become arrays, so that it is followed through them."""

    home: Any  # the backend
    outputs: Arguments  # of the last run

    def __init__(self, title: str, fun: Function, args: Sequence[Any]) -> None:
        self.fun, self.arguments = fun, Arguments(args)
        self.names = list(self.arguments.variables)
        self.home = self._differentiating(title)
        self.arrays = [self.array(leaf) for leaf in self.arguments.variables.values()]

    def _differentiating(self, title: str) -> Backend:
        """The backend of the arguments, if it differentiates."""
        home = next((backend_of(array) for array in self.arguments.arrays.values()), None)
        if home is None or home.vjp is None:
            has = f"{home.name} has none" if home else "the arguments are numbers"
            raise TypeError(f"{title}=None asks for the derivatives of PyTorch or JAX, and {has}: give {title}")
        return home

    def array(self, leaf: Any) -> Array:
        """A variable, or its tangent, as an array."""
        if is_array_api_obj(leaf):
            return leaf
        like = next(iter(self.arguments.arrays.values()))
        return self.home.xp.asarray(leaf, dtype=like.dtype, device=self.home.device)

    def run(self, leaves: Sequence[Array]) -> list[Array]:
        """The floating outputs for these variables."""
        given = self.arguments.filled(dict(zip(self.names, leaves, strict=True)))
        self.outputs = Arguments([self.fun(*given)], "output")
        return [dense(array) for array in self.outputs.arrays.values()]

    def gradients(self, found: Sequence[Array | None]) -> Any:
        """Gradients of the variables in the form of the arguments, None for constants."""
        leaves = dict.fromkeys(self.arguments.constants) | dict(zip(self.names, found, strict=True))
        trees = self.arguments.filled(leaves)
        return trees[0] if len(trees) == 1 else trees
