"""Each contender runs in its own process, so that none is affected by memory, caches or threads of another.

A benchmark starts itself again with the hidden command ``child``, which prints its result as JSON on its last line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from benchmarks.machine import ROOT
import xpdl
from xpdl.data import Dataset
from xpdl.distributed.launching import command


class ChildError(Exception):
    """A child process failed; the message is the last line that it printed."""


def child(benchmark: str, *arguments: Any) -> Any:
    """Run ``python -m benchmarks.BENCHMARK child ARGUMENTS`` and return its result; ``ChildError`` if it fails."""
    return last_json([sys.executable, "-m", f"benchmarks.{benchmark}", "child", *map(str, arguments)])


def last_json(line: list[str]) -> Any:
    """Run a program and return its last line, read as JSON; ``ChildError`` if it fails."""
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ChildError(next((line for line in reversed(said) if "Error" in line), said[-1]))
    return json.loads(done.stdout.splitlines()[-1])


def on_ranks(ranks: int, program: list[str]) -> list[str]:
    """Return the command of a Python program on this many ranks; one rank runs without MPI.

    Without -P, for the benchmarks are in the current folder.
    """
    return [sys.executable, *program] if ranks == 1 else [word for word in command(ranks, program) if word != "-P"]


def samples(quick: bool = False) -> Dataset:
    """Return MNIST (from XPDL_DATA or the cache), or as many glyphs without it; for a quick run, a few glyphs."""
    if quick:
        return xpdl.data.load("glyphs", n_train=700, n_test=100)
    try:
        return xpdl.data.load("mnist")
    except OSError:
        return xpdl.data.load("glyphs", n_train=60_000, n_test=10_000)


@contextmanager
def stored(data: Dataset) -> Iterator[Path]:
    """Within the block, give a file with the samples, which all child processes read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, x=data.x, y=data.y, x_test=data.x_test, y_test=data.y_test)
        yield path
