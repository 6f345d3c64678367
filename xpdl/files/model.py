"""Model files: a network and its parameters in one safetensors file.

    tensors    W1, ..., WL, b1, ..., bL, in the shapes of the network
    metadata   "xpdl": JSON {"format", "network": {sizes, hidden, ...}, "metadata": the user's own}

A file holds numbers and names from closed sets, no code, and loading one runs none.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
import errno
import json
import math
import os
from pathlib import Path
import re
import time
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends.base import to_numpy
from xpdl.network import Network

FORMAT = 1
CANNOT_SYNC = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}
"""How systems say that they do not sync folders: Windows opens none, some network file systems sync none."""

ABANDONED = 3600.0
"""Seconds after which a file that is not finished has no writer any more."""


class ModelFileError(ValueError):
    """A file that is no xpdl model; the message names it and the reason."""


@dataclass(frozen=True)
class Model:
    """What a model file holds.

    network   the ``Network``
    theta     its parameters (P,), a NumPy array of float32 or float64, finite
    metadata  what was saved beside them
    """

    network: Network
    theta: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)


def save(path: str | os.PathLike[str], net: Network, theta: Any, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write net, theta (P,) and JSON-serialisable ``metadata`` to ``path``, whole or not at all.

    ``ValueError`` for an activation or a loss of your own, which has no name a file could hold, a theta that does not
    fit or is not finite, and NaN or infinity in the metadata; ``OSError`` if the disk fails.
    """
    from safetensors.numpy import save as serialize

    for argument, kind in {"hidden": "an activation", "output": "a loss"}.items():
        if not isinstance(value := getattr(net, argument), str):
            raise ValueError(f"{argument} must be the name of {kind} to be saved, got {checks.shorten(value)}")
    theta = to_numpy(theta)
    if theta.shape != (net.size,):
        raise ValueError(f"theta must have shape ({net.size},) for sizes {list(net.sizes)}, got {theta.shape}")
    checks.float_dtype("the dtype of theta", theta.dtype)
    checks.finite("theta", theta)
    parts = zip(net.names, net.layout.slices, net.shapes, strict=True)
    tensors = {name: np.ascontiguousarray(theta[part].reshape(shape)) for name, part, shape in parts}
    document = {"format": FORMAT, "network": asdict(net), "metadata": dict(metadata or {})}
    write_whole(path, serialize(tensors, {"xpdl": _text(document)}))


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file; ``ModelFileError`` if it is none, ``OSError`` if it cannot be read.

    Whatever the file holds, none of it is run, and no more memory is taken than a few times its size.
    """
    from safetensors import SafetensorError, safe_open

    Path(path).open("rb").close()  # an error of the file system keeps its own type
    try:
        with safe_open(path, framework="np") as file:
            document = json.loads((file.metadata() or {})["xpdl"], parse_float=_number, parse_constant=_number)
            check_format(document["format"], FORMAT)
            if not isinstance(document["metadata"], dict):
                raise TypeError(f"its metadata is {checks.shorten(document['metadata'])}")
            net = _network(document["network"])
            _check_tensors(net, {name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118
            theta = np.concatenate([file.get_tensor(name).ravel() for name in net.names])
            checks.finite("theta", theta)
            return Model(net, theta, document["metadata"])
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{os.fspath(path)} is not an xpdl model: {reason(error)}") from None


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Write a file so that at every moment, even after a crash, either the old or the new one is there, whole.

    ``OSError`` if the disk is full, read-only or fails: then the old one is there, and nothing beside it.  Only a
    process that is killed leaves its unfinished file, which a later one to the same path removes.
    """
    target = Path(path)
    _remove_abandoned(target)
    unfinished = target.parent / f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        with unfinished.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what counts
            unfinished.unlink()
        raise
    _sync_folder(target.parent)


def _remove_abandoned(target: Path) -> None:
    """Remove unfinished files of the target that are old.

    Their age decides, because the number in the name says nothing of a process on another machine or in a container.
    """
    unfinished = re.compile(rf"\.{re.escape(target.name)}\.\d+\.[0-9a-f]{{8}}")
    with suppress(OSError):  # a folder that cannot be listed
        for path in target.parent.iterdir():
            if unfinished.fullmatch(path.name):
                _remove_if_old(path)


def _remove_if_old(path: Path) -> None:
    with suppress(OSError):  # another process was faster, or it is no file
        if time.time() - path.stat().st_mtime > ABANDONED:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a crash, where the system can; a disk that fails is an ``OSError``."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise


def _text(document: dict[str, Any]) -> str:
    """The document as JSON, which has no NaN."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"metadata must hold what JSON can: {error}") from None


def _number(text: str) -> float:
    """A number of JSON; Python's own reader would also take NaN, Infinity, and numbers beyond all floats."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:30]} is not a number of JSON")
    return number


def check_format(found: Any, known: int) -> None:
    """The format that a file names must be the one that is known."""
    if type(found) is not int or found != known:
        raise ValueError(f"its format is {checks.shorten(found)}, this version of xpdl reads {known}")


def _network(description: dict[str, Any]) -> Network:
    known = {option.name for option in fields(Network)} - {"_"}
    differing = known ^ set(description)
    if differing:
        raise ValueError(f"its network has too many or too few fields: {checks.shorten(sorted(differing))}")
    return Network(**description)


def _check_tensors(net: Network, tensors: Mapping[str, Any]) -> None:
    """The tensors must be the parameters of net, all float32 or all float64."""
    found = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
    expected = dict(zip(net.names, net.shapes, strict=True))
    if found != expected:
        raise ValueError(f"its tensors are {checks.shorten(found)}, expected {checks.shorten(expected)}")
    dtypes = {tensor.get_dtype() for tensor in tensors.values()}
    if dtypes not in ({"F32"}, {"F64"}):
        raise ValueError(f"its tensors are {sorted(dtypes)}, expected all F32 or all F64")


def reason(error: Exception) -> str:
    """Why a file cannot be read, on one line."""
    return f"no entry {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
