"""A cuBLAS that multiplies in host memory, column by column, and arrays of NumPy that look like those of CuPy."""

import ctypes
from types import SimpleNamespace

import numpy as np

from xpdl.backends.cuda import cublas


class OnHost(np.ndarray):
    """Host memory that looks like an array of CuPy."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def put(x):
    return np.asarray(x).view(OnHost)


def columns(pointer, dtype, rows, n, leading):
    """The matrix (rows, n), stored by columns, at an address."""
    buffer = (ctypes.c_char * (dtype.itemsize * (leading * (n - 1) + rows))).from_address(pointer.value)
    return np.ndarray((rows, n), dtype, buffer, strides=(dtype.itemsize, leading * dtype.itemsize))


class HostLibrary:
    """libcublas.so in NumPy: C = alpha op(A) op(B) + beta C, all stored by columns (cuBLAS Library, cublasGemmEx)."""

    computes = 68, 70  # CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F

    def __init__(self):
        self.log, self.status, self.stream, self.workspace = [], 0, None, None

    def cublasCreate_v2(self, handle):  # noqa: N802
        handle._obj.value = 4711
        self.log.append("create")
        return self.status

    def cublasDestroy_v2(self, handle):  # noqa: N802
        assert handle.value == 4711
        self.log.append("destroy")
        return 0

    def cublasSetStream_v2(self, handle, stream):  # noqa: N802
        self.log.append(("stream", stream.value))
        self.stream, self.workspace = stream.value, None
        return 0

    def cublasSetWorkspace_v2(self, handle, pointer, size):  # noqa: N802
        self.workspace = pointer.value, size.value
        return 0

    def cublasGemmEx(  # noqa: N802
        self, handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algo
    ):
        assert handle.value == 4711
        assert self.workspace is not None
        assert (a_type, b_type, c_type) in [(0,) * 3, (1,) * 3]
        assert (compute, algo) == (self.computes[a_type], -1)
        dtype = np.dtype(["float32", "float64"][a_type])
        assert lda >= max(1, k if op_a else m)
        assert ldb >= max(1, n if op_b else k)
        assert ldc >= max(1, m)
        left = self.read(columns(a, dtype, *((k, m) if op_a else (m, k)), lda))
        right = self.read(columns(b, dtype, *((n, k) if op_b else (k, n)), ldb))
        value = alpha._obj.value * ((left.T if op_a else left) @ (right.T if op_b else right))
        result = columns(c, dtype, m, n, ldc)
        result[...] = value + beta._obj.value * result if beta._obj.value else value
        self.log.append("multiply")
        return self.status

    def read(self, x):
        """What of a factor is multiplied."""
        return x


def products(library, stream=lambda: 5):
    return cublas.Products(library, lambda size: put(np.empty(size, "uint8")), stream)


def by_rows(x):
    return put(np.ascontiguousarray(x))


def by_columns(x):
    return put(np.ascontiguousarray(x.T)).T


def part_of_rows(x):
    wide = put(np.full((x.shape[0], x.shape[1] + 3), np.nan, x.dtype))
    wide[:, 2:-1] = x
    return wide[:, 2:-1]


def part_of_columns(x):
    return part_of_rows(x.T).T


def every_other_row(x):
    tall = put(np.full((2 * x.shape[0], x.shape[1]), np.nan, x.dtype))
    tall[::2, :] = x
    return tall[::2, :]


STORED = [by_rows, by_columns, part_of_rows, part_of_columns, every_other_row]
PLACES = [by_rows, part_of_rows, every_other_row]
