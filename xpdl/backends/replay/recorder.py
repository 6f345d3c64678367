"""Record: write down the array operations of a function while it runs.

A ``Recorded`` represents an array and holds it.  Every operation on a ``Recorded`` is done on its array, and becomes an
``Operation`` of the record.  Numbers, shapes and arrays from elsewhere are constants of the record.  So the function
must depend on its arguments alone, as for ``jax.jit``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from xpdl.backends.kernels.operations import OPERATIONS
from xpdl.backends.shared import once
from xpdl.pytree import flatten, tree_map

OPERATORS = {row.operator: name for name, row in OPERATIONS.items() if row.operator} | {"matmul": "matmul"}
"""Python's operators, and NumPy's names of the functions that do the same."""

REFLECTED = {operator for operator in OPERATORS if hasattr(int, f"__r{operator}__")} | {"matmul"}
"""The operators whose left operand may be a number.  The same operators have an augmented assignment."""


class RecordingError(TypeError):
    """Something cannot be recorded, such as a branch on a value, or a number that is read from an array."""


class Library(NamedTuple):
    """The description of an array library for recording and replaying.

    xp      the namespace of the standard
    module  an object with functions by NumPy's names: those of OPERATORS, and asarray, copy, copyto, moveaxis and
            may_share_memory
    types   the types of its arrays; the arguments of a step have the first of them
    """

    xp: Any
    module: Any
    types: tuple[type, ...]


class Recorded:
    """An array of a record.  If it is a view, ``source`` is the array that it views, else None."""

    __hash__ = object.__hash__
    library: Library
    namespace: "Namespace"

    def __init__(self, value: Any, record: "Record", source: "Recorded | None" = None) -> None:
        self.value, self.source = value, source
        self.record: Any = record
        self.shape, self.dtype, self.ndim, self.device = value.shape, value.dtype, value.ndim, value.device

    @property
    def root(self) -> "Recorded":
        """The array that owns the memory."""
        return self if self.source is None else self.source.root

    def __array_namespace__(self, *, api_version: str | None = None) -> "Namespace":
        return self.namespace

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        if method != "__call__" or "out" in options:
            raise RecordingError(f"{ufunc.__name__}.{method} with {options}")
        return apply(ufunc, *operands, **options)

    def __array_function__(self, function: Callable[..., Any], types: Any, operands: Any, options: Any) -> Any:
        return apply(function, *operands, **options)

    def __getitem__(self, key: Any) -> Any:
        return apply(_getitem, self, key)

    def __getattr__(self, name: str) -> Any:
        """Refuse every other attribute, even in ``hasattr``: its answer could differ from that for the array."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise RecordingError(f"the attribute {name} of an array is not recorded")

    def _refuse(self, *arguments: Any) -> Any:
        raise RecordingError("a step must not read the values of an array")

    __array__ = __bool__ = __complex__ = __float__ = __index__ = __int__ = __iter__ = __len__ = __setitem__ = _refuse


class Operation(NamedTuple):
    """results = function(*operands, **options).  An array that is changed in place is an operand and a result."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[Recorded, ...]

    @property
    def inputs(self) -> list[Recorded]:
        """The recorded arrays among the operands."""
        return recorded(self.operands)

    @property
    def in_place(self) -> bool:
        """Whether it changes an operand: augmented assignment, or a kernel."""
        return any(x is self.results[0] for x in self.inputs)

    @property
    def is_view(self) -> bool:
        """Whether its result shares the memory of an operand."""
        return self.results[0].source is not None and not self.in_place


class Record(list[Operation]):
    """The operations of one run, in order."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.library = library

    def stand_in(self, value: Any, source: Recorded | None = None) -> Recorded:
        """Return a new ``Recorded`` of this record that represents the array ``value``."""
        return _type(self.library)(value, self, source)

    def spelled(self) -> list[Any]:
        """Return a description that is equal for equal runs: arrays are given by number, other things by repr."""
        numbers: dict[int, int] = {}

        def spell(x: Any) -> Any:
            if isinstance(x, (list, tuple)):
                return [spell(item) for item in x]
            if isinstance(x, Recorded):
                return numbers.setdefault(id(x), len(numbers))
            constant = hasattr(x, "tolist") and not isinstance(x, type)  # CuPy's int32 is the class numpy.int32
            return (repr(x.dtype), x.tolist()) if constant else repr(x)

        return [spell([o.function, o.operands, sorted(o.options.items()), o.results]) for o in self]

    def release(self) -> None:
        """Free the arrays now: record and arrays refer to one another, so only garbage collection would free them."""
        for x in (x for operation in self for x in (*operation.inputs, *operation.results)):
            x.value = x.record = None


class Namespace:
    """The Array API namespace of recorded arrays."""

    __name__ = "xpdl.backends.replay.recorder"

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.xp, name)
        return attribute if isinstance(attribute, type) or not callable(attribute) else partial(apply, attribute)


@once
def _type(library: Library) -> type[Recorded]:
    """Return a subclass for the library, because ``arrays.namespace`` caches the namespace of each type."""
    return type("Recorded", (Recorded,), {"library": library, "namespace": Namespace(library.xp)})


def apply(function: Callable[..., Any], *operands: Any, **options: Any) -> Any:
    """Call the function, and record the call if one of the operands is a ``Recorded``."""
    value, inputs = function(*values(operands), **options), recorded(operands)
    if not inputs:
        return value
    record = inputs[0].record
    _, module, types = record.library
    if not isinstance(value, types):
        raise RecordingError(f"{function} of an array gives {type(value).__name__}, which is not an array")
    for x in inputs:
        if x.value is value:
            return x
    sources = [x for x in inputs if isinstance(value, types[0]) and module.may_share_memory(x.value, value)]
    result = record.stand_in(module.asarray(value), sources[0] if sources else None)
    record.append(Operation(function, operands, options, (result,)))
    return result


def assign(function: Callable[..., Any], x: Recorded, y: Any) -> Recorded:
    """Do an augmented assignment: function(x, y, x) writes its result into the last operand."""
    function(x.value, values(y), x.value)
    x.record.append(Operation(function, (x, y, x), {}, (x,)))
    return x


def values(tree: Any) -> Any:
    """Return the tree with each recorded array replaced by the array that it holds."""
    return tree_map(lambda x: x.value if isinstance(x, Recorded) else x, tree)


def recorded(tree: Any) -> list[Recorded]:
    """Return the recorded arrays in a tree."""
    return [x for x in flatten(tree) if isinstance(x, Recorded)]


def _getitem(x: Any, key: Any) -> Any:
    return x[key]


def _give_operator(name: str, function: str) -> None:
    def of(x: Recorded) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(x.library.module, function)
        return found

    setattr(Recorded, f"__{name}__", lambda x, *y: apply(of(x), x, *y))
    if name in REFLECTED:
        setattr(Recorded, f"__r{name}__", lambda x, y: apply(of(x), y, x))
        setattr(Recorded, f"__i{name}__", lambda x, y: assign(of(x), x, y))


for _name, _function in OPERATORS.items():
    _give_operator(_name, _function)
