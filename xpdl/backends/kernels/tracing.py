"""From an elementwise kernel to lines of C, by running it once on symbols that write down what is done to them.

A kernel (see optimizers.py) is a function of vectors, 0-d arrays and numbers, whose entries i depend on entries i
alone.  A symbol stands for entry i of an argument or of a temporary: it is the name of a C variable.  Each operation
writes one line, whose variable never changes again; augmented assignment gives the symbol the new variable's name, as
an array stays the same array when its values change.  What has changed is stored at the end.

    v *= 0.9               const T t0 = x2 * T(0.9);
    v -= lr * grad         const T t1 = x3 * x1;
                           const T t2 = t0 - t1;
    theta += v             const T t3 = x0 + t2;
                           x0 = t3;
                           x2 = t2;

They are the body of a CUDA kernel, or of a loop on the host; nothing here needs a GPU or CuPy.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

Kernel: TypeAlias = Callable[..., Any]

OPERATORS = {
    "add": ("T", "{} + {}"),
    "sub": ("T", "{} - {}"),
    "mul": ("T", "{} * {}"),
    "truediv": ("T", "{} / {}"),
    "floordiv": ("T", "floor({} / {})"),
    "pow": ("T", "pow({}, {})"),
    "neg": ("T", "-{}"),
    "abs": ("T", "fabs({})"),
    "lt": ("bool", "{} < {}"),
    "le": ("bool", "{} <= {}"),
    "gt": ("bool", "{} > {}"),
    "ge": ("bool", "{} >= {}"),
    "eq": ("bool", "{} == {}"),
    "ne": ("bool", "{} != {}"),
    "and": ("bool", "{} && {}"),
    "or": ("bool", "{} || {}"),
    "invert": ("bool", "!{}"),
}
"""Python's operators: the type of the result, and C.  T is the dtype of the vectors."""

ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "pow")
"""The operators that numbers may stand to the left of, and that have augmented assignment."""

SAME_IN_C = ("ceil", "cos", "exp", "expm1", "floor", "log", "log1p", "log2", "sin", "sqrt", "tanh")

FUNCTIONS = {
    **{name: ("T", f"{name}({{}})") for name in SAME_IN_C},
    "abs": ("T", "fabs({})"),
    "pow": ("T", "pow({}, {})"),
    "square": ("T", "{0} * {0}"),
    "maximum": ("T", "{0} >= {1} || {0} != {0} ? {0} : {1}"),
    "minimum": ("T", "{0} <= {1} || {0} != {0} ? {0} : {1}"),
    "where": ("T", "{} ? {} : {}"),
    "isfinite": ("bool", "isfinite({})"),
    "isnan": ("bool", "isnan({})"),
}
"""The standard's functions that work entry by entry.  ``maximum`` and ``minimum`` pass NaN on, unlike C's fmax."""

NOT_FINITE = {"inf": "1.0 / 0.0", "-inf": "-1.0 / 0.0", "nan": "0.0 / 0.0"}


class Symbol:
    """Entry i of an array: the name and the type of the C variable that holds it, and all lines written so far."""

    __array_ufunc__ = None  # a NumPy scalar to the left leaves the operation to the symbol

    def __init__(self, name: str, dtype: str, lines: list[str]) -> None:
        self.name, self.dtype, self.lines = name, dtype, lines

    def __array_namespace__(self, *, api_version: str | None = None) -> "Namespace":
        return NAMESPACE

    def __bool__(self) -> bool:
        raise TypeError("a branch on a value: use where")

    def become(self, value: "Symbol") -> "Symbol":
        """Augmented assignment: the same symbol, with another value."""
        self.name = value.name
        return self


class Namespace:
    """The Array API namespace of symbols."""

    __name__ = "xpdl.backends.kernels.tracing"
    complex64 = complex128 = None  # nothing here is complex

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name not in FUNCTIONS:
            raise AttributeError(f"no function {name} of single entries")
        return partial(write, *FUNCTIONS[name])

    def astype(self, x: Symbol, dtype: str, /, *, copy: bool = True) -> Symbol:
        """A conversion between T and bool; every copy is a new symbol."""
        if dtype not in ("T", "bool"):
            raise TypeError(f"astype to {dtype!r}, which is no dtype of an argument")
        return write(dtype, f"{dtype}({{}})", x)


NAMESPACE = Namespace()


def write(dtype: str, text: str, *operands: Any) -> Symbol:
    """Write the line of one operation, and return the symbol of its result."""
    lines = next(operand.lines for operand in operands if isinstance(operand, Symbol))
    result = Symbol(f"t{len(lines)}", dtype, lines)
    lines.append(f"const {dtype} {result.name} = {text.format(*map(spell, operands))};")
    return result


def spell(operand: Any) -> str:
    """An operand in C; numbers are of type T."""
    if isinstance(operand, Symbol):
        return operand.name
    if isinstance(operand, Real):
        digits = repr(float(operand))
        return f"T({NOT_FINITE.get(digits, digits)})"
    raise TypeError(f"{type(operand).__name__} is neither an argument nor a number")


def _give_operator(name: str) -> None:
    dtype, text = OPERATORS[name]
    setattr(Symbol, f"__{name}__", lambda *xs: write(dtype, text, *xs))
    if name in ARITHMETIC:
        setattr(Symbol, f"__r{name}__", lambda x, y: write(dtype, text, y, x))
        setattr(Symbol, f"__i{name}__", lambda x, y: x.become(write(dtype, text, x, y)))


for _name in OPERATORS:
    _give_operator(_name)


class Trace(NamedTuple):
    """A kernel in C, for one entry; argument number i is the variable xi."""

    body: str
    changed: tuple[int, ...]
    returned: tuple[int, ...]


def trace(kernel: Kernel, vectors: tuple[bool, ...]) -> Trace:
    """Run the kernel on symbols.  ``vectors`` tells which arguments are vectors: only those can be changed.

    ``TypeError`` if the kernel does anything that is not entry by entry; the message names it.
    """
    lines: list[str] = []
    symbols = [Symbol(f"x{i}", "T", lines) for i in range(len(vectors))]
    numbers = {id(symbol): i for i, symbol in enumerate(symbols) if vectors[i]}
    try:
        returned = tuple(numbers.get(id(result), -1) for result in kernel(*symbols))
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{kernel} cannot be one kernel in C: {error}") from error
    if -1 in returned:
        raise TypeError(f"{kernel} must return vectors it was given, changed by augmented assignment")
    changed = tuple(i for i in numbers.values() if symbols[i].name != f"x{i}")
    stores = [f"x{i} = {symbols[i].name};" for i in changed]
    return Trace("\n".join(lines + stores), changed, returned)


def fuse(compiler: Callable[..., Kernel], kernel: Kernel, offsets: Sequence[int] = ()) -> Kernel:
    """The kernel as one launch, traced once for each way to mix vectors and numbers.

    compiler(inputs, outputs, body, name) -> launch(*inputs, *outputs), as ``cupy.ElementwiseKernel``.
    """

    @cache
    def build(vectors: tuple[bool, ...]) -> tuple[Kernel, list[int], tuple[int, ...]]:
        body, changed, returned = trace(kernel, vectors)
        read = [i for i in range(len(vectors)) if i not in changed]
        launch = compiler(_parameters(read), _parameters(changed), body, "xpdl_fused")
        return launch, [*read, *changed], returned

    def fused(*arguments: Any) -> tuple[Any, ...]:
        launch, order, returned = build(tuple(getattr(argument, "ndim", 0) > 0 for argument in arguments))
        launch(*(arguments[i] for i in order))
        return tuple(arguments[i] for i in returned)

    return fused


def _parameters(arguments: Iterable[int]) -> str:
    return ", ".join(f"T x{i}" for i in arguments)
