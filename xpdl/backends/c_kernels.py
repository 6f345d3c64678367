"""Elementwise kernels in C, where the machine has a compiler: one pass over memory, bit for bit what NumPy computes.

NumPy needs a pass for each operation.  The lines of a traced kernel (cuda.py) are C as they stand, so a loop around
them is all there is to write.  Every operation is rounded by itself (no a * b + c in one rounding), and functions that
two libraries may round differently, as exp, are refused: whether there is a compiler shows in the time, not in a digit.
"""

from collections.abc import Callable
import ctypes
from functools import cache
import os
from pathlib import Path
import re
import shutil
import subprocess
import tempfile
from typing import Any

import numpy as np

from xpdl.backends.record import recordable

FLAGS = ["-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"]

EXACT = {"T", "bool", "sqrt", "fabs", "floor", "ceil", "isfinite", "isnan"}
"""What a kernel may call: the results are the same everywhere."""

TYPES = {"float32": "float", "float64": "double"}

TEXT = """
#include <tgmath.h>
typedef {type} T;
typedef _Bool bool;
#define T(x) ((T)(x))
#define bool(x) ((bool)(x))

void kernel(long n, T **p)
{{
{pointers}
    for (long i = 0; i < n; i++) {{
{loads}
{body}
{stores}
    }}
}}
"""


@cache
def compiler() -> str | None:
    """The C compiler: $CC, else cc, if there is one; CC="" is none."""
    name = os.environ.get("CC", "cc")
    return shutil.which(name) if name else None


def elementwise_kernel(inputs: str, outputs: str, body: str, name: str) -> Callable[..., None]:
    """launch(*inputs, *outputs), as ``cupy.ElementwiseKernel``; numbers and 0-d arrays are the same for all entries.

    ``TypeError`` if the body is not exact in the last bit, or if there is no compiler.
    """
    if compiler() is None or not set(re.findall(r"(\w+)\(", body)) <= EXACT:
        raise TypeError(f"no kernel in C: {compiler()}, {body}")
    read, written = (re.findall(r"x\d+", parameters) for parameters in (inputs, outputs))

    @cache
    def build(dtype: str, vectors: tuple[bool, ...]) -> Callable[..., None]:
        return _built(_text(TYPES[dtype], read, written, vectors, body))

    def launch(*arguments: Any) -> None:
        dtype, n = arguments[-1].dtype, arguments[-1].size
        arrays = [np.asarray(argument, dtype, order="C") for argument in arguments]
        if any(a is not b for a, b in zip(arrays[len(read) :], arguments[len(read) :], strict=True)):
            raise TypeError("what a kernel changes must be of one dtype and without gaps")
        function = build(dtype.name, tuple(array.ndim > 0 for array in arrays))
        function(n, (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)))

    return recordable(launch, len(written))


def _text(ctype: str, read: list[str], written: list[str], vectors: tuple[bool, ...], body: str) -> str:
    """The kernel as a function of n and the pointers to all arguments."""
    pointers, loads = [], []
    for k, (x, vector) in enumerate(zip([*read, *written], vectors, strict=True)):
        if vector:
            pointers.append(f"    {'' if x in written else 'const '}T *restrict p{x} = p[{k}];")
            loads.append(f"        {'' if x in written else 'const '}T {x} = p{x}[i];")
        else:
            pointers.append(f"    const T {x} = *p[{k}];")
    stores = [f"        p{x}[i] = {x};" for x in written]
    parts = {"pointers": pointers, "loads": loads, "stores": stores}
    return TEXT.format(type=ctype, body=body, **{name: "\n".join(lines) for name, lines in parts.items()})


@cache
def _built(text: str) -> Callable[..., None]:
    """The function, compiled for this machine and loaded; ``TypeError`` if that does not work."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(text)
        command = [str(compiler()), *FLAGS, "-o", str(library), str(source), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            function: Callable[..., None] = ctypes.CDLL(str(library)).kernel
        except (OSError, subprocess.SubprocessError) as error:
            raise TypeError(f"{command[0]} cannot build a kernel: {error}") from error
    function.argtypes = [ctypes.c_long, ctypes.POINTER(ctypes.c_void_p)]  # type: ignore[attr-defined]
    function.restype = None  # type: ignore[attr-defined]
    return function
