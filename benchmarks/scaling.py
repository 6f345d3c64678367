"""How the time grows with the size: ``python -m benchmarks.scaling [--backend numpy] [--sweeps batch width epochs]``.

    batch    time of a step of network M for batch sizes from 32 to 8192
    width    time of a step of the networks 784-W-W-10, batch 128, for W from 64 to 2048, over the number of parameters
    epochs   time of a training of network M over the number of epochs, and whether later epochs are slower

Each should be a straight line.  A line, fixed + each * size, is fitted to the points with relative weights;
``deviation`` is the largest relative distance from it.  ``exponent`` is the slope of log(seconds) over log(size) in the
larger half of the sizes.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
import statistics
from typing import Annotated, Any

from cyclopts import App, Parameter
import numpy as np

from benchmarks.networks import LR, SETUPS
from benchmarks.output import Output, Row, table
from benchmarks.processes import samples
from benchmarks.stopwatch import time_steps
import xpdl
from xpdl.data import Dataset

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
BATCHES = [2**power for power in range(5, 14)]
WIDTHS = [2**power for power in range(6, 12)]
STEPS = 64
"""Steps per epoch where single steps are timed, if there are enough samples."""

POINTS = {"sweep": "", "batch": "d", "width": "d", "size": ",d", "seconds": ".6f", "p10": ".6f"}
LINES = {"sweep": "", "fixed": ".3g", "each": ".3g", "deviation": ".3f", "exponent": ".3f", "drift": ".3f"}


@app.default
def scaling(
    *,
    backend: str = "numpy",
    sweeps: Annotated[list[str], Parameter(consume_multiple=True)] = ["batch", "width", "epochs"],  # noqa: B006
    seconds: float = 1.0,
    epochs: int = 12,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Time the sweeps and fit lines.

    Parameters
    ----------
    backend
        Backend, such as numpy or cupy.
    sweeps
        Any of batch, width and epochs.
    seconds
        Seconds for each point of batch and width.
    epochs
        Number of epochs in the sweep epochs.
    quick
        A few samples, sizes and epochs, to see that it works.
    """
    data = samples(quick)
    options = (0.0, 4, 3) if quick else (seconds, epochs, None)
    points: list[Row] = []
    lines: list[Row] = []
    for sweep in sweeps:
        found = list(SWEEPS[sweep](data, backend, *options))
        points += ({"sweep": sweep, **point} for point in found)
        lines.append({"sweep": sweep, **line([p["size"] for p in found], [p["seconds"] for p in found])})
        if sweep == "epochs":
            lines[-1]["drift"] = drift([point["epoch_s"] for point in found])
        output.write("scaling", points, backend=backend, data=data.name, lines=lines)
    print(f"scaling of {backend}, data {data.name}", table(LINES, lines), sep="\n")
    output.publish("scaling", POINTS, points, backend=backend, data=data.name, lines=lines)


def _batches(data: Dataset, backend: str, seconds: float, epochs: int, most: int | None) -> Iterator[dict[str, Any]]:
    for batch in BATCHES[:most]:
        yield {"size": batch, "batch": batch, **_step(SETUPS["M"].sizes, data, batch, backend, seconds)}


def _widths(data: Dataset, backend: str, seconds: float, epochs: int, most: int | None) -> Iterator[dict[str, Any]]:
    for width in WIDTHS[:most]:
        sizes = [784, width, width, 10]
        yield {"size": xpdl.Network(sizes).size, "width": width, **_step(sizes, data, 128, backend, seconds)}


def _step(sizes: list[int], data: Dataset, batch: int, backend: str, seconds: float) -> dict[str, float]:
    """Return the median and the lowest tenth of the seconds of a step."""
    part = Dataset(data.x[: STEPS * batch], data.y[: STEPS * batch])
    _, steps = time_steps(sizes, part, batch_size=batch, backend=backend, seconds=seconds, lr=LR)
    return {"seconds": statistics.median(steps), "p10": float(np.quantile(steps, 0.1))}


def _epochs(data: Dataset, backend: str, seconds: float, epochs: int, most: int | None) -> Iterator[dict[str, Any]]:
    """Yield the seconds of a run up to each epoch, without the first epoch, which compiles."""
    sizes, batch = SETUPS["M"]
    options = {"optimizer": xpdl.adam(LR), "batch_size": batch, "backend": backend, "progress": False}
    history = xpdl.train(xpdl.Network(sizes, inputs=data.scaling), data.x, data.y, epochs=epochs + 1, **options).history
    each = [epoch["seconds"] for epoch in history[1:]]
    for number, (total, epoch) in enumerate(zip(accumulate(each), each, strict=True), start=1):
        yield {"size": number, "seconds": total, "epoch_s": epoch}


SWEEPS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {"batch": _batches, "width": _widths, "epochs": _epochs}


def line(sizes: list[int], seconds: list[float]) -> dict[str, float]:
    """Fit the line fixed + each * size, and return it with the deviation of the points and the exponent."""
    x, t = np.asarray(sizes, dtype=float), np.asarray(seconds)
    fixed, each = np.linalg.lstsq(np.stack([1 / t, x / t], axis=1), np.ones_like(t), rcond=None)[0]
    upper = slice(len(x) // 2 if len(x) > 3 else 0, None)
    return {
        "fixed": float(fixed),
        "each": float(each),
        "deviation": float(np.max(np.abs((fixed + each * x) / t - 1))),
        "exponent": float(np.polyfit(np.log(x[upper]), np.log(t[upper]), 1)[0]),
    }


def drift(seconds: list[float]) -> float:
    """Return the median epoch of the last third over that of the first third: 1 if a run does not slow down."""
    third = -(-len(seconds) // 3)
    return statistics.median(seconds[-third:]) / statistics.median(seconds[:third])


if __name__ == "__main__":
    app()
