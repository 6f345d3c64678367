"""Model files: a network and its parameters in one safetensors file.

    tensors    W1, ..., WL, b1, ..., bL, in the shapes of the network; of an ensemble, with one more leading axis
    metadata   "xpdl": JSON {"format", "network": {sizes, hidden, ...}, "metadata": the user's, "coding": of the data}

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
from xpdl.backends import backend as choose_backend
from xpdl.backends.base import to_numpy
from xpdl.data import inputs
from xpdl.data.coding import Coding
from xpdl.data.frames import is_frame, table_of_frame
from xpdl.data.loading import load as load_data, load_table
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

ROWS = 4096
"""The number of samples that go through the network together."""

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
    coding : Coding, optional
        What the features and the labels are called in the data that the network was trained on.

    Attributes
    ----------
    classes : tuple or None
        The labels that the network's 0, 1, ..., k - 1 stand for; None if it predicts values.
    features : tuple of str or None
        The names of the features, or None if they have none.

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
    coding: Coding | None = None

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The labels that the network's 0, 1, ..., k - 1 stand for; None if it predicts values.

        Examples
        --------
        >>> import xpdl
        >>> net = xpdl.Network([2, 3])
        >>> xpdl.Model(net, net.initialize()).classes
        (0, 1, 2)
        """
        known = None if self.coding is None else self.coding.classes
        return known or (tuple(range(count)) if (count := self.network.head.classes(self.network.sizes[-1])) else None)

    @property
    def features(self) -> tuple[str, ...] | None:
        """The names of the features, or None if they have none.

        Examples
        --------
        >>> import xpdl
        >>> net = xpdl.Network([2, 3])
        >>> xpdl.Model(net, net.initialize()).features is None
        True
        """
        return None if self.coding is None else self.coding.features

    def predict(self, x: Any) -> np.ndarray:
        """Return the labels of samples, as they were in the data of the training.

        Parameters
        ----------
        x : array_like (n, d), DataFrame, or path
            The samples: the features as numbers, or a table with the columns of the training.

        Returns
        -------
        numpy.ndarray (n,) or (n, k)
            The labels; the values, if the network predicts values.

        Raises
        ------
        DataFormatError, TypeError, ValueError
            If x is not what the network takes.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> from xpdl.data.coding import Coding
        >>> model = xpdl.Model(xpdl.Network([1, 2]), np.array([-1.0, 1, 0, 0]), coding=Coding(("cat", "dog")))
        >>> model.predict([[-2.0], [3.0]]).tolist()
        ['cat', 'dog']
        """
        p, decide = self.predict_proba(x), self.network.head.decide
        labels = p if decide is None else decide(p)
        return labels if self.coding is None or labels.ndim != 1 else self.coding.names_of(labels)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the probabilities of the classes, in the order of ``classes``; or the values that are predicted.

        Parameters
        ----------
        x : array_like (n, d), DataFrame, or path
            The samples, as for ``predict``.

        Returns
        -------
        numpy.ndarray (n, k) or (n,)
            The probabilities; of a single sigmoid those of the second class (n,).

        Raises
        ------
        DataFormatError, TypeError, ValueError
            If x is not what the network takes.
        ArithmeticError
            If an output is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.Model(xpdl.Network([1, 2]), np.zeros(4)).predict_proba([[-2.0], [3.0]]).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
        """
        x = inputs.features(self.network, self.encode(x), choose_backend("numpy"), self.theta.dtype.name)
        parts = (x[first : first + ROWS] for first in range(0, len(x), ROWS))
        with np.errstate(over="ignore", invalid="ignore"):
            p = np.concatenate([self._proba(part) for part in parts])
        if not np.isfinite(p).all():
            raise ArithmeticError(f"the outputs are not finite: x or theta is too large for {self.theta.dtype}")
        return p

    def _proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities for some samples; K networks of an ensemble give their mean."""
        p: np.ndarray = self.network.predict_proba(self.theta, x)
        return p if self.theta.ndim == 1 else p.mean(axis=0)

    def encode(self, x: Any) -> Any:
        """Return samples as the features of the network.

        Parameters
        ----------
        x : array_like (n, d), DataFrame, or path
            The samples, as for ``predict``.

        Returns
        -------
        array_like (n, d)
            The features: x itself, unless it is a table.

        Examples
        --------
        >>> import xpdl
        >>> net = xpdl.Network([2, 3])
        >>> xpdl.Model(net, net.initialize()).encode([[1, 2]])
        [[1, 2]]
        """
        coding = self.coding or Coding()
        table = (
            table_of_frame(x) if is_frame(x) else load_table(os.fspath(x)) if isinstance(x, str | os.PathLike) else None
        )
        if table is not None:
            return coding.encode(table)
        if isinstance(x, str | os.PathLike):
            return load_data(x).x
        return x


def save(
    path: str | os.PathLike[str],
    net: Network,
    theta: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    coding: Coding | None = None,
) -> None:
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
    coding : Coding, optional
        What the features and the labels are called, ``Dataset.coding`` of the data that the network was trained on.

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
    if coding is not None:
        document["coding"] = coding.document()
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
        return Model(net, theta, document["metadata"], _coding(document.get("coding"), net))
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{os.fspath(path)} is not an xpdl model: {reason(error)}") from None


def _coding(document: Any, net: Network) -> Coding | None:
    """Return the coding in a file, which must fit the network."""
    if document is None:
        return None
    coding, k = Coding.of_document(document), net.head.classes(net.sizes[-1])
    if coding.classes is not None and len(coding.classes) != k:
        raise ValueError(f"its coding has {len(coding.classes)} classes, and its network {k}")
    if coding.features is not None and len(coding.features) != net.sizes[0]:
        raise ValueError(f"its coding has {len(coding.features)} features, and its network {net.sizes[0]}")
    return coding


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
