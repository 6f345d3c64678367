"""Checkpoints: the state of a training run between two steps, in one safetensors file.

A run that is resumed from a checkpoint gives the same bits as one that never stopped.

    tensors    every array by its path: "run/theta", "run/state/0", ..., "callbacks/KeepBest/0/theta"
    metadata   "run": JSON {"sha256", "format", "configuration", "epoch", "step", "history", "numbers", ...}

The SHA-256 is that of the whole file with zeros in place of the SHA-256.  A checkpoint needs no state of a random
generator, because orders and masks are functions of seed, epoch and step (randomness.py).  It holds numbers and names,
but no code.  The run that is resumed must have the same configuration.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
import hashlib
from itertools import count
import json
import os
import re
from types import FunctionType
from typing import Any
import warnings

import numpy as np

from xpdl import checks
from xpdl.activations import Activation
from xpdl.backends import Backend
from xpdl.files.host_copy import kind, kinds, leaves_by_path, number, put
from xpdl.files.model import check_format, reason
from xpdl.files.outputs import Kind, regular, shown, write_whole
from xpdl.files.tensors import header_length, read_content, read_header, read_json
from xpdl.files.train_state import TrainState
from xpdl.losses import Loss
from xpdl.network import Network
from xpdl.optimizers import Optimizer, State
from xpdl.pickling import unwrapped
from xpdl.pytree import tree_map, tree_map_with_path
from xpdl.scaling import Scaling

FORMAT = 1
DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64"),
}
"""The dtypes that a tensor of a checkpoint may have."""

COMPARED = {"optimizer": dict, "validation": list}
"""The entries of "compared", with their types; older checkpoints have none."""

ENTRIES: dict[str, Callable[[Any], bool]] = {
    "configuration": lambda entry: type(entry) is dict,
    "compared": lambda entry: type(entry) is dict and {key: type(x) for key, x in entry.items()} in ({}, COMPARED),
    "origin": lambda entry: type(entry) is dict and {key: type(x) for key, x in entry.items()} in ({}, {"theta": str}),
    "step": lambda entry: type(entry) is int and entry >= 0,
    "seconds": lambda entry: type(entry) in (int, float),
    "history": lambda entry: type(entry) is list and all(type(epoch) is dict for epoch in entry),
    "numbers": lambda entry: type(entry) is dict and all(type(n) in (bool, int, float) for n in entry.values()),
    "callbacks": lambda entry: type(entry) is dict and all(type(state) is dict for state in entry.values()),
}
"""The entries of the JSON document, with the test whether an entry is valid.  True does not count as a number."""

CONSTANTS = "constants"
"""The entry of the configuration for numbers in functions of the user's own; older checkpoints do not have it."""

LONGEST = 64 << 20
"""The most bytes of a header, which has the history: about 150 bytes for each epoch."""

UNSEALED = b"0" * 64
SEAL = re.compile(rb'\{"run":"\{\\"sha256\\": \\"([0-9a-f]{64})\\"')
"""The beginning of the metadata, with the SHA-256."""

RUN = Kind("a checkpoint of xpdl", SEAL.search)


class RunFileError(checks.FileError):
    """A file is not a checkpoint of a run, or it is damaged; the message names the file and the reason.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import xpdl
    >>> net = xpdl.Network([1, 1], output="linear")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.safetensors")
    ...     _ = path.write_bytes(b"something else")
    ...     try:
    ...         xpdl.train(net, [[0.0]], [[1.0]], resume=path, backend="numpy")
    ...     except xpdl.RunFileError as error:
    ...         print(str(error).partition("run.safetensors ")[2].partition(":")[0])
    is not a run of xpdl
    """


@dataclass(frozen=True)
class Checkpointer:
    """Write and read the checkpoints of one run.

    configuration  the settings that must be the same when the run is resumed
    compared       the settings whose changes are said, or refused if the run cannot go on with them
    callbacks      callbacks of the run; a checkpoint holds the state of those with a ``resume_state``
    backend        the backend of the arrays of the run
    batches        the number of samples in each step of an epoch
    origin         {"theta": a fingerprint of the parameters at the very start of the run}
    """

    configuration: Mapping[str, Any]
    compared: Mapping[str, Any]
    callbacks: Sequence[Any]
    backend: Backend
    batches: Sequence[int] = ()
    origin: dict[str, str] = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str], train_state: TrainState) -> None:
        """Write a checkpoint as a whole or not at all; ``OSError`` if the disk fails.

        ``ValueError`` or ``TypeError`` if the state of the optimizer could not be read back from the file.
        """
        kept = leaves_by_path({"run": train_state.carry, "good": train_state.last_good if train_state.step else None})
        _check_state(self.configuration, kept)
        states = {name: dict(callback.resume_state) for name, callback in _with_state(self.callbacks)}
        kept |= {
            f"callbacks/{name}/{key}": state.pop(key)
            for name, state in states.items()
            for key in [key for key, value in state.items() if hasattr(value, "dtype")]
        }
        numbers = {path: plain for path, leaf in kept.items() if (plain := number(leaf, self.backend)) is not None}
        tensors = {path: _tensor(path, leaf, self.backend) for path, leaf in kept.items() if path not in numbers}
        write_sealed(path, tensors, self.document(train_state, numbers, states))

    def document(
        self, train_state: TrainState, numbers: Mapping[str, Any], states: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return everything but the arrays, as values that JSON can hold."""
        return {
            "format": FORMAT,
            "configuration": self.configuration,
            "compared": self.compared,
            "origin": self.origin,
            "epoch": len(train_state.history),
            "step": train_state.step,
            "seconds": train_state.seconds,
            "history": _listed(train_state.history),
            "numbers": numbers,
            "callbacks": states,
        }

    def read(self, path: str | os.PathLike[str], like: TrainState) -> TrainState:
        """Return the state in a checkpoint, in the structure of ``like``; give the callbacks their ``resume_state``.

        ``RunFileError`` if the file is not a checkpoint or damaged, ``ValueError`` if it belongs to another run,
        ``OSError`` if it cannot be read.
        """
        tensors, document = read_sealed(path)
        if found := self.other_run(document):
            raise ValueError(f"{os.fspath(path)} is another run: {found}")
        before = {**self.compared, **document["compared"]}
        check_continues(path, before, self.compared)
        self.origin.clear()
        self.origin.update(document["origin"])
        kept = tensors | document["numbers"]
        try:
            kept.setdefault("good", kept["run/theta"])  # at the start of an epoch they are the same
            expected = {"run": like.carry, "good": like.last_good}
            found = tree_map_with_path(lambda place, leaf: _of_its_kind(place, kept[place], leaf), expected)
            self.check_possible(document, found["run"], found["good"])
        except (KeyError, ValueError) as error:
            raise RunFileError(f"{os.fspath(path)} is not a run of xpdl: {reason(error)}") from None
        arrays = tree_map(lambda leaf: put(leaf, self.backend), found)
        for name, callback in _with_state(self.callbacks):
            known = _judges_alike(callback, before, self.compared)
            state = document["callbacks"].get(name, {}) | _under(f"callbacks/{name}/", tensors)
            callback.resume_state = state if known else {}
        carry, last_good = arrays["run"], arrays["good"]
        history = [{name: _number_or_array(x) for name, x in epoch.items()} for epoch in document["history"]]
        return TrainState(carry, last_good, history, document["step"], document["seconds"])

    def check_possible(self, document: Mapping[str, Any], carry: Any, good: np.ndarray) -> None:
        """Raise ``ValueError`` for a state that no run of these batches can have between two steps."""
        step, history = document["step"], document["history"]
        used = sum(self.batches[:step])
        expected = {
            "step": (step, min(step, len(self.batches))),
            "offset": (int(carry.offset), used),
            "finite": ({*np.ravel(carry.finite).tolist()}, {step}),
            "number of finite parameters": (int(np.isfinite(carry.theta).sum()), carry.theta.size),
            "number of finite parameters before": (int(np.isfinite(good).sum()), good.size),
            "finite mean": (bool(np.isfinite(carry.mean).all()), True),
            "epochs": ([epoch.get("epoch") for epoch in history], [*range(1, 1 + len(history))]),
        }
        for name, (found, possible) in expected.items():
            if self.batches and found != possible:
                raise ValueError(f"its {name} is {checks.shorten(found)}, expected {checks.shorten(possible)}")

    def other_run(self, document: Mapping[str, Any]) -> str:
        """Return the differences between the configuration in a file and the one here, as text; "" if there is none."""
        written = document["configuration"]
        here = {key: entry for key, entry in self.configuration.items() if key != CONSTANTS or key in written}
        return differences(written, here, "in the file", "here")

    def check_replaces(self, path: str | os.PathLike[str], start: TrainState, epochs: int) -> None:
        """Raise ``FileExistsError`` if checkpoints at this path would replace another run, or anything else.

        A run of ``epochs`` epochs that begins at ``start`` may replace what it knows already, and what it will compute
        again.
        """
        place = regular(path, "checkpoint")
        if not place.exists() or not place.stat().st_size:
            return
        try:
            _, document = read_sealed(place)
        except RunFileError as error:
            raise FileExistsError(f"checkpoint must be a new file or this run, but {error}") from None
        history, step = document["history"], document["step"]
        before, begun = _listed(start.history[: len(history)]), (len(start.history), start.step)
        known = history == before and (len(history), step) <= begun
        same = (document["compared"], document["origin"]) == (self.compared, self.origin)
        again = same and len(history) + (step > 0) <= epochs  # the same run from its start will come there again
        if self.other_run(document) or not (known or again):
            raise FileExistsError(
                f"checkpoint {shown(path)} holds a run of {len(history)} epochs, which would be lost: go on with it "
                "(--resume auto, resume='auto'), or give this run another file; --force (overwrite=True) replaces it"
            )


# The configuration, which must be the same


def configuration(
    net: Network,
    dtype: str,
    seed: int | Sequence[int],
    data: Mapping[str, np.ndarray],
    batch_size: int,
    shuffle: bool,
    state: State,
    networks: int | None = None,
) -> dict[str, Any]:
    """Return the identity of a run as values that JSON can hold; ``state`` is the optimizer's before the first step.

    The learning rate may be a function, which no file can hold, so the optimizer is described by the structure of its
    state.  Activations and losses of the user's own are the same if their functions have the same names and the same
    constants.
    """
    x = next(values for name, values in data.items() if name.startswith("x"))
    options = {name: option for name, option in asdict(net).items() if name != "inputs"}
    described: dict[str, Any] = {
        "network": options | {"hidden": names(net.hidden), "output": names(net.output)} | scaling_of(net, x),
        "dtype": dtype,
        "seed": seed,
        "batch_size": batch_size,
        "shuffle": shuffle,
        **{name: fingerprint(values) for name, values in data.items()},
        "optimizer": kinds(state, "run/state"),
    }
    one = isinstance(net.hidden, str | Activation)
    hidden = {"hidden": net.hidden} if one else {f"hidden {l}": f for l, f in enumerate(net.hidden, 1)}
    held = _constants_of(**hidden, output=net.output)
    several = {} if networks is None else {"networks": networks}
    return dict(json.loads(json.dumps(described | several | ({CONSTANTS: held} if held else {}))))


def compared(optimizer: Optimizer, validation: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return what may change when a run is resumed, but not silently: the update rule, and the validation samples."""
    described = {"optimizer": rule_of(optimizer), "validation": list(map(fingerprint, validation))}
    return dict(json.loads(json.dumps(described)))


def rule_of(optimizer: Optimizer) -> dict[str, Any]:
    """Return the constants of an optimizer, its schedule included, and the numbers in functions of the user's own."""
    return constants(optimizer.fused or optimizer.update, "update", more=_of_users)


def check_continues(path: str | os.PathLike[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn of all changes since the checkpoint; ``ValueError`` if its state is that of another update rule."""
    check_rule(shown(path), before["optimizer"], now["optimizer"])
    old, new = ({name: entries[name] for name in COMPARED if before[name]} for entries in (before, now))
    if found := differences(old, new, "in the file", "here"):
        warnings.warn(f"{shown(path)} is resumed with changes: {found}", stacklevel=4)


def check_rule(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if one kernel of xpdl is to go on with the state of another.

    Nothing is known of an optimizer of the user's own.
    """
    old, new = _kernel(before), _kernel(now)
    if old and new and (found := differences(old, new, "in it", "here")):
        raise ValueError(f"{what} cannot be continued by another optimizer: {found}")


def _kernel(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells one kernel from another: names, truths, and each 0 that leaves out a term."""
    parts = ((re.search(r"\bkernel\b.*", key), x) for key, x in rule.items())
    return {part[0]: x for part, x in parts if part and (isinstance(x, str | bool) or x == 0)}


def _judges_alike(callback: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether what a callback has seen as best can be compared with what it will see."""
    monitor = getattr(callback, "monitor", None) or "validation_loss"
    return not monitor.startswith("validation") or before["validation"] == now["validation"]


def scaling_of(net: Network, x: Any) -> dict[str, Any]:
    """Return the entry for the scaling of x; {} for that of older versions, which scaled uint8 and nothing else."""
    before = Scaling.images if checks.dtype_name(x.dtype) == "uint8" else None
    return {} if net.inputs == before else {"inputs": None if net.inputs is None else asdict(net.inputs)}


def names(chosen: Any) -> Any:
    """Return the name of an activation or a loss; for one of the user's own, the names of its functions.

    Of several activations, it is the list of what it is of each.
    """
    if isinstance(chosen, str):
        return chosen
    own = isinstance(chosen, Activation | Loss)
    return [name_of(held) if own else names(held) for held in chosen]


def name_of(held: Any) -> str:
    """Return the name of a function, or the text of another object without addresses: the same in each process."""
    return str(getattr(held, "__qualname__", re.sub(r" at 0x[0-9a-fA-F]+", "", repr(held))))


def _constants_of(**chosen: Any) -> dict[str, Any]:
    """Return the constants in the functions of activations and losses of the user's own."""
    own = ((name, value._asdict()) for name, value in chosen.items() if not isinstance(value, str))
    found = [constants(held, f"{name} {part}") for name, parts in own for part, held in parts.items()]
    return {place: value for each in found for place, value in each.items() if not isinstance(value, str)}


def constants(
    value: Any, name: str, seen: Sequence[Any] = (), *, more: Callable[[Any, str], dict[str, Any]] = lambda *_: {}
) -> dict[str, Any]:
    """Return the constants in a function, such as a learning rate, by name.

    A number is a constant itself, and so are the numbers of K networks in a tuple.  For a function, these are the name
    of the function and the constants of everything in its closure; their names begin with ``name``.  A function that is
    in ``seen`` is skipped.  ``more(value, name)`` adds constants of everything that is no number.
    """
    if isinstance(value, int | float):
        return {name: value}
    if isinstance(value, tuple) and value and all(type(number) is float for number in value):
        return {name: list(value)}
    value = unwrapped(value)
    if not isinstance(value, FunctionType) or value in seen:
        return more(value, name)
    found = {name: value.__qualname__} | more(value, name)
    for inner, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        with suppress(ValueError):  # a cell that has no content yet
            found |= constants(cell.cell_contents, f"{name} {inner}", (*seen, value), more=more)
    return found


def _of_users(value: Any, name: str) -> dict[str, Any]:
    """Return the numbers that the user's own function has in its text, or uses as globals, or that its object holds."""
    if isinstance(value, partial):
        given = constants(value.func, name, more=_of_users)
        return given | _numbers(name, value.keywords | {f"argument {i}": held for i, held in enumerate(value.args)})
    if not isinstance(value, FunctionType):
        return _numbers(name, getattr(value, "__dict__", {})) if callable(value) else {}
    if (value.__module__ or "").startswith("xpdl."):  # its numbers belong to the version of xpdl
        return {}
    code, known = value.__code__, value.__globals__
    written = [held for held in code.co_consts if isinstance(held, float)]  # Python does not keep every whole number
    used = {word: known.get(word) for word in code.co_names}
    return _numbers(name, used) | ({f"{name} numbers": written} if written else {})


def _numbers(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name} {key}": value for key, value in values.items() if isinstance(value, int | float)}


def fingerprint(array: np.ndarray) -> str:
    """Return dtype, shape and the first half of the SHA-256 of the numbers."""
    numbers = np.ascontiguousarray(array)
    numbers = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return f"{numbers.dtype.name} {numbers.shape} {hashlib.sha256(numbers.reshape(-1).data).hexdigest()[:32]}"


def _of_its_kind(place: str, found: Any, here: Any) -> Any:
    """Return the leaf that was found if its kind is the expected one; an optimizer's state may change its kinds."""
    if not place.startswith("run/state") and kind(found) != kind(here):
        raise ValueError(f"its {place} is {kind(found)}, expected {kind(here)}")
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any], there: str, here: str) -> str:
    """Return every difference between two configurations, as text; "" if there is none."""
    old, new = _flat(one), _flat(other)
    return "; ".join(
        f"{key} is {checks.shorten(old.get(key, 'nothing'), 100)} {there}"
        f" and {checks.shorten(new.get(key, 'nothing'), 100)} {here}"
        for key in {**new, **old}
        if old.get(key, "nothing") != new.get(key, "nothing")
    )


def _flat(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a configuration in one flat dict, the entries of nested dicts included."""
    whole = {key: value for key, value in described.items() if not isinstance(value, Mapping)}
    parts = [(key, value) for key, value in described.items() if isinstance(value, Mapping)]
    return whole | {f"{key} {inner}": entry for key, part in parts for inner, entry in part.items()}


def _check_state(described: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless the optimizer's state still has the structure from ``init``, as reading requires."""
    now, before = {path for path in kept if path.startswith("run/state")}, set(described["optimizer"])
    if now != before:
        raise ValueError(
            "the state of the optimizer must keep the structure from its init to be saved, "
            f"got {checks.shorten(sorted(now))} after {checks.shorten(sorted(before))}"
        )


def _tensor(path: str, leaf: Any, backend: Backend) -> np.ndarray:
    """Return the leaf as a contiguous NumPy array; ``TypeError`` if a file cannot hold it."""
    name = checks.dtype_name(leaf.dtype) if hasattr(leaf, "dtype") else type(leaf).__name__
    if name not in DTYPES:
        raise TypeError(f"a run file holds arrays and numbers, got {name} for {path}")
    return np.array(leaf if isinstance(leaf, (np.ndarray, np.generic)) else backend.to_numpy(leaf), order="C")


def _with_state(callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the callbacks that have a ``resume_state``, each with its class and number: "EarlyStopping/0"."""
    numbers: dict[str, Iterator[int]] = defaultdict(count)
    for callback in callbacks:
        if hasattr(callback, "resume_state"):
            kind = type(callback).__name__
            yield f"{kind}/{next(numbers[kind])}", callback


def _under(folder: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {path.removeprefix(folder): tensor.copy() for path, tensor in tensors.items() if path.startswith(folder)}


# Files that hold their own SHA-256


def write_sealed(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
    """Write contiguous tensors and a JSON document, with their SHA-256, as a whole or not at all."""
    from safetensors.numpy import save as serialize

    text = json.dumps({"sha256": UNSEALED.decode(), **document}, default=_plain)
    content = memoryview(serialize(dict(tensors), {"run": text}))
    if header_length(content) > LONGEST:  # it could not be read again
        raise ValueError(f"the history takes more than the {LONGEST} bytes that a checkpoint may have")
    place = _place_of_seal(content)
    write_whole(path, content[: place.start], _seal(content, place), content[place.stop :])


def networks(path: str | os.PathLike[str]) -> int | None:
    """Return K if a checkpoint holds K networks; None if it holds one, or if ``read`` will refuse the file."""
    from safetensors import SafetensorError

    with suppress(OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        document = read_json(read_header(read_content(path, LONGEST))["__metadata__"]["run"], finite=False)
        return int(document["configuration"]["networks"])
    return None


def _listed(tree: Any) -> Any:
    """Return a tree with lists in place of arrays (K,), the numbers of K networks, for JSON."""
    return tree_map(lambda leaf: leaf.tolist() if isinstance(leaf, np.ndarray) else leaf, tree)


def _number_or_array(value: Any) -> Any:
    """Return the numbers of K networks, a list in JSON, as an array (K,)."""
    return np.array(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return a NumPy number as a Python number, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a run file holds arrays and numbers, got {checks.shorten(value)}")


def read_sealed(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the document of a file; ``RunFileError`` if a single bit has changed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    try:
        content = read_content(path, LONGEST)
        place = _place_of_seal(content)
        if _seal(content, place) != content[place]:
            raise ValueError("it is damaged, the SHA-256 of its content has changed since it was written")
        document = {"compared": {}, "origin": {}} | read_json(read_header(content)["__metadata__"]["run"], finite=False)
        check_format(document["format"], FORMAT)
        wrong = [name for name, holds in ENTRIES.items() if not holds(document[name])]
        if wrong:
            raise TypeError(f"its {wrong[0]} is {checks.shorten(document[wrong[0]])}")
        return deserialize(content), document
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunFileError(f"{os.fspath(path)} is not a run of xpdl: {reason(error)}") from None


def _seal(content: bytes | memoryview, place: slice) -> bytes:
    """Return the SHA-256 of the content, with zeros in the place of the SHA-256."""
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
    return min(8 + header_length(content), len(content))
