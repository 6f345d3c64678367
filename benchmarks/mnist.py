"""MNIST training on each backend and device: ``python -m benchmarks.mnist [--backends numpy cupy] [--net M]``.

Each backend trains in its own process, in float32 with Adam: first to time single steps, then to time epochs.

    transfer_ms            time to copy samples and labels from the host to the device
    first_step_ms          time of the first dispatch, with compilation; JAX gets 50 steps at a time
    step_us, step_p10_us   time of a later step: median and lowest tenth
    images_s, epoch_s      images per second and time of the median epoch, without evaluation
    to_97_s, to_98_s ...   training time up to the first epoch with that test accuracy; "-" if there is none
    rss_mib, device_mib    peak memory of the host; peak memory of the device, as its library reports it
"""

from collections.abc import Callable
from itertools import accumulate
import json
from pathlib import Path
import statistics
import time
from typing import Annotated, Any

from cyclopts import App, Parameter
import numpy as np

from benchmarks import memory
from benchmarks.networks import LR, SETUPS, Setup
from benchmarks.output import Output
from benchmarks.processes import ChildError, child as run_child, samples, stored
from benchmarks.stopwatch import time_steps
import xpdl
from xpdl.data import Dataset

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
BACKENDS = ("numpy", "cupy", "torch", "torch:cuda", "jax:cpu", "jax:gpu", "array_api_strict")
TARGETS = (97, 97.5, 98)
"""Test accuracies in percent."""

COLUMNS = {
    "backend": "",
    "transfer_ms": ".1f",
    "first_step_ms": ".1f",
    "step_us": ".1f",
    "step_p10_us": ".1f",
    "images_s": ",.0f",
    "epoch_s": ".4f",
    **{f"to_{target}_s": ".3f" for target in TARGETS},
    "accuracy": ".4f",
    "rss_mib": ".0f",
    "device_mib": ".0f",
}


@app.default
def mnist(
    *,
    backends: Annotated[list[str], Parameter(consume_multiple=True)] = [*BACKENDS],  # noqa: B006
    net: str = "M",
    epochs: int = 10,
    seconds: float = 2.0,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Time the training.

    Parameters
    ----------
    backends
        By default, all that can be used.
    net
        S, M, L or XL; see networks.py.
    epochs
        Epochs of the training whose accuracy is measured.
    seconds
        How long single steps are timed.
    quick
        A few samples and two epochs, to see that it works.
    """
    data, rows, skipped = samples(quick), [], {}
    epochs, seconds = (2, 0.0) if quick else (epochs, seconds)
    with stored(data) as path:
        for name in backends:
            try:
                rows.append(run_child("mnist", name, net, epochs, seconds, path))
            except ChildError as error:
                skipped[name] = str(error)
            settings = {"network": SETUPS[net]._asdict(), "data": data.name, "samples": len(data.x), "epochs": epochs}
            output.write("mnist", rows, settings=settings, skipped=skipped)
    print(f"MNIST training, network {net} {SETUPS[net].sizes}, batch {SETUPS[net].batch_size}, data {data.name}")
    output.publish("mnist", COLUMNS, rows, settings=settings, skipped=skipped)
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")


@app.command(show=False)
def child(backend: str, net: str, epochs: int, seconds: float, path: Path) -> None:
    """Measure one backend and print its row."""
    data, setup = xpdl.data.load(path), SETUPS[net]
    transfer = _transfer(data, backend)
    first, steps = time_steps(setup.sizes, data, batch_size=setup.batch_size, backend=backend, seconds=seconds, lr=LR)
    row = {
        "backend": backend,
        "transfer_ms": 1e3 * transfer,
        "first_step_ms": 1e3 * first,
        "step_us": 1e6 * statistics.median(steps),
        "step_p10_us": 1e6 * float(np.quantile(steps, 0.1)),
        **_training(data, setup, backend, epochs),
        "rss_mib": memory.peak(),
        "device_mib": DEVICE_PEAKS.get(backend.partition(":")[0], _no_device)(xpdl.backend(backend).device),
    }
    print(json.dumps(row))


def _transfer(data: Dataset, name: str) -> float:
    """Return the seconds to copy the samples to the device, after a first small copy that initializes it."""
    backend = xpdl.backend(name)
    for x, y in [(data.x[:1], data.y[:1]), (data.x, data.y)]:
        start = time.perf_counter()
        held = backend.asarray(x, copy=True), backend.asarray(y, copy=True)
        backend.synchronize()
        seconds = time.perf_counter() - start
    del held
    return seconds


def _training(data: Dataset, setup: Setup, backend: str, epochs: int) -> dict[str, Any]:
    """Train as users do, and return the times of the epochs and the accuracies."""
    net = xpdl.Network(setup.sizes, inputs=data.scaling)
    options = {"batch_size": setup.batch_size, "backend": backend, "progress": False}
    optimizer = xpdl.adam(LR)
    history = xpdl.train(
        net, data.x, data.y, validation=data.test, optimizer=optimizer, epochs=epochs, **options
    ).history
    seconds, accuracies = ([epoch[key] for epoch in history] for key in ("seconds", "validation_accuracy"))
    epoch = statistics.median(seconds[1:])
    return {
        "images_s": len(data.x) / epoch,
        "epoch_s": epoch,
        **{f"to_{target}_s": _until(target / 100, seconds, accuracies) for target in TARGETS},
        "accuracy": accuracies[-1],
        "epochs_s": seconds,
        "accuracies": accuracies,
    }


def _until(accuracy: float, seconds: list[float], accuracies: list[float]) -> float | None:
    """Return the seconds of all epochs up to the first with this accuracy."""
    return next((total for total, a in zip(accumulate(seconds), accuracies, strict=True) if a >= accuracy), None)


def _no_device(device: Any) -> None:
    """Return nothing: the memory of a host is in another column."""


def _cupy_peak(device: Any) -> float:
    """Return the MiB of the memory pool.  It gives nothing back, so this is its peak."""
    import cupy

    return cupy.get_default_memory_pool().total_bytes() / 2**20


def _torch_peak(device: Any) -> float | None:
    import torch

    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None


def _jax_peak(device: Any) -> float | None:
    memory = device.memory_stats()  # None on a CPU
    return memory and memory["peak_bytes_in_use"] / 2**20


DEVICE_PEAKS: dict[str, Callable[[Any], float | None]] = {"cupy": _cupy_peak, "torch": _torch_peak, "jax": _jax_peak}

if __name__ == "__main__":
    app()
