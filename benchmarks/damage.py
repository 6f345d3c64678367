"""Damaged files must be refused without side effects: ``python -m benchmarks.damage model [--count 1000] [--first 0]``.

Each file is a good file that mutations.py has changed at random; its number is the seed.  This process reads the files
and watches itself:

    errors    every error but the documented one is a fault, and so is an incomplete model or run
    audit     every audit event (PEP 578) but the opening of this file is a fault: imports, exec, compile, unpickling,
              processes, sockets, other files.  Compiled code reports no such events.
    memory    the peak over the memory before; a request for a gigabyte is a ``MemoryError``, which is a fault
    time      that of the slowest file; after a minute the process ends with a traceback

The last line of the output is the result as JSON.
"""

import codecs
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
import faulthandler
import gzip
import json
from pathlib import Path
from random import Random
import sys
import tempfile
import time
from typing import Any
import warnings

from cyclopts import App
import numpy as np
import optuna

from benchmarks import memory
from benchmarks.mutations import mutated, mutated_metadata, mutated_text
from benchmarks.processes import last_json
import xpdl
from xpdl.cli.plotting import _read_history
from xpdl.data import DataFormatError
from xpdl.data.idx import read_idx
from xpdl.files import checkpoint
from xpdl.tuning.storage import open_storage

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
LIMIT = 60
"""Seconds that reading a file may take."""

RESERVED = 1024
"""MiB of addresses that may be reserved; 200 of them are the stacks of the threads that wait for LIMIT."""

HARMLESS = {"builtins.id", "ctypes.cdata/buffer", "object.__getattr__"}
"""Audit events without an effect, of a step of a resumed run, and of the constants in its optimizer."""

# Good files, and how they are read

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
NET = xpdl.Network([3, 4, 2], hidden="tanh", l2=0.1)


def write_model(path: Path) -> None:
    """Write a model with metadata of all kinds."""
    metadata = {"note": "é", "losses": [1, 2.5e-3], "data": {"name": None, "shuffled": True}}
    xpdl.save(path, NET, NET.initialize(0), metadata=metadata)


def read_model(path: Path) -> None:
    """Load a model, and use it."""
    model = xpdl.load(path)
    assert model.theta.shape == (model.network.size,), model.theta.shape
    assert np.isfinite(model.theta).all()
    assert type(model.metadata) is dict
    model.network.predict(model.theta, np.zeros((1, model.network.sizes[0]), model.theta.dtype))


def write_run(path: Path) -> None:
    """Write the checkpoint of a run of two epochs."""
    _train(checkpoint=path)


def read_run(path: Path) -> None:
    """Resume a run that had ended."""
    result = _train(resume=path)
    assert (result.theta.shape, result.theta.dtype) == ((NET.size,), "float32")
    assert all(type(epoch) is dict for epoch in result.history)


def write_table(path: Path) -> None:
    """Write a table with a header."""
    rows = [f"{x[0]},{x[1]:.3g},{y}" for x, y in zip(X, Y, strict=True)]
    path.write_text("\n".join(["height,width,label", *rows]) + "\n")


def write_archive(path: Path) -> None:
    """Write a compressed archive with a test part."""
    np.savez_compressed(path, x=X, y=Y, x_test=X[:5], y_test=Y[:5])


def write_idx(path: Path) -> None:
    """Write images in a compressed IDX file."""
    path.write_bytes(gzip.compress(b"\0\0\x08\3" + np.array([5, 4, 4], ">u4").tobytes() + bytes(range(80))))


def read_data(path: Path) -> None:
    """Load data, and look at their numbers."""
    data = xpdl.data.load(path)
    assert np.isfinite(data.x).all()
    assert len(data.x) == len(data.y)


def write_journal(path: Path) -> None:
    """Write the journal of a study with trials."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(storage=open_storage(path), study_name="study")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)


def read_journal(path: Path) -> None:
    """Open the journal of a study, which reads it; zeros in it may make JSON of any of these encodings of it."""
    for encoding in ("utf-16-be", "utf-16-le", "utf-32-be", "utf-32-le"):
        codecs.lookup(encoding)
    open_storage(path).get_all_studies()


def write_history(path: Path) -> None:
    """Write a history of some epochs."""
    path.write_text("".join(f'{{"epoch": {k}, "loss": {0.5 / k}, "seconds": 0.1}}\n' for k in range(1, 9)))


def read_history(path: Path) -> None:
    """Read the epochs of a history."""
    assert all(type(epoch["epoch"]) in (int, float) for epoch in _read_history(path))


def _train(**files: Path) -> xpdl.Result:
    return xpdl.train(NET, X, Y, epochs=2, batch_size=8, backend="numpy", progress=False, **files)  # type: ignore[arg-type]


def as_it_is(content: bytes) -> bytes:
    """Return the content unchanged."""
    return content


def sealed(content: bytes) -> bytes:
    """Return the content with a correct SHA-256, if there is a place for it, as an attacker would."""
    try:
        place = checkpoint._place_of_seal(content)
    except ValueError:
        return content
    return content[: place.start] + checkpoint._seal(content, place) + content[place.stop :]


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    write: Callable[[Path], None]
    read: Callable[[Path], None]
    refusal: type[Exception]  # the documented one
    tight: bool = False  # every change must be noticed
    finish: Callable[[bytes], bytes] = as_it_is
    suffix: str = ""
    mutate: Callable[[bytes, Random], tuple[str, bytes]] = mutated
    harmless: frozenset[str] = frozenset()  # more audit events without an effect

    def outcome(self, path: Path) -> str:
        """Return "read" or "refused"; anything else is a fault."""
        try:
            with warnings.catch_warnings(action="ignore"):  # a run may say what has changed in it
                self.read(path)
        except self.refusal:
            return "refused"
        except BaseException as error:  # any error is a finding
            return f"{type(error).__name__}: {error}"
        return "not noticed" if self.tight else "read"


KINDS = {
    "model": Kind(write_model, read_model, xpdl.ModelFileError),
    "run": Kind(write_run, read_run, xpdl.RunFileError, tight=True),
    "resealed": Kind(write_run, read_run, ValueError, finish=sealed),
    "metadata": Kind(write_model, read_model, xpdl.ModelFileError, mutate=mutated_metadata),
    "table": Kind(write_table, read_data, DataFormatError, suffix=".csv", mutate=mutated_text),
    "archive": Kind(
        write_archive,
        read_data,
        DataFormatError,
        suffix=".npz",
        mutate=mutated_text,
        harmless=frozenset({"compile"}),  # NumPy parses the header of an array as a literal, and does not run it
    ),
    "idx": Kind(write_idx, lambda path: read_idx(path).sum(), DataFormatError, suffix=".gz", mutate=mutated_text),
    "journal": Kind(write_journal, read_journal, OSError, suffix=".journal", mutate=mutated_text),
    "history": Kind(write_history, read_history, ValueError, suffix=".jsonl", mutate=mutated_text),
}

# Watching


@dataclass
class Watch:
    """Watches this process while it reads files, and counts what happens."""

    tried: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by mutation
    read: Counter[str] = field(default_factory=Counter)  # by mutation
    faults: list[tuple[int, str, str]] = field(default_factory=list)  # number, mutation, what was wrong
    slowest_ms: float = 0.0
    reading: Path | None = None
    heard: set[str] = field(default_factory=set)  # audit events while this file is read

    def __post_init__(self) -> None:
        """Begin to watch.  This never ends, because an audit hook cannot be removed."""
        sys.addaudithook(self.hear)
        faulthandler.dump_traceback_later(LIMIT, exit=True)  # reserves memory for a thread
        self.before = memory.resident()
        memory.limit(RESERVED)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note an audit event of the interpreter."""
        if self.reading is None or event in HARMLESS:
            return
        if event != "open" or str(arguments[0]) != str(self.reading):
            self.heard.add(event)

    def file(self, kind: Kind, path: Path, number: int, mutation: str) -> None:
        """Read a file, and count its outcome."""
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        began, self.reading = time.perf_counter(), path
        outcome = kind.outcome(path)
        self.reading = None
        self.heard -= kind.harmless
        self.slowest_ms = max(self.slowest_ms, 1e3 * (time.perf_counter() - began))
        self.tried += 1
        if outcome in ("read", "refused") and not self.heard:
            getattr(self, outcome)[mutation] += 1
        else:
            self.faults.append((number, mutation, f"{outcome[:300]} {sorted(self.heard)}"))
        self.heard.clear()

    def seen(self) -> dict[str, Any]:
        """Return all counts, for JSON."""
        return {
            "tried": self.tried,
            "held": self.tried - len(self.faults),
            "slowest_ms": self.slowest_ms,
            "more_mib": memory.peak() - self.before,
            "refused": self.refused,
            "read": self.read,
            "faults": self.faults[:10],
        }


def different(content: bytes, dice: Random, kind: Kind) -> tuple[str, bytes]:
    """Return the name of a mutation that changes something, and the changed content."""
    while True:
        mutation, changed = kind.mutate(content, dice)
        if (changed := kind.finish(changed)) != content:
            return mutation, changed


@app.default
def damage(name: str, *, count: int = 1000, first: int = 0, seed: int = 0) -> None:
    """Read damaged files.

    Parameters
    ----------
    name
        Kind of file: model, metadata (of a model), run (a checkpoint), resealed (a checkpoint with a correct SHA-256
        after the change), table, archive, idx, journal (of a study), or history.
    count
        Number of files.
    first
        Number of the first file; a fault names the number of its file.
    seed
        Another seed gives other files for all numbers.
    """
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        good, path = (Path(folder) / f"{name}{kind.suffix}" for name in ("good", "mutated"))
        kind.write(good)
        kind.read(good)  # imports what reading needs
        watch, content = Watch(), good.read_bytes()
        for number in range(first, first + count):
            mutation, changed = different(content, Random(f"{name} {seed} {number}"), kind)
            path.write_bytes(changed)
            watch.file(kind, path, number, mutation)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(watch.seen()))


def damaged(name: str, count: int, seed: int = 0) -> dict[str, Any]:
    """Read this many damaged files in a process of its own, and return its counts."""
    command = [sys.executable, "-m", "benchmarks.damage", name, "--count", str(count), "--seed", str(seed)]
    return dict(last_json(command))


if __name__ == "__main__":
    sys.exit(app())
