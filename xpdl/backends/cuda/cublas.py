"""cuBLAS: matrix products that a CUDA graph can capture.

CuPy's own products cannot be captured: CuPy sets the stream of cuBLAS before each product, and refuses to while that
stream is capturing (https://github.com/cupy/cupy/issues/6290).  cuBLAS itself can be captured.  It needs

    a handle of our own, whose stream is set once
    a workspace of our own, 32 MiB as NVIDIA advises: memory that cuBLAS allocates itself does not belong to the graph.
    Products that run at the same time need one workspace each

cuBLAS reads matrices column by column, and ours are stored row by row.  So it sees each matrix transposed, and

    C = A B    is computed as    C^T = B^T A^T

A matrix that is stored column by column, such as the view x^T, is marked as transposed.  Nothing is copied.  float32 is
multiplied in float32, as in CuPy, or in TF32 if the user chooses that.
"""

from collections.abc import Callable, Mapping
import ctypes
from ctypes import byref, c_double, c_float, c_size_t, c_void_p
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
import weakref

from xpdl.arrays import Array

WORKSPACE = 32 * 2**20

PLAIN, TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
DEFAULT_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT


class Arithmetic(NamedTuple):
    """The codes of cuBLAS for a dtype and for the precision of the products, and the numbers 1 and 0."""

    data: int
    compute: int
    one: Any
    zero: Any


ARITHMETIC = {
    "float32": Arithmetic(0, 68, c_float(1), c_float(0)),  # CUDA_R_32F, CUBLAS_COMPUTE_32F
    "float64": Arithmetic(1, 70, c_double(1), c_double(0)),  # CUDA_R_64F, CUBLAS_COMPUTE_64F
}

TF32 = ARITHMETIC | {"float32": ARITHMETIC["float32"]._replace(compute=77)}  # CUBLAS_COMPUTE_32F_FAST_TF32

STATUS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
    16: "CUBLAS_STATUS_LICENSE_ERROR",
}


class Stored(NamedTuple):
    """The storage of a matrix: by rows (``PLAIN``) or by columns, and the distance from one of these to the next."""

    operation: int
    leading: int


def stored(x: Array) -> Stored | None:
    """Return how the matrix x is stored; None if cuBLAS cannot read it as it lies."""
    (rows, columns), (down, across) = x.shape, (stride // x.itemsize for stride in x.strides)
    if columns == 1 or across == 1:
        leading = down if rows > 1 else columns
        return Stored(PLAIN, leading) if leading >= columns else None
    if rows == 1 or down == 1:
        leading = across if columns > 1 else rows
        return Stored(TRANSPOSED, leading) if leading >= rows else None
    return None


def product(
    place: Array, x: Array, y: Array, arithmetic: Mapping[str, Arithmetic] = ARITHMETIC
) -> tuple[Any, ...] | None:
    """Return the arguments of cublasGemmEx after the handle, to write x y into ``place``; None if it cannot."""
    alike = x.dtype == y.dtype == place.dtype and x.ndim == y.ndim == 2
    if not alike or x.dtype.name not in arithmetic or 0 in (*x.shape, *y.shape):
        return None
    left, right, result = stored(x), stored(y), stored(place)
    if left is None or right is None or result is None or result.operation == TRANSPOSED:
        return None
    data, compute, one, zero = arithmetic[x.dtype.name]
    n, k = x.shape
    first = (c_void_p(y.data.ptr), data, right.leading)
    second = (c_void_p(x.data.ptr), data, left.leading)
    third = (c_void_p(place.data.ptr), data, result.leading)
    sizes = (right.operation, left.operation, y.shape[1], n, k)
    return (*sizes, byref(one), *first, *second, byref(zero), *third, compute, DEFAULT_ALGORITHM)


class Products:
    """cuBLAS on the current device.

    library     the shared library, from ``load``
    memory      (bytes) -> an array of this number of bytes
    stream      () -> the address of the current stream
    arithmetic  how each dtype is multiplied
    branches    how many streams may multiply at the same time; each of them has a workspace of its own
    """

    def __init__(
        self,
        library: Any,
        memory: Callable[[int], Array],
        stream: Callable[[], int],
        arithmetic: Mapping[str, Arithmetic] = ARITHMETIC,
        branches: int = 1,
    ) -> None:
        self.library, self.memory, self.stream, self.last, self.arithmetic = library, memory, stream, -1, arithmetic
        self.handle, self.workspaces = c_void_p(), [memory(WORKSPACE) for _ in range(branches)]
        self.seen: dict[int, Array] = {}
        check(library.cublasCreate_v2(byref(self.handle)))
        weakref.finalize(self, library.cublasDestroy_v2, self.handle).atexit = False

    def call(self, place: Array, x: Array, y: Array) -> Callable[[], None] | None:
        """Return a function without arguments that writes x y into ``place``; None if cuBLAS cannot do it."""
        arguments = product(place, x, y, self.arithmetic)
        return None if arguments is None else partial(self.multiply, arguments, (place, x, y))

    def multiply(self, arguments: tuple[Any, ...], arrays: tuple[Array, ...]) -> None:
        """Multiply on the current stream.  ``arrays`` only keeps the memory alive."""
        stream = self.stream()
        if stream != self.last:
            workspace = self.seen.setdefault(stream, self.workspaces[len(self.seen) % len(self.workspaces)])
            pointer, size = c_void_p(workspace.data.ptr), c_size_t(workspace.nbytes)
            check(self.library.cublasSetStream_v2(self.handle, c_void_p(stream)))  # cuBLAS forgets the workspace
            check(self.library.cublasSetWorkspace_v2(self.handle, pointer, size))
            self.last = stream
        check(self.library.cublasGemmEx(self.handle, *arguments))


def check(status: int) -> None:
    """Raise ``RuntimeError`` with the name of the status, unless it is success."""
    if status:
        raise RuntimeError(f"cuBLAS: {STATUS.get(status, f'status {status}')}")


def load() -> ctypes.CDLL:
    """Return the cuBLAS that CuPy uses: both find it with cuda-pathfinder."""
    return ctypes.CDLL(import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas").abs_path)
