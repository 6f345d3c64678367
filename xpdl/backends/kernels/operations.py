"""The one table of elementwise operations: the names of each in Python and NumPy, and its text in C.

A new elementwise operation is one line of ``OPERATIONS``.  All other modules read this table: the recorder (Python's
operators), fusion (the C text and the dtypes), the C compiler and NumPy (the operations that C and NumPy round alike)
and PyTorch (its functions).  An operation that is not in the table is not an error: it stays a call of the library.
"""

from typing import NamedTuple

TRUTH = ("bool",)
FLOATS = ("float32", "float64")
NUMBERS = ("uint8", "int32", "int64", *FLOATS)
TYPES = (*TRUTH, *NUMBERS)
"""The dtypes that kernels can read and write."""


class Elementwise(NamedTuple):
    """An elementwise operation.

    text      its value for one entry in C, with {} for each operand; "": there is no text, and it is never fused
    dtypes    the dtypes its result may have in a kernel.  Operands are converted to the dtype of the result first; for
              ``TRUTH``, to the dtype in which they are compared
    exact     whether C and NumPy give the same bits
    operator  the name of Python's operator, such as "add" for ``__add__``; "": there is none
    """

    text: str
    dtypes: tuple[str, ...]
    exact: bool = True
    operator: str = ""

    @property
    def operands(self) -> int:
        """The number of operands of the text."""
        return 1 if "{0}" in self.text else self.text.count("{}")


OPERATIONS = {
    "add": Elementwise("{} + {}", NUMBERS, operator="add"),
    "subtract": Elementwise("{} - {}", NUMBERS, operator="sub"),
    "multiply": Elementwise("{} * {}", NUMBERS, operator="mul"),
    "divide": Elementwise("{} / {}", FLOATS, operator="truediv"),
    "floor_divide": Elementwise("", FLOATS, exact=False, operator="floordiv"),
    "remainder": Elementwise("", FLOATS, exact=False, operator="mod"),
    "power": Elementwise("pow({}, {})", FLOATS, exact=False, operator="pow"),
    "negative": Elementwise("-{}", NUMBERS, operator="neg"),
    "absolute": Elementwise("fabs({})", FLOATS, operator="abs"),
    "less": Elementwise("{} < {}", TRUTH, operator="lt"),
    "less_equal": Elementwise("{} <= {}", TRUTH, operator="le"),
    "greater": Elementwise("{} > {}", TRUTH, operator="gt"),
    "greater_equal": Elementwise("{} >= {}", TRUTH, operator="ge"),
    "equal": Elementwise("{} == {}", TRUTH, operator="eq"),
    "not_equal": Elementwise("{} != {}", TRUTH, operator="ne"),
    "bitwise_and": Elementwise("{} & {}", TRUTH, operator="and"),
    "bitwise_or": Elementwise("{} | {}", TRUTH, operator="or"),
    "invert": Elementwise("{} == 0", TRUTH, operator="invert"),
    "isfinite": Elementwise("isfinite({})", TRUTH),
    "isnan": Elementwise("isnan({})", TRUTH),
    "where": Elementwise("where({}, {}, {})", NUMBERS),
    "maximum": Elementwise("maximum({}, {})", NUMBERS),
    "minimum": Elementwise("minimum({}, {})", NUMBERS),
    "sign": Elementwise("sign({})", NUMBERS),
    "square": Elementwise("{0} * {0}", NUMBERS),
    "sqrt": Elementwise("sqrt({})", FLOATS),
    "floor": Elementwise("floor({})", FLOATS),
    "ceil": Elementwise("ceil({})", FLOATS),
    "exp": Elementwise("exp({})", FLOATS, exact=False),
    "expm1": Elementwise("expm1({})", FLOATS, exact=False),
    "log": Elementwise("log({})", FLOATS, exact=False),
    "log1p": Elementwise("log1p({})", FLOATS, exact=False),
    "log2": Elementwise("log2({})", FLOATS, exact=False),
    "sin": Elementwise("sin({})", FLOATS, exact=False),
    "cos": Elementwise("cos({})", FLOATS, exact=False),
    "tanh": Elementwise("tanh({})", FLOATS, exact=False),
}
"""The operations by NumPy's names."""

HELPERS = {
    "maximum": ("a, b", "a >= b || a != a ? a : b"),
    "minimum": ("a, b", "a <= b || a != a ? a : b"),
    "sign": ("a", "a != a ? a : (a > 0) - (a < 0)"),
    "where": ("a, b, c", "a != 0 ? b : c"),
}
"""Functions of the table that C does not have: parameters and value.  NaN passes through them, unlike C's ``fmax``."""


def as_template(name: str) -> str:
    """Return a helper as a function in CUDA C."""
    parameters, value = HELPERS[name]
    declared = ", ".join(f"T {parameter}" for parameter in parameters.split(", "))
    return f"template <typename T> __device__ T {name}({declared}) {{ return {value}; }}"


def as_macro(name: str) -> str:
    """Return a helper as a macro in C, which has no templates; its operands are names or conversions."""
    parameters, value = HELPERS[name]
    return f"#define {name}({parameters}) ({value})"


PREAMBLE = """
typedef unsigned char uint8;
typedef int int32;
typedef long long int64;
typedef float float32;
typedef double float64;
__device__ int64 inside(int64 i, int64 n) { return (i % n + n) % n; }
template <typename R>
__device__ int64 entry(const R& rows, int64 i, int64 d, int64 n) { return inside(rows[i / d], n) * d + i % d; }
"""
PREAMBLE += "\n".join(map(as_template, HELPERS)) + "\n"
"""The declarations for kernels in CUDA C; ``inside`` and ``entry`` find the rows that are taken from a matrix."""

OPTIONS = ("--fmad=false",)
"""Options of NVIDIA's compiler: no a * b + c in one rounding."""
