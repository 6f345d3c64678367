"""A function of NumPy arrays, written down while it runs.

A ``Recorded`` stands for an array and has its values; whatever is done to it is done to the values, and becomes an
``Operation`` of the record.  Numbers, shapes and arrays from elsewhere are constants of the record: what is recorded
must be a function of its arguments alone, as for ``jax.jit``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import array_api_compat.numpy as xp
import numpy as np

BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
"""Python's operators that numbers may stand to the left of, and that have augmented assignment."""

PLAIN: dict[str, Callable[..., Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "neg": np.negative,
    "abs": np.absolute,
    "invert": np.invert,
    "getitem": lambda x, key: x[key],
}
"""Those that have neither."""


class RecordingError(TypeError):
    """What cannot be written down: a branch on a value, a number read from an array."""


class Recorded:
    """An array of a record.  ``source`` is the one it is a view of, None if it has memory of its own."""

    __hash__ = object.__hash__
    device = "cpu"

    def __init__(self, value: np.ndarray, record: "Record", source: "Recorded | None" = None) -> None:
        self.value, self.record, self.source = value, record, source
        self.shape, self.dtype, self.ndim = value.shape, value.dtype, value.ndim

    @property
    def root(self) -> "Recorded":
        """Whose memory this is."""
        return self if self.source is None else self.source.root

    def __array_namespace__(self, *, api_version: str | None = None) -> "Namespace":
        return NAMESPACE

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        if method != "__call__" or "out" in options:
            raise RecordingError(f"{ufunc.__name__}.{method} with {options}")
        return apply(ufunc, *operands, **options)

    def __array_function__(self, function: Callable[..., Any], types: Any, operands: Any, options: Any) -> Any:
        return apply(function, *operands, **options)

    def _refuse(self, *arguments: Any) -> Any:
        raise RecordingError("the values of an array are not to be read in a step")

    __array__ = __bool__ = __complex__ = __float__ = __index__ = __int__ = __iter__ = __len__ = __setitem__ = _refuse


class Operation(NamedTuple):
    """result = function(*operands, **options); the result of augmented assignment is the first operand."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    options: dict[str, Any]
    result: Recorded

    @property
    def inputs(self) -> list[Recorded]:
        """The recorded arrays among the operands."""
        return recorded(self.operands)

    @property
    def in_place(self) -> bool:
        """Whether it is an augmented assignment."""
        return self.operands[0] is self.result

    @property
    def is_view(self) -> bool:
        """Whether its result lies in the memory of an operand."""
        return self.result.source is not None and not self.in_place


class Record(list[Operation]):
    """The operations of one run, in order."""

    def spelled(self) -> list[Any]:
        """What is the same each time the same is done: arrays by number, everything else as it prints."""
        numbers: dict[int, int] = {}

        def spell(x: Any) -> Any:
            if isinstance(x, (list, tuple)):
                return [spell(item) for item in x]
            return numbers.setdefault(id(x), len(numbers)) if isinstance(x, Recorded) else repr(x)

        return [spell([o.operands, sorted(o.options.items()), o.result]) for o in self]


class Namespace:
    """The Array API namespace of recorded arrays."""

    __name__ = "xpdl.backends.record"

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(xp, name)
        return attribute if isinstance(attribute, type) or not callable(attribute) else partial(apply, attribute)


NAMESPACE = Namespace()


def apply(function: Callable[..., Any], *operands: Any, **options: Any) -> Any:
    """Do it, and write it down if there is anything recorded among the operands."""
    value, inputs = function(*values(operands), **options), recorded(operands)
    if not inputs:
        return value
    if not isinstance(value, (np.ndarray, np.generic)):
        raise RecordingError(f"{function} of an array gives {type(value).__name__}, which is no array")
    for x in inputs:
        if x.value is value:
            return x
    sources = [x for x in inputs if isinstance(value, np.ndarray) and np.may_share_memory(x.value, value)]
    record = inputs[0].record
    result = Recorded(np.asarray(value), record, sources[0] if sources else None)
    record.append(Operation(function, operands, options, result))
    return result


def assign(function: Callable[..., Any], x: Recorded, y: Any) -> Recorded:
    """Augmented assignment."""
    function(x.value, values(y), out=x.value)
    x.record.append(Operation(function, (x, y), {}, x))
    return x


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tuples, lists and dicts with function(leaf) for every leaf; None is no leaf."""
    if isinstance(tree, dict):
        return {key: tree_map(function, item) for key, item in tree.items()}
    if not isinstance(tree, (list, tuple)):
        return None if tree is None else function(tree)
    items = [tree_map(function, item) for item in tree]
    return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)


def flatten(tree: Any) -> list[Any]:
    """The leaves of a tree."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree)
    return leaves


def values(tree: Any) -> Any:
    """The tree with values for recorded arrays."""
    return tree_map(lambda x: x.value if isinstance(x, Recorded) else x, tree)


def recorded(tree: Any) -> list[Recorded]:
    """The recorded arrays in a tree."""
    return [x for x in flatten(tree) if isinstance(x, Recorded)]


def _give_operator(name: str, function: Callable[..., Any]) -> None:
    setattr(Recorded, f"__{name}__", lambda x, *y: apply(function, x, *y))
    if name in BINARY:
        setattr(Recorded, f"__r{name}__", lambda x, y: apply(function, y, x))
        setattr(Recorded, f"__i{name}__", lambda x, y: assign(function, x, y))


for _name, _function in (BINARY | PLAIN).items():
    _give_operator(_name, _function)
