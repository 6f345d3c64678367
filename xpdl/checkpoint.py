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
import os
from pathlib import Path
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends.base import to_numpy
from xpdl.network import Network

FORMAT = 1
CANNOT_SYNC = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}
"""How systems say that they do not sync folders: Windows opens none, some network file systems sync none."""


class ModelFileError(ValueError):
    """A file that is no xpdl model; the message names it and the reason."""


@dataclass(frozen=True)
class Model:
    """What a model file holds."""

    network: Network
    theta: np.ndarray  # (P,)
    metadata: dict[str, Any] = field(default_factory=dict)


def save(path: str | os.PathLike[str], net: Network, theta: Any, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write net, theta (P,) and JSON-serialisable ``metadata`` to ``path``, whole or not at all.

    ``ValueError`` for an activation of your own, which has no name a file could hold, or a theta that does not fit.
    """
    from safetensors.numpy import save as serialize

    if not isinstance(net.hidden, str):
        raise ValueError(f"hidden must be the name of an activation to be saved, got {checks.shorten(net.hidden)}")
    theta = to_numpy(theta)
    if theta.shape != (net.size,):
        raise ValueError(f"theta must have shape ({net.size},) for sizes {list(net.sizes)}, got {theta.shape}")
    checks.float_dtype("the dtype of theta", theta.dtype)
    parts = zip(net.names, net.layout.slices, net.shapes, strict=True)
    tensors = {name: np.ascontiguousarray(theta[part].reshape(shape)) for name, part, shape in parts}
    document = {"format": FORMAT, "network": asdict(net), "metadata": dict(metadata or {})}
    write_whole(path, serialize(tensors, {"xpdl": json.dumps(document)}))


def load(path: str | os.PathLike[str]) -> Model:
    """The model in a file; ``ModelFileError`` if it is none, ``OSError`` if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    Path(path).open("rb").close()  # an error of the file system keeps its own type
    try:
        with safe_open(path, framework="np") as file:
            document = json.loads((file.metadata() or {})["xpdl"])
            if document["format"] != FORMAT:
                raise ValueError(
                    f"its format is {checks.shorten(document['format'])}, this version of xpdl reads {FORMAT}"
                )
            net = _network(document["network"])
            _check_tensors(net, {name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118
            theta = np.concatenate([file.get_tensor(name).ravel() for name in net.names])
            return Model(net, theta, dict(document["metadata"]))
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{os.fspath(path)} is not an xpdl model: {reason(error)}") from None


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Write a file so that at every moment, even after a crash, either the old or the new one is there, whole.

    ``OSError`` if the disk is full, read-only or fails: then the old one is there, and nothing beside it.
    """
    target = Path(path)
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
