"""Selection: find a backend by its name, and tell what to install if it is missing.

The module of a library is imported only when that library is needed.
"""

from collections.abc import Callable
import copyreg
import ctypes
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from array_api_compat import array_namespace, device

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends.base import Backend
from xpdl.backends.shared import once

INSTALL = {
    "numpy": "numpy",
    "cupy": '"xpdl[cuda12x]" or "xpdl[cuda13x]", with an NVIDIA driver',
    "torch": '"xpdl[torch]"',
    "jax": '"xpdl[jax]"',
    "array_api_strict": '"xpdl[strict]"',
}
"""The arguments of ``pip install`` for each backend."""

DEVICE_NAMES: dict[str, Callable[[Any], str]] = {
    "cupy": lambda device: str(device.id),
    "torch": str,
    "array_api_strict": lambda device: str(device).split("'")[1],
}
"""Functions from a device of a library to its name in ``backend``."""

ACCELERATED = ("cupy", "torch:cuda", "jax:gpu")
"""The backends that "auto" tries before NumPy."""

PRECISIONS = ("float32", "tf32", "3xtf32")


def backend(name: str | Backend = "auto", *, precision: str = "float32") -> Backend:
    """Return the backend with this name: an array library on a device.

    Parameters
    ----------
    name : str or Backend
        "numpy", "cupy", "torch", "jax" or "array_api_strict"; after a colon one of its devices ("cupy:1",
        "torch:cuda").  "auto", the default, is the first GPU that can be used through CuPy, PyTorch or JAX, else NumPy.
        A ``Backend`` is returned unchanged.
    precision : {"float32", "tf32", "3xtf32"}
        The precision in which a training multiplies float32 matrices; all other operations stay in float32.  "tf32" is
        TensorFloat-32: on NVIDIA's GPUs since Ampere it is several times as fast, with 10 bits of each factor's
        fraction instead of 23.  "3xtf32" computes three products in TF32 and keeps about the digits of float32; it is
        for wide networks on CuPy.  Default: "float32".

    Returns
    -------
    Backend
        The namespace, the device, and functions such as ``asarray`` and ``to_numpy``.

    Raises
    ------
    TypeError
        If the name is neither a string nor a ``Backend``.
    ValueError
        If the name or the precision is unknown, or the backend does not have the precision.
    ImportError
        If the library is not installed; the message says what to install.
    RuntimeError
        If the driver or the device is missing.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.backend("numpy").asarray([1, 2], "float64")
    array([1., 2.])
    >>> xpdl.backend("numpy").device
    'cpu'
    """
    checks.choice("precision", precision, PRECISIONS)
    chosen = _named(name)
    return chosen.in_precision(precision) if precision != "float32" else chosen


def _reduced(chosen: Backend) -> Any:
    """Reduce a backend to its name, for pickle; one of the user's own is pickled as any other object."""
    known = chosen.name.partition(":")[0] in INSTALL
    return (_again, (chosen.name, chosen.precision)) if known else chosen.__reduce_ex__(4)


def _again(name: str, precision: str) -> Backend:
    return backend(name, precision=precision)


copyreg.pickle(Backend, _reduced)


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
    """Return the backend of an array, on its device; for an unknown library it only has the namespace."""
    xp = array_namespace(array)
    library = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if library in DEVICE_NAMES:
        return _connect(f"{library}:{DEVICE_NAMES[library](device(array))}")
    known = _connect(library) if library in INSTALL else Backend(library, xp, None)
    return replace(known, device=device(array))


def available_backends() -> dict[str, str]:
    """Return which backends can be used here.

    Returns
    -------
    dict of str to str
        For each backend its name and "ready", or the reason why it cannot be used.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.available_backends()["numpy"]
    'ready'
    """
    return {name: _state(name) for name in INSTALL}


@once
def _connect(name: str) -> Backend:
    library, _, device = name.partition(":")
    if find_spec(library) is None:
        raise ImportError(f"backend {name!r} needs {library}: pip install {INSTALL[library]}")
    try:
        connected: Backend = import_module(f"xpdl.backends.{library}").connect(name, device)
    except ValueError:  # the library has no such device on any machine
        raise
    except Exception as error:  # a broken installation can raise anything
        raise RuntimeError(f"backend {name!r} cannot be used: {_first_line(error)}") from error
    return connected


def _usable(name: str) -> bool:
    """Return whether a GPU can be used; without a driver, the library is not even imported."""
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
    """Return whether a GPU driver is installed."""
    return any(map(_loads, ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so")))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
