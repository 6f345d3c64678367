"""Backends: the array library and device a computation runs on, by name.

The modules of this folder, one for each library, are the only ones that import it, and only when it is asked for.
"""

from collections.abc import Callable
import ctypes
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from array_api_compat import array_namespace, device

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends.base import Backend

__all__ = ["Backend", "available_backends", "backend", "backend_of"]

INSTALL = {
    "numpy": "numpy",
    "cupy": '"xpdl[cuda12x]" or "xpdl[cuda13x]", with an NVIDIA driver',
    "torch": '"xpdl[torch]"',
    "jax": '"xpdl[jax]"',
    "array_api_strict": '"xpdl[strict]"',
}
"""What ``pip install`` needs to be told for each backend."""

DEVICE_NAMES: dict[str, Callable[[Any], str]] = {
    "cupy": lambda device: str(device.id),
    "torch": str,
    "array_api_strict": lambda device: str(device).split("'")[1],
}
"""What ``backend`` calls a device of a library."""

ACCELERATED = ("cupy", "torch:cuda", "jax:gpu")
"""What "auto" looks for before it settles for NumPy."""


PRECISIONS = ("float32", "tf32", "3xtf32")


def backend(name: str | Backend = "auto", *, precision: str = "float32") -> Backend:
    """The backend called ``name``: a library, and after a colon one of its devices ("cupy:1", "torch:cuda").

    "auto" is the first GPU that can be used (through CuPy, PyTorch, JAX), else NumPy.  A backend that is named must be
    there: ``ValueError`` for an unknown name, ``ImportError`` for a missing library, ``RuntimeError`` for a missing
    driver or device, with what to install.

    precision   how a training multiplies float32; sums, and all that is no product, stay in float32.
                "float32"
                "tf32"     in TensorFloat-32, which NVIDIA's GPUs since Ampere do several times as fast, and which keeps
                           10 bits of each factor's fraction instead of 23
                "3xtf32"   by three products in TF32, with about the digits of float32: for wide networks (CuPy)
                ``ValueError`` where a backend does not have it.
    """
    checks.choice("precision", precision, PRECISIONS)
    chosen = _named(name)
    return chosen.in_precision(precision) if precision != "float32" else chosen


def _named(name: str | Backend) -> Backend:
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return _connect(next(filter(_usable, ACCELERATED), "numpy"))
    library, _, device = name.partition(":") if isinstance(name, str) else (name, "", "")
    checks.choice("backend", library, [*INSTALL, "auto"])
    if library == "auto":
        raise ValueError(f"backend 'auto' chooses the device itself, got {device!r}")
    return _connect(name)


def backend_of(array: Array) -> Backend:
    """The backend of an array, on its device; of a library xpdl does not know, no more than its namespace."""
    xp = array_namespace(array)
    library = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if library in DEVICE_NAMES:
        return _connect(f"{library}:{DEVICE_NAMES[library](device(array))}")
    known = _connect(library) if library in INSTALL else Backend(library, xp, None)
    return replace(known, device=device(array))


def available_backends() -> dict[str, str]:
    """Each backend's name and "ready", or the reason why it is not."""
    return {name: _state(name) for name in INSTALL}


@cache
def _connect(name: str) -> Backend:
    library, _, device = name.partition(":")
    if find_spec(library) is None:
        raise ImportError(f"backend {name!r} needs {library}: pip install {INSTALL[library]}")
    try:
        connected: Backend = import_module(f"xpdl.backends.{library}").connect(name, device)
    except ValueError:  # a device that does not exist anywhere
        raise
    except Exception as error:  # an installation that is broken can raise anything
        raise RuntimeError(f"backend {name!r} cannot be used: {_first_line(error)}") from error
    return connected


def _usable(name: str) -> bool:
    """Whether a GPU can be used, without importing a library that cannot have one."""
    return find_spec(name.partition(":")[0]) is not None and _driver() and _state(name) == "ready"


def _state(name: str) -> str:
    try:
        _connect(name)
    except (ImportError, RuntimeError, ValueError) as error:
        return _first_line(error)
    return "ready"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _driver() -> bool:
    """Whether a GPU driver is installed: asking this first spares "auto" the import of large libraries."""
    return any(map(_loads, ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so")))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
