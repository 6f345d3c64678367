"""Elementwise kernels in C, if the machine has a compiler: one pass over memory, with the same bits as NumPy.

NumPy needs one pass over memory for each operation.  The lines of a group of operations (fusion.py) are already C, so
this module only puts two loops around them.  Every operation is rounded separately (no a * b + c in one rounding), and
functions that two libraries may round differently, such as exp, are refused.  So a compiler changes the time of a step,
but no digit of its result.
"""

from collections.abc import Callable, Iterable, Sequence
import ctypes
from functools import partial
import math
import os
from pathlib import Path
import re
import shlex
import shutil
import subprocess
import tempfile
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from xpdl.backends.kernels.operations import HELPERS, OPERATIONS, TYPES, as_macro
from xpdl.backends.shared import once

FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"]

C_TYPES = dict(zip(TYPES, ("int32_t", "uint8_t", "int32_t", "int64_t", "float", "double"), strict=True))
"""NumPy's dtypes in C.  A bool is a byte in memory, but as wide as a number in a kernel, so loops are vectorised."""

CALL = re.compile(r"(\w+)\(")
EXACT = {*TYPES, *(name for row in OPERATIONS.values() if row.exact for name in CALL.findall(row.text))}
"""The functions that a kernel may call: their results are the same on every machine."""

HEAD = "#include <stdint.h>\n#include <tgmath.h>\n" + "\n".join(map(as_macro, HELPERS)) + "\n"
HEAD += "\n".join(f"typedef {C_TYPES[name]} {name};\n#define {name}(x) (({name})(x))" for name in TYPES)

TEXT = """
void {name}(long rows, long columns, void **p)
{{
{once}
    for (long i = 0; i < rows; i++) {{
{each_row}
        for (long j = 0; j < columns; j++) {{
{each}
{body}
{stores}
        }}
    }}
}}
"""

SPREADS = {
    "one": ("once", "    const {dtype} {name} = p{name}[0];"),
    "column": ("each_row", "        const {dtype} {name} = p{name}[i];"),
    "row": ("each", "            const {dtype} {name} = p{name}[j];"),
    "all": ("each", "            {const}{dtype} {name} = p{name}[i * columns + j];"),
}
"""For each way to broadcast an operand: in which part of the loops it is read, and the text that reads it."""


PATIENCE = 60
"""Seconds that a compiler may take."""


@once
def compiler() -> tuple[str, ...] | None:
    """Return the words of a command that compiles C: $CC, else cc; None if there is none that works, or CC is empty."""
    line = os.environ.get("CC", "cc")
    try:
        words = (line,) if shutil.which(line) else tuple(shlex.split(line))
        return words if words and compiled(words, "void nothing(void) {}\n") else None
    except (TypeError, ValueError):  # it fails; or a quotation mark is open
        return None


class Operand(NamedTuple):
    """The properties of an operand that the text of a kernel depends on."""

    dtype: str
    name: str
    spread: str  # a key of SPREADS


class Kernel:
    """kernel(*inputs, *outputs), like ``cupy.ElementwiseKernel``; ``TypeError`` if there is no exact kernel in C."""

    def __init__(self, inputs: str, outputs: str, body: str, name: str, **options: Any) -> None:
        if compiler() is None or not EXACT.issuperset(CALL.findall(body)):
            raise TypeError(f"no exact kernel by the compiler {compiler()}: {body}")
        self.names = re.findall(r"\w+ (\w+)", f"{inputs}, {outputs}")
        self.outputs = outputs.count(",") + 1
        self.body = body

    def __call__(self, *arguments: Any) -> None:
        self.bind(*arguments)()

    def bind(self, *arguments: Any) -> Callable[[], None]:
        """Return the call with these arguments, which must be numbers, or arrays without gaps."""
        shape, dtype = arguments[-1].shape, arguments[-1].dtype
        arrays = [a if isinstance(a, np.ndarray) else np.asarray(a, dtype) for a in arguments]
        operands = tuple(
            Operand(a.dtype.name, name, _spread(a, shape)) for a, name in zip(arrays, self.names, strict=True)
        )
        rows, columns = _loops({operand.spread for operand in operands}, shape)
        pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        pointers.arrays = arrays  # type: ignore[attr-defined]  # the arrays live as long as the call
        return partial(_source(self.text(operands)), rows, columns, pointers)

    def text(self, operands: tuple[Operand, ...]) -> str:
        """Return the text of the kernel in C, with {name} in place of its name."""
        lines: dict[str, list[str]] = {part: [] for part in ("once", "each_row", "each", "stores")}
        for k, (dtype, name, spread) in enumerate(operands):
            changed = k >= len(operands) - self.outputs
            const, memory = "" if changed else "const ", "uint8" if dtype == "bool" else dtype
            lines["once"].append(f"    {const}{memory} *restrict p{name} = p[{k}];")
            part, load = SPREADS[spread]
            lines[part].append(load.format(const=const, dtype=dtype, name=name))
            lines["stores"] += [f"            p{name}[i * columns + j] = {name};"] * changed
        parts = {part: "\n".join(texts) for part, texts in lines.items()}
        return TEXT.format(name="{name}", body=self.body, **parts)


def _spread(array: np.ndarray, shape: tuple[int, ...]) -> str:
    """Return how an operand is broadcast to the shape of the result: a key of ``SPREADS``."""
    if array.dtype.name not in TYPES or not array.flags.c_contiguous:
        raise TypeError(f"no kernel for a {array.dtype} array with strides {array.strides}")
    found = spread(array.shape, shape)
    if found is None:
        raise TypeError(f"no kernel for an array of shape {array.shape} where the result has {shape}")
    return found


def spread(own: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """Return how an operand of this shape is broadcast, a key of ``SPREADS``; None if a kernel cannot do it."""
    if own == shape:
        return "all"
    if math.prod(own) == 1:
        return "one"
    if own[-1:] == shape[-1:] == (math.prod(own),):
        return "row"
    return "column" if own == (*shape[:-1], 1) else None


def _loops(spreads: set[str], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of the loops; one row if that makes no difference."""
    size = int(np.prod(shape))
    return (1, size) if spreads <= {"all", "one"} else (size // shape[-1], shape[-1])


class Source:
    """A kernel in C.  Its first call compiles all waiting kernels together, which takes no longer than one alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.function: Callable[..., None] | None = None
        WAITING.append(self)

    def __call__(self, *arguments: Any) -> None:
        if self.function is None:
            compile_waiting()
        if self.function is None:
            raise TypeError("the compiler has failed on this kernel, or on one that was compiled with it")
        self.function(*arguments)


WAITING: list[Source] = []
COMPILING = Lock()
"""A thread holds it from taking the waiting sources until they can be called: another thread may need the same ones."""

_source = once(Source)


def compile_waiting() -> None:
    """Compile all sources that wait, for this machine; ``TypeError`` if the compiler fails, and none waits any more."""
    with COMPILING:
        sources = WAITING[:]
        del WAITING[: len(sources)]
        names = [f"kernel{number}" for number in range(len(sources))]
        texts = [source.text.replace("{name}", name) for source, name in zip(sources, names, strict=True)]
        library = compiled(compiler() or (), "\n".join([HEAD, *texts])) if sources else None
        for source, name in zip(sources, names, strict=True):
            function = getattr(library, name)
            function.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.POINTER(ctypes.c_void_p)]
            function.restype = None
            source.function = function


def ready(calls: Iterable[Callable[[], Any]]) -> None:
    """Compile the kernels among these calls; ``TypeError`` if the compiler fails, or has failed on one of them."""
    compile_waiting()
    if any(isinstance(call, partial) and isinstance(call.func, Source) and not call.func.function for call in calls):
        raise TypeError("the compiler has failed on a kernel")


def compiled(words: Sequence[str], text: str) -> ctypes.CDLL:
    """Compile a text with the command of these words, and return the library; ``TypeError`` if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernels.c"), Path(folder, "kernels.so")
        source.write_text(text)
        line = [*words, *FLAGS, "-o", str(library), str(source), "-lm"]
        silent = subprocess.DEVNULL  # it may print without end
        try:
            subprocess.run(line, check=True, timeout=PATIENCE, stdin=silent, stdout=silent, stderr=silent)
            return ctypes.CDLL(str(library))
        except (OSError, subprocess.SubprocessError) as error:
            raise TypeError(f"{shlex.join(words)} cannot compile kernels: {error}") from error
