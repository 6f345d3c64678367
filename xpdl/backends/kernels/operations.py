"""Operations of a record in C: the text of each function, for one entry.

It means the same in CUDA C, in C on the host, and, but for the types, in Python.
"""

from typing import Any

from xpdl.backends.replay.recorder import Recorded

PREAMBLE = """
typedef unsigned char uint8;
typedef int int32;
typedef long long int64;
typedef float float32;
typedef double float64;
template <typename T> __device__ T maximum(T a, T b) { return a >= b || a != a ? a : b; }
template <typename T> __device__ T minimum(T a, T b) { return a <= b || a != a ? a : b; }
__device__ int64 inside(int64 i, int64 n) { return (i % n + n) % n; }
template <typename R>
__device__ int64 entry(const R& rows, int64 i, int64 d, int64 n) { return inside(rows[i / d], n) * d + i % d; }
"""

OPTIONS = ("--fmad=false",)
"""No a * b + c in one rounding."""

TYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")

SAME_IN_C = ("ceil", "cos", "exp", "expm1", "floor", "log", "log1p", "sin", "sqrt", "tanh")

ARITHMETIC = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    **{name: f"{name}({{}})" for name in SAME_IN_C},
    "maximum": "maximum({}, {})",
    "minimum": "minimum({}, {})",
}
"""Functions by NumPy's names, in C: operands have the dtype of the result."""

TESTS = {
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "isfinite": "isfinite({})",
    "isnan": "isnan({})",
}
"""Those that give truth: operands have the dtype they are compared in."""


def converted(x: Any, dtype: Any, names: dict[Recorded, str]) -> str:
    """An operand as a value of this dtype."""
    if not isinstance(x, Recorded):
        return f"{dtype}({x!r})"
    return names[x] if x.dtype == dtype else f"{dtype}({names[x]})"


def parameters(names: dict[Recorded, str]) -> list[str]:
    """Declarations of these variables."""
    return [f"{x.dtype} {name}" for x, name in names.items()]
