"""PyTorch as the target of replayed steps: its memory, and the calls that write into it."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import array_api_compat.torch as xp
import torch

from xpdl.backends.kernels.operations import OPERATIONS, TRUTH
from xpdl.backends.replay.recorder import OPERATORS, Library
from xpdl.backends.replay.target import Call, Target

Tensor: TypeAlias = Any

NAMES = {
    "power": "pow",
    "equal": "eq",
    "not_equal": "ne",
    "absolute": "abs",
    "invert": "bitwise_not",
}
"""The functions that have another name in PyTorch than in NumPy."""


def _operator(name: str) -> Callable[..., Tensor]:
    """Return PyTorch's function for a name of NumPy.  As there, x may be a number, and ``out`` is the third operand."""
    function = getattr(torch, NAMES.get(name, name))

    def operator(x: Any, y: Any = None, out: Tensor | None = None) -> Tensor:
        if y is None:
            return function(x, out=out)
        if isinstance(x, torch.Tensor):
            return function(x, y, out=out)
        if function is torch.divide:
            return torch.mul(torch.reciprocal(y), x, out=out)  # as PyTorch itself computes it, to the last bit
        return function(torch.full_like(y, x), y, out=out)

    return operator


FUNCTIONS = {name: _operator(name) for name in OPERATORS.values()}


class Module:
    """The functions of PyTorch that recording and replaying need, by NumPy's names."""

    asarray = staticmethod(torch.asarray)
    copy = staticmethod(torch.clone)
    moveaxis = staticmethod(torch.moveaxis)

    @staticmethod
    def copyto(place: Tensor, x: Tensor) -> None:
        """Copy x into ``place``."""
        place.copy_(x)

    @staticmethod
    def may_share_memory(x: Tensor, y: Tensor) -> bool:
        """Return whether x and y lie in the same storage."""
        return bool(x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr())


for _name, _function in FUNCTIONS.items():
    setattr(Module, _name, staticmethod(_function))

UNARY = [name for name, row in OPERATIONS.items() if row.operands == 1 and row.dtypes != TRUTH and not row.operator]
ELEMENTWISE = {*FUNCTIONS.values(), *(getattr(torch, name, None) for name in UNARY)} - {FUNCTIONS["matmul"], None}
"""The functions that work entry by entry and take ``out=``."""


def _matmul(place: Tensor, x: Tensor, y: Tensor) -> Call:
    return partial(torch.matmul, x, y, out=place)


def _take(place: Tensor, x: Tensor, rows: Tensor, *, axis: int = 0) -> Call:
    return partial(torch.index_select, x, axis, rows, out=place)


def _astype(place: Tensor, x: Tensor, dtype: Any, **options: Any) -> Call:
    return partial(place.copy_, x)


def _sum(place: Tensor, x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Call:
    return partial(torch.sum, x, dim=axis, keepdim=keepdims, out=place)


def _max(place: Tensor, x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Call:
    return partial(torch.amax, x, dim=() if axis is None else axis, keepdim=keepdims, out=place)


def _bounded(function: Callable[..., Tensor], side: str) -> Callable[..., Call]:
    """Return the writer of max(x, y) or min(x, y), where y may be a number."""

    def write(place: Tensor, x: Tensor, y: Any) -> Call:
        if isinstance(y, torch.Tensor):
            return partial(function, x, y, out=place)
        return partial(torch.clamp, x, out=place, **{side: y})

    return write


WRITERS: dict[Callable[..., Any], Callable[..., Call]] = {
    FUNCTIONS["matmul"]: _matmul,
    xp.matmul: _matmul,
    xp.take: _take,
    xp.astype: _astype,
    xp.sum: _sum,
    xp.max: _max,
    xp.maximum: _bounded(torch.maximum, "min"),
    xp.minimum: _bounded(torch.minimum, "max"),
}


def target(device: torch.device) -> Target:
    """Return PyTorch on a device as a target."""
    return Target(
        library=Library(xp, Module, (torch.Tensor,)),
        memory=partial(torch.empty, dtype=torch.uint8, device=device),
        elementwise=ELEMENTWISE.__contains__,
        writers=WRITERS,
        context=torch.no_grad,
    )
