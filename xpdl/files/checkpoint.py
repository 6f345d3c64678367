"""Run files: a training run between two of its steps, in one safetensors file, to go on from there to the last bit.

    tensors    every array by its path: "run/theta", "run/state/0", ..., "callbacks/KeepBest/0/theta"
    metadata   "run": JSON {"sha256", "format", "configuration", "epoch", "step", "history", "numbers", ...}, where the
               SHA-256 is that of the whole file with zeros in its own place

Of random numbers nothing is kept: orders and masks are functions of seed, epoch and step (randomness.py).  A file holds
numbers and names, no code; what they mean stands in the run that is resumed, whose configuration must be the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
import hashlib
from itertools import count
import json
import os
from pathlib import Path
import re
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.activations import Activation
from xpdl.backends import Backend
from xpdl.files.model import check_format, reason, write_whole
from xpdl.files.pytree import kind, kinds, leaves, map_leaves, number
from xpdl.losses import Loss
from xpdl.network import Network

Host = Callable[[Any], np.ndarray]

FORMAT = 1
DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64"),
}
"""What a tensor of a file may hold."""

ENTRIES: dict[str, Callable[[Any], bool]] = {
    "configuration": lambda entry: type(entry) is dict,
    "step": lambda entry: type(entry) is int and entry >= 0,
    "seconds": lambda entry: type(entry) in (int, float),
    "history": lambda entry: type(entry) is list and all(type(epoch) is dict for epoch in entry),
    "numbers": lambda entry: type(entry) is dict and all(type(n) in (bool, int, float) for n in entry.values()),
    "callbacks": lambda entry: type(entry) is dict and all(type(state) is dict for state in entry.values()),
}
"""What the document of a file must hold, and whether an entry is that; True is no number here."""

UNSEALED = b"0" * 64
SEAL = re.compile(rb'\{"run":"\{\\"sha256\\": \\"([0-9a-f]{64})\\"')
"""How the metadata begin."""


class RunFileError(ValueError):
    """A file that is no run of xpdl, or is damaged; the message names it and the reason."""


@dataclass(frozen=True)
class RunFiles:
    """Files of one run: what they say of it, whose callbacks it has, and where its arrays are.

    A moment is a ``session.Moment``.
    """

    configuration: Mapping[str, Any]
    callbacks: Sequence[Any]
    backend: Backend

    def write(self, path: str | os.PathLike[str], moment: Any) -> None:
        """Write a moment, whole or not at all; ``OSError`` if the disk fails.

        ``ValueError``/``TypeError`` if the optimizer's state could not be brought back.
        """
        kept = leaves({"run": moment.run, "good": moment.good if moment.step else None})
        _check_state(self.configuration, kept)
        states = {name: dict(callback.resume_state) for name, callback in _with_state(self.callbacks)}
        kept |= {
            f"callbacks/{name}/{key}": state.pop(key)
            for name, state in states.items()
            for key in [key for key, value in state.items() if hasattr(value, "dtype")]
        }
        host = self.backend.to_numpy
        numbers = {path: plain for path, leaf in kept.items() if (plain := number(leaf, host)) is not None}
        tensors = {path: _tensor(path, leaf, host) for path, leaf in kept.items() if path not in numbers}
        document = {
            "format": FORMAT,
            "configuration": self.configuration,
            "epoch": len(moment.history),
            "step": moment.step,
            "seconds": moment.seconds,
            "history": moment.history,
            "numbers": numbers,
            "callbacks": states,
        }
        write_sealed(path, tensors, document)

    def read(self, path: str | os.PathLike[str], moment: Any) -> Any:
        """The moment in a file, in the structure of ``moment``; callbacks with a ``resume_state`` are given theirs.

        ``RunFileError`` if it is no run or damaged, ``ValueError`` if it is another one, ``OSError`` if it cannot be
        read.
        """
        tensors, document = read_sealed(path)
        if found := differences(document["configuration"], self.configuration, "in the file", "here"):
            raise ValueError(f"{os.fspath(path)} is another run: {found}")
        kept, step = tensors | document["numbers"], document["step"]
        try:
            kept.setdefault("good", kept["run/theta"])  # at the beginning of an epoch they are the same
            here = {"run": moment.run, "good": moment.good}
            found = map_leaves(lambda place, leaf: _of_its_kind(place, kept[place], leaf), here)
        except (KeyError, ValueError) as error:
            raise RunFileError(f"{os.fspath(path)} is not a run of xpdl: {reason(error)}") from None
        arrays = map_leaves(lambda _, leaf: self._put(leaf), found)
        for name, callback in _with_state(self.callbacks):
            state = document["callbacks"].get(name, {})
            callback.resume_state = state | _under(f"callbacks/{name}/", tensors)
        return moment._replace(**arrays, step=step, seconds=document["seconds"], history=document["history"])

    def _put(self, leaf: Any) -> Any:
        """A leaf of its own on the device; a Python number stays one."""
        return self.backend.asarray(leaf, copy=True) if isinstance(leaf, np.ndarray) else leaf


# What must be the same


def configuration(
    net: Network, dtype: str, seed: int, data: Mapping[str, np.ndarray], batch_size: int, shuffle: bool, state: Any
) -> dict[str, Any]:
    """All that makes a run this one, as JSON has it; state is the optimizer's before the first step.

    The optimizer's rates are functions, which no file can hold: of it, this is the structure of its state.  Two
    activations or losses of your own are the same if their functions have the same names.
    """
    described: dict[str, Any] = {
        "network": {**asdict(net), "hidden": names(net.hidden), "output": names(net.output)},
        "dtype": dtype,
        "seed": seed,
        "batch_size": batch_size,
        "shuffle": shuffle,
        **{name: fingerprint(values) for name, values in data.items()},
        "optimizer": kinds(state, "run/state"),
    }
    return dict(json.loads(json.dumps(described)))


def names(chosen: str | Activation | Loss) -> str | list[str]:
    """The name of an activation or a loss; of your own, the names of the functions it holds."""
    return chosen if isinstance(chosen, str) else [getattr(f, "__qualname__", repr(f)) for f in chosen]


def fingerprint(array: np.ndarray) -> str:
    """Dtype, shape and the first half of the SHA-256 of the numbers."""
    numbers = np.ascontiguousarray(array)
    numbers = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return f"{numbers.dtype.name} {numbers.shape} {hashlib.sha256(numbers.reshape(-1).data).hexdigest()[:32]}"


def _of_its_kind(place: str, found: Any, here: Any) -> Any:
    """The leaf of a file, of the same kind as that of this run; an optimizer's state may have changed its kind."""
    if not place.startswith("run/state") and kind(found) != kind(here):
        raise ValueError(f"its {place} is {kind(found)}, expected {kind(here)}")
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any], there: str, here: str) -> str:
    """Every difference between two configurations, and where which is; "" if there is none."""
    old, new = _flat(one), _flat(other)
    return "; ".join(
        f"{key} is {checks.shorten(old.get(key, 'nothing'), 100)} {there}"
        f" and {checks.shorten(new.get(key, 'nothing'), 100)} {here}"
        for key in {**new, **old}
        if old.get(key, "nothing") != new.get(key, "nothing")
    )


def _flat(described: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a configuration, with those of its parts beside them."""
    whole = {key: value for key, value in described.items() if not isinstance(value, Mapping)}
    parts = [(key, value) for key, value in described.items() if isinstance(value, Mapping)]
    return whole | {f"{key} {inner}": entry for key, part in parts for inner, entry in part.items()}


def _check_state(described: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """The optimizer's state must have the structure that ``init`` gave it, or it could not be put together again."""
    now, before = {path for path in kept if path.startswith("run/state")}, set(described["optimizer"])
    if now != before:
        raise ValueError(
            "the state of the optimizer must keep the structure that init gave it to be saved, "
            f"got {checks.shorten(sorted(now))} after {checks.shorten(sorted(before))}"
        )


def _tensor(path: str, leaf: Any, host: Host) -> np.ndarray:
    """The leaf as a contiguous NumPy array; ``TypeError`` if it is none that a file can hold."""
    name = checks.dtype_name(leaf.dtype) if hasattr(leaf, "dtype") else type(leaf).__name__
    if name not in DTYPES:
        raise TypeError(f"a run file holds arrays and numbers, got {name} for {path}")
    return np.array(leaf if isinstance(leaf, (np.ndarray, np.generic)) else host(leaf), order="C")


def _with_state(callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The callbacks that have a ``resume_state``, by kind and number: "EarlyStopping/0"."""
    numbers: dict[str, Iterator[int]] = defaultdict(count)
    for callback in callbacks:
        if hasattr(callback, "resume_state"):
            kind = type(callback).__name__
            yield f"{kind}/{next(numbers[kind])}", callback


def _under(folder: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {path.removeprefix(folder): tensor.copy() for path, tensor in tensors.items() if path.startswith(folder)}


# Files with a SHA-256 of themselves


def write_sealed(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
    """Write contiguous tensors and a JSON document with their SHA-256, whole or not at all."""
    from safetensors.numpy import save as serialize

    text = json.dumps({"sha256": UNSEALED.decode(), **document}, default=_plain)
    content = memoryview(serialize(dict(tensors), {"run": text}))
    place = _place_of_seal(content)
    write_whole(path, content[: place.start], _seal(content, place), content[place.stop :])


def _plain(value: Any) -> Any:
    """A number of NumPy's as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a run file holds arrays and numbers, got {checks.shorten(value)}")


def read_sealed(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the document of a file; ``RunFileError`` if a single bit of it is not as it was written."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load as deserialize

    Path(path).open("rb").close()  # an error of the file system keeps its own type
    try:
        with safe_open(path, framework="np"):
            pass  # a file that is not as long as it says may be longer than memory, and its header no JSON
        content = Path(path).read_bytes()
        place = _place_of_seal(content)
        if _seal(content, place) != content[place]:
            raise ValueError("it is damaged, the SHA-256 of its content is not the one it was written with")
        document = json.loads(json.loads(content[8 : _end_of_header(content)])["__metadata__"]["run"])
        check_format(document["format"], FORMAT)
        wrong = [name for name, holds in ENTRIES.items() if not holds(document[name])]
        if wrong:
            raise TypeError(f"its {wrong[0]} is {checks.shorten(document[wrong[0]])}")
        return deserialize(content), document
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunFileError(f"{os.fspath(path)} is not a run of xpdl: {reason(error)}") from None


def _seal(content: bytes | memoryview, place: slice) -> bytes:
    """The SHA-256 of the content with zeros in the place where it is to stand."""
    view = memoryview(content)
    digest = hashlib.sha256(view[: place.start])
    digest.update(UNSEALED)
    digest.update(view[place.stop :])
    return digest.hexdigest().encode()


def _place_of_seal(content: bytes | memoryview) -> slice:
    found = SEAL.search(content, 8, _end_of_header(content))
    if found is None:
        raise ValueError("it has no SHA-256 of its content")
    return slice(*found.span(1))


def _end_of_header(content: bytes | memoryview) -> int:
    return min(8 + int.from_bytes(content[:8], "little"), len(content))
