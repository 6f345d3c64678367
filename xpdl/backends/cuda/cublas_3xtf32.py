"""3xTF32: a product of float32 matrices as three products in TF32, with the precision of float32.

A GPU multiplies TF32 many times as fast as float32, but TF32 keeps 11 of the 24 bits of a number.  So each factor is
split into a big part, x rounded to TF32, and a small part, the rest rounded to TF32.  Less than 2^-22 of x is lost:

    x y = big_x big_y + big_x small_y + small_x big_y        (small_x small_y is below 2^-22 of it, and left out)

For matrices this is one product, of factors that are three times as long:

                           [big_y  ]
    [small_x big_x big_x]  [small_y]
                           [big_y  ]

An infinite factor gives NaN.  Sources: S. Markidis et al., NVIDIA Tensor Core Programmability, Performance & Precision
(2018), section V; H. Ootomo and R. Yokota, Recovering single precision accuracy from Tensor Cores (2022).
"""

from collections.abc import Callable
from functools import partial
import math
from typing import Any

from xpdl.arrays import Array
from xpdl.backends.cuda.cublas import TF32, TRANSPOSED, Products, stored

SPLIT = (
    "float32 x0",
    "float32 y0, float32 y1, float32 y2",
    "y0 = rounded(x0);\ny1 = rounded(x0 - y0);\ny2 = y0;",
    "xpdl_split",
)
"""A kernel for ``cupy.ElementwiseKernel``: x becomes its big part, its small part, and its big part again."""

PREAMBLE = """
static __device__ float rounded(float x) {
    return __int_as_float((__float_as_int(x) + 0x1000) & 0xffffe000);
}
"""
"""``rounded`` rounds to TF32: the last 13 bits of a float become zeros."""


class ThreeProducts(Products):
    """``Products`` that multiplies float32 as three products; ``split`` launches SPLIT."""

    def __init__(
        self,
        library: Any,
        memory: Callable[[int], Array],
        stream: Callable[[], int],
        split: Callable[..., Any],
        branches: int = 1,
    ) -> None:
        super().__init__(library, memory, stream, TF32, branches)
        self.split = split

    def call(self, place: Array, x: Array, y: Array) -> Callable[[], None] | None:
        """Return the product as a function without arguments, as ``Products.call`` does."""
        call = super().call(place, x, y)
        return partial(self.triple, place, x, y) if call and x.dtype.name == "float32" else call

    def triple(self, place: Array, x: Array, y: Array) -> None:
        """Split both factors, and multiply; cuBLAS can read the parts as it can read x and y."""
        (n, k), m = x.shape, y.shape[1]
        left, right = self.like(x, (n, 3 * k)), self.like(y, (3 * k, m))
        self.split(x, left[:, k : 2 * k], left[:, :k], left[:, 2 * k :])
        self.split(y, right[:k, :], right[k : 2 * k, :], right[2 * k :, :])
        super().call(place, left, right)()  # type: ignore[misc]

    def like(self, x: Array, shape: tuple[int, int]) -> Array:
        """Return memory for another matrix with the same storage as x."""
        array = self.memory(x.itemsize * math.prod(shape)).view(x.dtype)
        by_columns = stored(x)[0] == TRANSPOSED  # type: ignore[index]
        return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)
