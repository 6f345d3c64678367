"""CuPy as the target of replayed steps: its memory, the calls that write into it, fusion, and CUDA graphs.

The calls of a plan allocate no memory, except in a few functions of CuPy that a usual step does not use.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from xpdl.arrays import Array, Namespace
from xpdl.backends.cuda.cublas import Products
from xpdl.backends.cuda.graph import Graphs
from xpdl.backends.cuda.multi_stage import Chained
from xpdl.backends.replay.recorder import Library
from xpdl.backends.replay.replayed import Replayed
from xpdl.backends.replay.target import Call, Target
from xpdl.backends.shared import once


@once
def fusion(cupy: Namespace, xp: Namespace) -> Chained:
    """Return one fusion for all steps, so that no kernel is compiled twice."""
    return Chained(library(cupy, xp), cupy.ElementwiseKernel, once(cupy.RawKernel))


def library(cupy: Namespace, xp: Namespace) -> Library:
    """Return the description of CuPy for the recorder."""
    return Library(xp, cupy, (cupy.ndarray,))


def target(cupy: Namespace, xp: Namespace, products: Callable[[], Products], **hooks: Any) -> Target:
    """Return CuPy as a target.  ``xp`` is its namespace of the standard; products() is called at the first product."""

    def take(place: Array, x: Array, rows: Array, *, axis: int | None = None) -> Call:
        return partial(cupy.take, x, rows, axis, place)

    def astype(place: Array, x: Array, dtype: Any, **options: Any) -> Call:
        return partial(cupy.copyto, place, x, "unsafe")

    def reduction(function: Callable[..., Any]) -> Callable[..., Call]:
        return lambda place, x, **options: partial(function, x, out=place, **options)

    return Target(
        library=library(cupy, xp),
        memory=partial(cupy.empty, dtype="uint8"),
        elementwise=lambda function: isinstance(function, cupy.ufunc),
        writers={
            **dict.fromkeys((cupy.matmul, xp.matmul), _products(cupy, products)),
            xp.take: take,
            xp.astype: astype,
            **{function: reduction(function) for function in (xp.sum, xp.max, xp.min)},
        },
        fusion=fusion(cupy, xp),
        exact=False,
        **hooks,
    )


def _products(cupy: Namespace, products: Callable[[], Products]) -> Callable[[Array, Array, Array], Call]:
    """Return (place, x, y) -> the call that writes x @ y into a place; of K networks, one product after the other."""

    def product(place: Array, x: Array, y: Array) -> Call:
        return products().call(place, x, y) or partial(cupy.matmul, x, y, out=place)

    def matmul(place: Array, x: Array, y: Array) -> Call:
        if x.ndim == y.ndim == 3 and len(x) == len(y):
            calls = [product(*matrices) for matrices in zip(place, x, y, strict=True)]
            return lambda: [call() for call in calls]
        return product(place, x, y)

    return matmul


def compile(
    cupy: Namespace,
    xp: Namespace,
    step: Callable[..., Any],
    *,
    products: Callable[..., Products],
    branches: bool = False,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Replayed:
    """Return the step, replayed as a CUDA graph from its third call on.  It consumes its first argument.

    If the step cannot be captured, its calls are replayed one by one; if it cannot be recorded, it runs unchanged.
    Both give a ``RuntimeWarning``.

    products  (branches=) -> the matrix products, for this number of streams
    branches  whether calls that need not wait for one another run side by side (cuda/streams.py)
    context   () -> the context in which the step runs
    """
    graphs = Graphs(cupy, branches)
    hooks = {"dispatch": graphs.dispatch, "notice": graphs.notice, "context": context, "reuse": not branches}
    return Replayed(target(cupy, xp, once(partial(products, branches=1 + branches)), **hooks), step)
