"""Measure how many bits of a factor a matrix product keeps, to detect TF32, bfloat16 and float16 instead of float32.

Errors of reduced precision average out in long sums.  So these factors, which have the shapes and layouts of the
network's, make every sum consist of a single product.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend
from xpdl.backends.base import unchanged
from xpdl.gradcheck.problem import Problem

Wrapper: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
Shape: TypeAlias = tuple[int, int, int]  # rows, inner, columns
Flips: TypeAlias = tuple[bool, bool]  # which factors are stored transposed


def kept_bits(problem: Problem, home: Backend, run: Wrapper = unchanged) -> dict[str, int]:
    """How many bits of the mantissa each matrix product of the network keeps, by the quantity it computes."""
    n, dtype = len(problem.y), checks.dtype_name(problem.theta.dtype)
    products: dict[str, tuple[Shape, Flips]] = {}
    for l, (d, k) in enumerate(pairwise(problem.net.sizes), 1):
        products[f"z{l}"] = (n, d, k), (False, False)
        products[f"dw{l}"] = (d, n, k), (True, False)
        products[f"da{l - 1}"] = (n, k, d), (False, True)
    del products["da0"]
    with home.activate():
        return {name: _kept(home, dtype, shape, flips, run) for name, (shape, flips) in products.items()}


def _kept(home: Backend, dtype: str, shape: Shape, flips: Flips, run: Wrapper) -> int:
    """The most bits with which v = 1.0101...1 passes unchanged through the product (rows, inner) @ (inner, columns).

    One factor has a single entry in each row, so every sum has a single term.  v is tried in either factor.
    """

    def step(token: Array, left: Array, right: Array) -> tuple[Array, Array]:
        turn = namespace(left).matrix_transpose
        return token, (turn(left) if flips[0] else left) @ (turn(right) if flips[1] else right)

    multiply, (rows, inner, columns) = run(step), shape
    single = np.arange(rows)[:, None] % inner == np.arange(inner)
    factors = [f.T if flip else f for f, flip in zip((single, np.ones((inner, columns), bool)), flips, strict=True)]

    def exact(bits: int) -> bool:
        v = (2 ** (bits + 2) // 3 | 1) / 2**bits
        for values in ((v, 1.0), (1.0, v)):
            put = [home.asarray(np.array(f, dtype, order="C") * u, dtype) for f, u in zip(factors, values, strict=True)]
            if not np.all(home.to_numpy(multiply(home.zeros((), dtype), *put)[1]) == v):
                return False
        return True

    full = int(np.finfo(dtype).nmant)
    return full if exact(full) else next(bits for bits in range(full) if not exact(bits + 1))


def compiled_note(problem: Problem, home: Backend, bits: Mapping[str, int]) -> tuple[str, ...]:
    """A note on compiled steps, if products lose bits outside of them."""
    if min(bits.values()) >= np.finfo(checks.dtype_name(problem.theta.dtype)).nmant:
        return ()
    kept = min(kept_bits(problem, home, home.compile).values())
    return (f"in a compiled step, as train runs it, products keep {kept} bits",)
