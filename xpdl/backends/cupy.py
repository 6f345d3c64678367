"""CuPy: "cupy" is the first NVIDIA GPU, "cupy:1" the second, and so on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.cupy as xp
import cupy

from xpdl.arrays import Array
from xpdl.backends.base import Backend
from xpdl.backends.cuda.cublas import TF32, Products, load
from xpdl.backends.cuda.cublas_3xtf32 import PREAMBLE, SPLIT, ThreeProducts
from xpdl.backends.cuda.dropout import dropout_mask
from xpdl.backends.cuda.graph import Repeated
from xpdl.backends.cupy_replay import compile


def connect(name: str, device: str) -> Backend:
    """Return the backend of the GPU with this number; ``RuntimeError`` if there is none."""
    gpu = cupy.cuda.Device(_index(device or "0"))
    activate = partial(cupy.cuda.Device, gpu)

    def mask(*address: Any) -> Array:
        with activate():
            return dropout_mask(cupy, *address)

    def hooks(kind: Callable[..., Products]) -> dict[str, Any]:
        compiled = partial(compile, cupy, xp, products=partial(_products, kind), context=activate)
        return {"compile": compiled, "repeat": lambda step, offsets: Repeated(compiled(step))}

    return Backend(
        name,
        xp,
        gpu,
        to_numpy=cupy.asnumpy,
        precisions={
            "tf32": hooks(partial(Products, arithmetic=TF32)),
            "3xtf32": hooks(_three_products),
        },
        mask=mask,
        synchronize=gpu.synchronize,
        activate=activate,
        **hooks(Products),
    )


def _products(kind: Callable[..., Products], branches: int) -> Products:
    stream = lambda: cupy.cuda.get_current_stream().ptr  # noqa: E731
    return kind(load(), partial(cupy.empty, dtype="uint8"), stream, branches=branches)


def _three_products(library: Any, memory: Callable[[int], Array], stream: Callable[[], int], branches: int) -> Products:
    return ThreeProducts(library, memory, stream, cupy.ElementwiseKernel(*SPLIT, preamble=PREAMBLE), branches)


def _index(device: str) -> int:
    if not device.isdecimal():
        raise ValueError(f"backend 'cupy' takes the number of a GPU, as in 'cupy:1', got {device!r}")
    if not cupy.cuda.is_available():
        raise RuntimeError("CuPy finds no GPU it can use: install or update the NVIDIA driver")
    count = cupy.cuda.runtime.getDeviceCount()
    if int(device) >= count:
        raise RuntimeError(f"CuPy finds {count} GPU(s), counted from 0")
    return int(device)
