"""How much faster several ranks train: ``python -m benchmarks.ranks [--net M L] [--ranks 1 2] [--rounds 5]``.

Ranks with one BLAS thread each train networks M and L, and so does one rank without MPI, on the same batches; the
processes take turns.  A row has the time of a step, the speed-up, and the part of the step that the all-reduce took: on
average over the ranks, which wait for one another there, and on the rank that waited least.

A model predicts the seconds of a step on R ranks:

    fixed + sample ceil(batch / R) + 2 ceil(log2 R) latency + 2 (R - 1) / R bytes / bandwidth

It is fitted to other measurements: fixed and sample to steps of one rank with smaller batches, latency and bandwidth to
all-reduces of two ranks without training (the volume is that of Rabenseifner 2004 and of rings).  ``predicted_ms`` is
shown beside the measured time.  Predictions go up to 1,024 ranks, with the latency and bandwidth of this machine, or
with those of a network (--latency, --bandwidth).  ``pays`` tells up to how many ranks a step becomes faster, and up to
how many each rank is at least half as useful as the first.
"""

import json
import math
import os
import statistics
import time
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.networks import LR, SETUPS
from benchmarks.output import Output, Row, table
from benchmarks.processes import last_json, on_ranks
from benchmarks.scaling import line
import xpdl
from xpdl.distributed import connect, gather

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
FARTHER = [2**power for power in range(11)]
STEPS = {"M": 200, "L": 12}
"""Steps per epoch."""
NUMBERS = [1, 10_000, 100_000, 300_000, 1_000_000, 2_000_000]
"""How many float32 numbers the all-reduces without training add."""

MEASURED = {
    "net": "",
    "ranks": "d",
    "step_ms": ".3f",
    "speed_up": ".2f",
    "predicted_ms": ".3f",
    "allreduce_ms": ".3f",
    "least_ms": ".3f",
    "share": ".3f",
}
MODELS = {"net": "", "fixed_ms": ".3f", "sample_us": ".2f", "latency_us": ".1f", "bandwidth_gb_s": ".2f", "pays": ""}


class Model(NamedTuple):
    """Predicts the seconds of a step on R ranks."""

    fixed: float
    sample: float
    latency: float
    bandwidth: float  # bytes per second
    batch: int
    size: int  # bytes of the all-reduce

    def __call__(self, ranks: int) -> float:
        alone = self.fixed + self.sample * math.ceil(self.batch / ranks)
        rounds, volume = 2 * math.ceil(math.log2(ranks)), 2 * (ranks - 1) / ranks * self.size
        return alone + rounds * self.latency + volume / self.bandwidth

    def pays(self) -> str:
        """Return as text up to how many ranks more ranks help."""
        seconds = {ranks: self(ranks) for ranks in FARTHER}
        fastest = min(seconds, key=lambda ranks: seconds[ranks])
        half = max(ranks for ranks in FARTHER if seconds[1] / seconds[ranks] >= ranks / 2)
        return f"faster up to {fastest} ranks ({seconds[1] / seconds[fastest]:.1f} x), half as useful up to {half}"


@app.default
def ranks(
    *,
    net: Annotated[list[str], Parameter(consume_multiple=True)] = ["M", "L"],  # noqa: B006
    ranks: Annotated[list[int], Parameter(consume_multiple=True)] = [2],  # noqa: B006
    rounds: int = 5,
    latency: float | None = None,
    bandwidth: float | None = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Measure steps and all-reduces, and predict.

    Parameters
    ----------
    net
        M, L or both.
    ranks
        Numbers of ranks, besides one.
    rounds
        Rounds of processes.
    latency
        Seconds per message, for the prediction.
    bandwidth
        Bytes per second, for the prediction.
    quick
        One round of a few steps, to see that it works.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    rounds, epochs = (1, 2) if quick else (rounds, 6)
    exchange = _reduces(quick)
    measured, models, predicted = list[Row](), list[Row](), list[Row]()
    for name in net:
        steps = 4 if quick else STEPS[name]
        model = _model(name, steps, epochs, rounds, exchange)
        found = [_steps(name, [1, *ranks], steps, epochs) for _ in range(rounds)]
        measured += _rows(name, found, model)
        model = model._replace(latency=latency or model.latency, bandwidth=bandwidth or model.bandwidth)
        models.append(_described(name, model))
        predicted.append({"net": name, **{str(r): model(1) / model(r) for r in FARTHER}})
        output.write("ranks", measured, models=models, predicted=predicted)
    print(table(MODELS, models), table({"net": "", **{str(r): ".2f" for r in FARTHER}}, predicted), sep="\n\n")
    output.publish("ranks", MEASURED, measured, models=models, predicted=predicted)


def _rows(name: str, rounds: list[dict[int, dict[str, float]]], model: Model) -> list[Row]:
    """Return the medians of the rounds; the speed-up is the median of the speed-ups within each round."""
    rows = []
    for ranks in rounds[0]:
        step, whole, least = (
            statistics.median(found[ranks][key] for found in rounds) for key in ("step", "mean", "least")
        )
        rows.append(
            {
                "net": name,
                "ranks": ranks,
                "step_ms": 1e3 * step,
                "speed_up": statistics.median(found[1]["step"] / found[ranks]["step"] for found in rounds),
                "predicted_ms": 1e3 * model(ranks),
                "allreduce_ms": 1e3 * whole,
                "least_ms": 1e3 * least,
                "share": whole / step,
                "rounds_ms": [1e3 * found[ranks]["step"] for found in rounds],
            }
        )
    return rows


def _described(name: str, model: Model) -> Row:
    return {
        "net": name,
        "fixed_ms": 1e3 * model.fixed,
        "sample_us": 1e6 * model.sample,
        "latency_us": 1e6 * model.latency,
        "bandwidth_gb_s": model.bandwidth / 1e9,
        "pays": model.pays(),
    }


def _model(name: str, steps: int, epochs: int, rounds: int, reduces: dict[str, float]) -> Model:
    """Return the model of a network, with a line through the steps of one rank on parts of the batch."""
    setup = SETUPS[name]
    batches = [setup.batch_size // part for part in (1, 2, 4, 8)]
    seconds = [statistics.median(_child(name, 1, b, steps, epochs)["step"] for _ in range(rounds)) for b in batches]
    alone = line(batches, seconds)
    latency, bandwidth = reduces["fixed"] / 2, 1 / reduces["each"]
    size = 4 * (xpdl.Network(setup.sizes).size + 3)
    return Model(alone["fixed"], alone["each"], latency, bandwidth, setup.batch_size, size)


def _steps(name: str, ranks: list[int], steps: int, epochs: int) -> dict[int, dict[str, float]]:
    """Return the times for each number of ranks."""
    return {number: _child(name, number, SETUPS[name].batch_size, steps, epochs) for number in ranks}


def _child(name: str, ranks: int, batch: int, steps: int, epochs: int) -> Any:
    arguments = ["-m", "benchmarks.ranks", "child", name, str(batch), str(steps), str(epochs)]
    return last_json(on_ranks(ranks, arguments))


def _reduces(quick: bool) -> dict[str, float]:
    """Return the line through the seconds of all-reduces of two ranks over their bytes."""
    return last_json(on_ranks(2, ["-m", "benchmarks.ranks", "reduces", str(3 if quick else 50)]))


@app.command(show=False)
def child(name: str, batch: int, steps: int, epochs: int) -> None:
    """Train, and print the seconds of a step and of its all-reduce: mean and minimum over the ranks."""
    communicator, rng = Watch(connect(), steps), np.random.default_rng(0)
    x, y = rng.integers(0, 256, (steps * batch, 784), dtype=np.uint8), rng.integers(0, 10, steps * batch)
    result = xpdl.train(
        xpdl.Network(SETUPS[name].sizes, inputs=xpdl.Scaling.images),
        x,
        y,
        optimizer=xpdl.adam(LR),
        batch_size=batch,
        epochs=epochs,
        backend="numpy",
        communicator=communicator,
        progress=False,
    )
    spent = gather(communicator, statistics.fmean(communicator.seconds or [0.0]))
    step = statistics.median(epoch["seconds"] for epoch in result.history[1:]) / steps
    if communicator.rank == 0:
        print(json.dumps({"step": step, "mean": statistics.fmean(spent), "least": min(spent)}))


class Watch:
    """A communicator that times the all-reduces of gradients, except the first ones."""

    def __init__(self, communicator: Any, first: int) -> None:
        self.communicator, self.rank, self.size = communicator, communicator.rank, communicator.size
        self.broadcast, self.left = communicator.broadcast, first
        self.seconds: list[float] = []

    def allreduce(self, array: Any) -> Any:
        """Add the array over all ranks, and note the time if it is a gradient."""
        began = time.perf_counter()
        total = self.communicator.allreduce(array)
        if array.dtype == np.float32:
            self.left -= 1
            self.seconds += [time.perf_counter() - began] if self.left < 0 else []
        return total


@app.command(show=False)
def reduces(times: int) -> None:
    """All-reduce each number of values this many times, and print the line."""
    communicator = connect()
    seconds = []
    for number in NUMBERS:
        array, spent = np.ones(number, dtype=np.float32), []
        for _ in range(times):
            communicator.allreduce(np.ones(1))  # so that all begin together
            began = time.perf_counter()
            communicator.allreduce(array)
            spent.append(time.perf_counter() - began)
        seconds.append(statistics.median(spent))
    if communicator.rank == 0:
        print(json.dumps(line([4 * number for number in NUMBERS], seconds)))


if __name__ == "__main__":
    app()
