"""Model files: a network and its parameters in one safetensors file.

    tensors    W1, ..., WL, b1, ..., bL, in the shapes of the network; of an ensemble, with one more leading axis
    metadata   "xpdl": JSON {"format", "network": {sizes, hidden, ...}, "metadata": the user's own}

A file holds numbers, and names from closed sets.  It holds no code, and loading it runs no code from it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
import json
import os
import re
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends.base import to_numpy
from xpdl.files.outputs import Kind, write_whole
from xpdl.files.tensors import header_length, read_content, read_header, read_json
from xpdl.network import Network
from xpdl.scaling import BEFORE, Scaling

FORMAT = 2
"""Format 1 did not have ``inputs``; its networks scaled x of dtype uint8, and no other."""

BEFORE_2 = {"inputs": asdict(BEFORE)}
"""The entries that a network of format 1 lacks."""

LONGEST = 2 << 20
"""The most bytes of a header: the metadata, and about 70 bytes for each tensor."""

MANY = 1000
"""A description with so many layers more than there are tensors is refused before a network is built from it."""

MODEL = Kind("a model of xpdl", re.compile(rb'.{8}\{"__metadata__":\{"xpdl":', re.DOTALL).match)


class ModelFileError(checks.FileError):
    """A file is not a model of xpdl, or it is damaged; the message names the file and the reason.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import xpdl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     _ = path.write_bytes(b"something else")
    ...     try:
    ...         xpdl.load(path)
    ...     except xpdl.ModelFileError as error:
    ...         print(str(error).partition("model.safetensors ")[2].partition(":")[0])
    is not an xpdl model
    """


@dataclass(frozen=True)
class Model:
    """The content of a model file.

    Parameters
    ----------
    network : Network
        The network.
    theta : numpy.ndarray
        Its parameters (P,), or (K, P) of an ensemble of K networks, float32 or float64, finite.
    metadata : dict, default {}
        The metadata that was saved with them.

    Examples
    --------
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 1], output="sigmoid")
    >>> model = xpdl.Model(net, net.initialize(seed=0))
    >>> model.theta.shape, model.metadata
    ((13,), {})
    """

    network: Network
    theta: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)


def save(path: str | os.PathLike[str], net: Network, theta: Any, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network and its parameters to a file, as a whole or not at all.

    Parameters
    ----------
    path : path
        The file, in safetensors format.  A file that exists is replaced.
    net : Network
        The network.  Its activation and its loss must be given by their names in xpdl.
    theta : array_like
        Its parameters (P,), or (K, P) of an ensemble of K networks, float32 or float64, finite, from any library.
    metadata : mapping, optional
        Anything else to save that JSON can hold.

    Raises
    ------
    ValueError, TypeError
        If the activation or the loss is your own, so that it has no name to save; if theta does not fit or is not
        finite; if JSON cannot hold the metadata (NaN and infinity are not allowed).
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 1], output="sigmoid")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     xpdl.save(path, net, net.initialize(seed=0), metadata={"data": "circles"})
    ...     model = xpdl.load(path)
    >>> model.network == net, model.metadata
    (True, {'data': 'circles'})
    """
    from safetensors.numpy import save as serialize

    for argument, kind in {"hidden": "an activation", "output": "a loss"}.items():
        value = getattr(net, argument)
        if not all(isinstance(name, str) for name in (value if type(value) is tuple else [value])):
            raise ValueError(f"{argument} must be the name of {kind} to be saved, got {checks.shorten(value)}")
    checks.unmasked("theta", theta)
    theta = to_numpy(theta)
    if theta.ndim not in (1, 2) or theta.shape[-1] != net.size or not theta.size:
        expected = f"({net.size},), or (K, {net.size}) for K networks,"
        raise ValueError(f"theta must have shape {expected} for sizes {list(net.sizes)}, got {theta.shape}")
    checks.float_dtype("the dtype of theta", theta.dtype)
    checks.finite("theta", theta)
    parts = zip(net.names, net.layout.slices, net.shapes, strict=True)
    each = theta.shape[:-1]
    tensors = {name: np.ascontiguousarray(theta[..., part].reshape(*each, *shape)) for name, part, shape in parts}
    document = {"format": FORMAT, "network": asdict(net), "metadata": dict(metadata or {})}
    content = serialize(tensors, {"xpdl": _text(document)})
    if header_length(content) > LONGEST:
        raise ValueError(f"metadata must take at most {LONGEST} bytes as JSON, with the names of the layers")
    write_whole(path, content)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model from a file.

    No code from the file is ever run, and reading takes at most a few times the memory of its size.

    Parameters
    ----------
    path : path
        A file that ``save`` has written.

    Returns
    -------
    Model
        The network, its parameters and the metadata.

    Raises
    ------
    ModelFileError
        If the file is not a model of xpdl, or if it is damaged.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 1], output="sigmoid")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     xpdl.save(path, net, net.initialize(seed=0))
    ...     model = xpdl.load(path)
    >>> model.network.sizes, model.theta.shape
    ((2, 3, 1), (13,))
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    try:
        content = read_content(path, LONGEST)
        header = read_header(content)
        document = read_json(header.pop("__metadata__", {})["xpdl"])
        check_format(document["format"], 1, FORMAT)
        if not isinstance(document["metadata"], dict):
            raise TypeError(f"its metadata is {checks.shorten(document['metadata'])}")
        net = _network(document["network"], BEFORE_2 if document["format"] == 1 else {}, header)
        tensors = deserialize(content)
        each = tensors["b1"].shape[:-1]
        theta = np.concatenate([tensors[name].reshape(*each, -1) for name in net.names], axis=-1)
        checks.finite("theta", theta)
        return Model(net, theta, document["metadata"])
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{os.fspath(path)} is not an xpdl model: {reason(error)}") from None


def _text(document: dict[str, Any]) -> str:
    """Return the document as JSON; ``ValueError`` for NaN and infinity."""
    try:
        return json.dumps(document, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"metadata must hold what JSON can: {error}") from None


def check_format(found: Any, *known: int) -> None:
    """Raise ``ValueError`` unless the format that a file names is a known one."""
    if type(found) is not int or found not in known:
        listed = " and ".join(map(str, known))
        raise ValueError(f"its format is {checks.shorten(found)}, this version of xpdl reads {listed}")


def _network(description: dict[str, Any], added: dict[str, Any], tensors: Mapping[str, Any]) -> Network:
    """Return the network of a description, to which the entries are added that its format lacks.

    The tensors must be its parameters.
    """
    known = {option.name for option in fields(Network)} - {"_", *added}
    differing = known ^ set(description)
    if differing:
        raise ValueError(f"its network has too many or too few fields: {checks.shorten(sorted(differing))}")
    description = added | description
    inputs = description["inputs"]
    if inputs is not None and (type(inputs) is not dict or set(inputs) != {option.name for option in fields(Scaling)}):
        raise ValueError(f"its inputs have too many or too few fields: {checks.shorten(inputs)}")
    if len(description["sizes"]) > len(tensors) + MANY:  # before a network of any size is built
        raise ValueError(f"its tensors are {len(tensors)}, too few for {len(description['sizes'])} layers")
    net = Network(**{**description, "inputs": None if inputs is None else Scaling(**inputs)})
    _check_tensors(net, tensors)
    return net


def _check_tensors(net: Network, tensors: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless the tensors are the parameters of net, or of K such, all float32 or all float64."""
    found = {name: (tuple(tensor["shape"]), tensor["dtype"]) for name, tensor in tensors.items()}
    shapes = {name: shape for name, (shape, _) in found.items()}
    each = shapes.get("b1", ())[:-1][:1]  # (), or (K,) for K networks
    expected = {name: (*each, *shape) for name, shape in zip(net.names, net.shapes, strict=True)}
    if shapes != expected or 0 in each:
        raise ValueError(f"its tensors are {checks.shorten(shapes)}, expected {checks.shorten(expected)}")
    dtypes = {dtype for _, dtype in found.values()}
    if dtypes not in ({"F32"}, {"F64"}):
        raise ValueError(f"its tensors are {sorted(dtypes)}, expected all F32 or all F64")


def reason(error: Exception) -> str:
    """Return on one line why a file cannot be read."""
    return f"no entry {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
