"""Seconds an MNIST epoch takes in xpdl and in other libraries: ``python -m benchmarks.peers [--net M] [--rounds 5]``.

Contenders run one after the other, each in a process of its own, round after round.  A process trains a few epochs and
reports the median of all but the first; the table shows the median over the rounds and the ratio to the first contender
within each round.  Without MNIST (XPDL_DATA or the cache) it is timed on as many glyphs.
"""

import json
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
from typing import Annotated

from cyclopts import App, Parameter
import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import SETUPS

app = App(help=__doc__, result_action="return_value")


@app.default
def peers(
    *,
    contenders: Annotated[list[str], Parameter(consume_multiple=True)] = ["xpdl-numpy", "torch"],  # noqa: B006
    net: str = "M",
    rounds: int = 5,
    epochs: int = 4,
) -> dict[str, list[float]]:
    """Time the contenders against each other."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, **_samples())
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name in contenders:
                child = [sys.executable, "-m", "benchmarks.peers", "child", name, net, str(epochs), str(data)]
                report = subprocess.run(child, check=True, capture_output=True, text=True).stdout
                seconds[name].append(statistics.median(json.loads(report)[1:]))
    print(_table(seconds, net))
    return seconds


@app.command(show=False)
def child(name: str, net: str, epochs: int, data: Path) -> None:
    """Run one contender and print the seconds of its epochs."""
    with np.load(data) as arrays:
        print(json.dumps(list(CONTENDERS[name](arrays["x"], arrays["y"], SETUPS[net], epochs))))


def _samples() -> dict[str, np.ndarray]:
    import xpdl

    try:
        samples = xpdl.data.load("mnist")
    except OSError:
        samples = xpdl.data.load("glyphs", n_train=60_000)
    return {"x": samples.x, "y": samples.y}


def _table(seconds: dict[str, list[float]], net: str) -> str:
    first = next(iter(seconds.values()))
    lines = [f"seconds per epoch, network {net}: {SETUPS[net]}", f"{'':<14}{'median':>9}{'fastest':>9}{'ratio':>9}"]
    for name, values in seconds.items():
        ratio = statistics.median(value / own for value, own in zip(values, first, strict=True))
        lines.append(f"{name:<14}{statistics.median(values):>9.3f}{min(values):>9.3f}{ratio:>9.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
