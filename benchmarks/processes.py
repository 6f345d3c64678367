"""Contenders run in processes of their own, so that none finds what another has left in memory, caches or threads.

A benchmark starts itself again with the hidden command ``child``, whose last line is its result as JSON.
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


class ChildError(Exception):
    """A child that failed; the message is the last thing it said."""


def child(benchmark: str, *arguments: Any) -> Any:
    """What ``python -m benchmarks.BENCHMARK child ARGUMENTS`` reports; ``ChildError`` if it fails."""
    return last_json([sys.executable, "-m", f"benchmarks.{benchmark}", "child", *map(str, arguments)])


def last_json(command: list[str]) -> Any:
    """The last line a program prints, read as JSON; ``ChildError`` if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ChildError(next((line for line in reversed(said) if "Error" in line), said[-1]))
    return json.loads(done.stdout.splitlines()[-1])


def samples(quick: bool = False) -> Dataset:
    """MNIST (XPDL_DATA or the cache), without it as many glyphs; a few glyphs if it has to be quick."""
    if quick:
        return xpdl.data.load("glyphs", n_train=700, n_test=100)
    try:
        return xpdl.data.load("mnist")
    except OSError:
        return xpdl.data.load("glyphs", n_train=60_000, n_test=10_000)


@contextmanager
def stored(data: Dataset) -> Iterator[Path]:
    """The samples as a file for ``xpdl.data.load``, from which all children read the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, x=data.x, y=data.y, x_test=data.x_test, y_test=data.y_test)
        yield path
