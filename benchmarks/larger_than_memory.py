"""Training on more data than fit into memory: ``python -m benchmarks.larger_than_memory [--gib 8] [--rounds 2]``.

A data set of this many GiB is generated on disk, in files of 1 GiB, and removed at the end.  Two kinds of processes
take turns to train network M:

    disk      one epoch on the folder, after its pages were removed from the system's cache
    memory    two epochs on the first eighth of the data, in memory

A row has the images per second of the last epoch, the peak memory of the process, and the bytes read from disk over
those of the data.  A value of 1 means that each image was read once: more memory for the system's cache would gain
nothing.  The limits are MEMORY, in MiB, and RATE, the speed relative to that in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import statistics
import sys
import tempfile
from typing import Annotated, Any

from cyclopts import App, Parameter
import numpy as np

from benchmarks.memory import bytes_read, peak
from benchmarks.networks import LR, SETUPS
from benchmarks.output import Output, Row
from benchmarks.processes import child as run_child, samples
import xpdl
from xpdl.data import Dataset

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {
    "where": "",
    "gib": ".2f",
    "images_s": ",.0f",
    "of_memory": ".2f",
    "read": ".2f",
    "peak_mib": ",.0f",
    "holds": "",
}
MEMORY, RATE = 1024, 0.8
BLOCK = 16_384
"""Images that are written together."""
FILE = 2**30 // 784
"""Images in a file."""


@app.default
def larger_than_memory(
    *,
    gib: float = 8.0,
    rounds: int = 2,
    folder: Path | None = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Generate, train and compare. The exit code is 1 if a limit is exceeded.

    Parameters
    ----------
    gib
        Size of the data set in GiB.
    rounds
        Rounds of processes.
    folder
        Folder for the data. By default, the folder of temporary files.
    quick
        32 MiB, to see that it works.
    """
    gib, rounds = (1 / 32, 1) if quick else (gib, rounds)
    with generated(gib, samples(quick), folder) as data:
        found = [[run_child("larger_than_memory", where, data) for where in TRAIN] for _ in range(rounds)]
    ratio = statistics.median(disk["images_s"] / memory["images_s"] for disk, memory in found)
    rows: list[Row] = [
        {
            "where": where,
            "gib": results[0]["gib"],
            "images_s": statistics.median(result["images_s"] for result in results),
            "read": statistics.median(result["read"] for result in results),
            "peak_mib": max(result["peak_mib"] for result in results),
        }
        for where, results in zip(TRAIN, zip(*found, strict=True), strict=True)
    ]
    held = ratio >= RATE and rows[0]["peak_mib"] <= MEMORY
    rows[0] = {**rows[0], "of_memory": ratio, "holds": "yes" if held else "NO"}
    output.publish("larger_than_memory", COLUMNS, rows, rounds=found)
    return int(not held)


@contextmanager
def generated(gib: float, base: Dataset, folder: Path | None) -> Iterator[Path]:
    """Within the block, give a folder of images in random order, in files of at most 1 GiB."""
    rng, n = np.random.default_rng(0), int(gib * 2**30) // 784
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for number, first in enumerate(range(0, n, FILE)):
            rows = rng.integers(0, len(base.x), min(FILE, n - first))
            x = np.lib.format.open_memmap(f"{name}/x-{number:03}.npy", "w+", np.uint8, (len(rows), 784))
            for start in range(0, len(rows), BLOCK):
                x[start : start + BLOCK] = base.x[rows[start : start + BLOCK]]
            x.flush()
            np.save(f"{name}/y-{number:03}.npy", base.y[rows].astype(np.uint8))
        yield Path(name)


@app.command(show=False)
def child(where: str, folder: Path) -> None:
    """Train, and print the images per second and the peak memory."""
    data = xpdl.data.load(folder)
    print(json.dumps(TRAIN[where](data, folder)))


def from_disk(data: Dataset, folder: Path) -> dict[str, float]:
    """Train one epoch on all data, from disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return _trained(data.x, data.y, 1)


def from_memory(data: Dataset, folder: Path) -> dict[str, float]:
    """Train two epochs on an eighth of the data, in memory."""
    part = slice(len(data.x) // 8)
    return _trained(data.x[part], data.y[part], 2)


def _trained(x: Any, y: Any, epochs: int) -> dict[str, float]:
    sizes, batch = SETUPS["M"]
    options = {"optimizer": xpdl.adam(LR), "batch_size": batch, "backend": "numpy", "progress": False}
    before = bytes_read()
    history = xpdl.train(xpdl.Network(sizes, inputs=xpdl.Scaling.images), x, y, epochs=epochs, **options).history
    return {
        "images_s": len(x) / history[-1]["seconds"],
        "gib": len(x) * 784 / 2**30,
        "read": (bytes_read() - before) / (len(x) * 784),
        "peak_mib": peak(),
        "loss": history[-1]["loss"],
    }


TRAIN = {"disk": from_disk, "memory": from_memory}

if __name__ == "__main__":
    sys.exit(app())
