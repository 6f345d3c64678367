"""The command line: flags in, one library call, a few lines out.

What is wrong with a flag, a file or an installation is said in one line on stderr, with exit code 2; Ctrl-C is 130,
SIGTERM 143.
"""

from collections.abc import Callable, Sequence
import json
import os
from pathlib import Path
import signal
import sys
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
import numpy as np

import xpdl
from xpdl import checks, schedules
from xpdl.backends import available_backends, backend as choose_backend
from xpdl.callbacks import Callback, EarlyStopping, Metrics
from xpdl.checkpoint import load, save as save_model
from xpdl.data import Dataset, load as load_data
from xpdl.dropout import dropout_masks
from xpdl.evaluation import evaluate, predict as predict_labels
from xpdl.gradcheck import check_network
from xpdl.gradcheck.demo import run_demo
from xpdl.network import Network
from xpdl.optimizers import OPTIMIZERS
from xpdl.schedules import Schedule
from xpdl.training import train as run_training

SIGNALLED = 128
"""What a shell adds to the number of the signal that has ended a program."""

Whole = Annotated[int, Parameter(converter=lambda _, tokens: int(tokens[0].value))]
"""An int; on its own cyclopts would round 1.5."""

app = App(name="xpdl", help=xpdl.__doc__, version=xpdl.__version__, result_action="return_value")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:  # as in ``xpdl ... | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CycloptsError, ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print("xpdl: error:", *str(error).split(), file=sys.stderr)
        return 2


@app.command
def train(
    *,
    data: str = "glyphs",
    hidden: Annotated[list[Whole], Parameter(consume_multiple=True)] = [128],  # noqa: B006
    activation: str = "relu",
    output: str | None = None,
    init: str = "he",
    dropout: float = 0.0,
    l2: float = 0.0,
    optimizer: str = "adam",
    lr: float = 1e-3,
    schedule: str = "constant",
    decay: float = 0.9,
    decay_every: float = 1,
    warmup: float = 0,
    epochs: Whole = 10,
    batch_size: Whole = 128,
    patience: Whole | None = None,
    holdout: float = 0.0,
    backend: str = "auto",
    dtype: str = "float32",
    seed: Whole = 0,
    save: Path | None = None,
    history: Path | None = None,
    checkpoint: Path | None = None,
    every: Whole = 1,
    resume: Path | None = None,
) -> int:
    """Train a network and report its accuracy on the test part of the data.

    Parameters
    ----------
    data
        glyphs, digits, mnist, circles, spiral, an .npz, a .csv with the label last, or a folder of IDX files.
    hidden
        Units of each hidden layer; none at all is logistic regression.
    activation
        relu, tanh, sigmoid, leaky_relu, elu, softplus, gelu, silu or identity.
    output
        softmax, sigmoid or linear; by default what fits the labels.
    init
        he, xavier, lecun or a standard deviation.
    dropout
        Probability of dropping a hidden unit.
    l2
        Adds l2 / (2 n) * sum of w^2 to the cost of n samples.
    optimizer
        adam, adamw, momentum, rmsprop or sgd.
    lr
        Learning rate.
    schedule
        constant, exponential, inverse_time, inverse_sqrt, step or cosine.
    decay
        Factor of exponential and step, rate of inverse_time, in each unit of decay.
    decay_every
        Epochs in a unit of decay.
    warmup
        Epochs of linear warm-up.
    epochs
        Passes over the training data.
    batch_size
        Samples in a step.
    patience
        Stop after so many epochs without a lower loss on the test part, and keep the best.
    holdout
        Share of the training data to use as test part, for data that has none.
    backend
        auto, numpy, cupy, cupy:1, torch, torch:cuda, jax, ...
    dtype
        float32 or float64.
    seed
        Of everything random: one seed is one run, on every backend.
    save
        Write the model to this file.
    history
        Write the numbers of each epoch to this file, one JSON object a line.
    checkpoint
        Write the whole run to this file, so that it can be resumed.
    every
        Epochs between two checkpoints.
    resume
        Go on from this checkpoint; the other flags as they were, but for more epochs or another backend.
    """
    checks.choice("optimizer", optimizer, OPTIMIZERS)
    for name, path in {"save": save, "history": history}.items():
        _check_writable(name, path)
    samples = load_data(data)
    samples = samples.split(holdout, seed) if holdout else samples
    options = {"hidden": activation, "init": init, "l2": l2, "dropout": dropout}
    net = _network(samples, lambda d, k: [d, *hidden, k], output, options)
    steps = -(-len(samples.x) // checks.integer("batch_size", batch_size, least=1))
    rate = _schedule(schedule, lr, decay, decay_every * steps, warmup * steps, epochs * steps)
    chosen = choose_backend(backend)
    print(_describe(samples, net, chosen.name), flush=True)
    callbacks: list[Callback] = [] if history is None else [_history_writer(history)]
    callbacks += [] if patience is None else [EarlyStopping(patience)]
    result = run_training(
        net,
        samples.x,
        samples.y,
        optimizer=OPTIMIZERS[optimizer](rate),
        epochs=epochs,
        batch_size=batch_size,
        validation=samples.test,
        backend=chosen,
        dtype=dtype,
        seed=seed,
        callbacks=callbacks,
        checkpoint=checkpoint,
        every=every,
        resume=resume,
    )
    if samples.test:
        print(_scores(evaluate(net, result.theta, *samples.test, backend=chosen, dtype=dtype)))
    if save:
        save_model(save, net, result.theta, metadata={"data": data, "seed": seed, "epochs": len(result.history)})
        print(f"saved {save}")
    return SIGNALLED + result.signal if result.interrupted else 0


@app.command
def predict(model: Path, *, data: str = "glyphs", backend: str = "auto", seed: Whole = 0) -> None:
    """Print what a saved model makes of the test part of the data, or of all of it if there is none.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    data
        As for ``xpdl train``.
    backend
        As for ``xpdl train``.
    seed
        Of data that is generated.
    """
    loaded, samples = load(model), load_data(data, seed=seed)
    x, y = samples.test or (samples.x, samples.y)
    print(f"{samples.name}: {len(x):,} samples")
    print(_scores(evaluate(loaded.network, loaded.theta, x, y, backend=backend)))
    if loaded.network.output != "linear":
        print(_confusion(y, predict_labels(loaded.network, loaded.theta, x, backend=backend)))


@app.command
def check(
    model: Path | None = None,
    *,
    data: str = "circles",
    sizes: Annotated[list[Whole], Parameter(consume_multiple=True)] = [],  # noqa: B006
    activation: str = "relu",
    output: str | None = None,
    init: str = "he",
    l2: float = 0.0,
    dropout: float = 0.0,
    samples: Whole = 300,
    method: str = "auto",
    dtype: str = "float64",
    backend: str = "numpy",
    seed: Whole = 0,
    demo: bool = False,
) -> int:
    """Check the gradient of a network against the numeric one; exit code 1 if it is wrong.

    Parameters
    ----------
    model
        A saved model to check; without one a fresh network is.
    data
        As for ``xpdl train``.
    sizes
        Layer sizes, input first, by default one hidden layer of 4 units.
    activation
        As for ``xpdl train``.
    output
        As for ``xpdl train``.
    init
        As for ``xpdl train``.
    l2
        As for ``xpdl train``.
    dropout
        As for ``xpdl train``; the masks of the first training step are used.
    samples
        How many of the data to use.
    method
        auto, complex or central.
    dtype
        In which the gradient is computed, float64 or float32.
    backend
        As for ``xpdl train``.
    seed
        Of the weights, the masks and generated data.
    demo
        Show how a bug is found: the one of the series that this library grew from.
    """
    if demo:
        return run_demo()
    points, n = load_data(data, seed=seed), checks.integer("samples", samples, least=1)
    x, y = points.x[:n], points.y[:n]
    if model is not None:
        described = {"sizes": sizes, "output": output, "l2": l2, "dropout": dropout}
        described |= {"activation": activation != "relu", "init": init != "he"}
        for flag in (flag for flag in described if described[flag]):
            raise ValueError(f"--{flag} describes a fresh network, and {model} has one")
        loaded = load(model)
        net, theta = loaded.network, loaded.theta
    else:
        options = {"hidden": activation, "init": init, "l2": l2, "dropout": dropout}
        net = _network(points, lambda d, k: sizes or [d, 4, k], output, options)
        theta = net.initialize(seed, dtype)
    chosen = choose_backend(backend)
    masks = dropout_masks(net, len(x), seed=seed, step=0, backend=chosen, dtype=dtype)
    entered = chosen.asarray(theta, dtype)
    report = check_network(net, entered, x, y, masks=masks, method=method, dtype=dtype, progress=True)
    report.print()
    return 1 if report.verdict == "FAIL" else 0


@app.command
def backends() -> None:
    """Print which array libraries can be used here, and for the others what to install."""
    for name, state in available_backends().items():
        print(f"{name:<17} {state}")


def _check_writable(flag: str, path: Path | None) -> None:
    """``OSError`` if a file could not be written: before the training, not after."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise IsADirectoryError(f"{flag} must be a file in a directory that exists, got {str(path)!r}")


def _network(
    samples: Dataset, sizes: Callable[[int, int], list[int]], output: str | None, options: dict[str, Any]
) -> Network:
    """The network of these flags; sizes (d, k) -> those of all layers."""
    output, k = _fitting_output(samples, output)
    init = _number_or_name(options["init"])
    return Network(sizes(samples.x.shape[1], k), output=output, **options | {"init": init})


def _fitting_output(samples: Dataset, output: str | None) -> tuple[str, int]:
    """The output layer, by default what fits the labels, and its size."""
    if samples.y.dtype.kind == "f":
        return output or "linear", samples.y.shape[1] if samples.y.ndim == 2 else 1
    highest = max(int(y.max()) for y in (samples.y, samples.y_test) if y is not None)
    output = output or ("sigmoid" if highest <= 1 else "softmax")
    return output, highest + 1 if output == "softmax" else 1


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _schedule(name: str, lr: float, decay: float, every: float, warmup: float, steps: int) -> Schedule:
    """A schedule of the learning rate, with every length in steps."""
    table: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: schedules.as_schedule(lr),
        "exponential": lambda: schedules.exponential(lr, decay, every=every),
        "inverse_time": lambda: schedules.inverse_time(lr, decay, every=every),
        "inverse_sqrt": lambda: schedules.inverse_sqrt(lr, every=every),
        "step": lambda: schedules.step(lr, decay, every=every),
        "cosine": lambda: schedules.cosine(lr, steps),
    }
    checks.real("decay", decay)
    rate = table[checks.choice("schedule", name, table)]()
    return schedules.warmup(rate, warmup) if checks.real("warmup", warmup) else rate


def _history_writer(path: Path) -> Callback:
    """A callback that writes one line an epoch to a file, after those of the epochs before that are there."""
    earlier: list[str] | None = None

    def write(metrics: Metrics, step: int) -> None:
        nonlocal earlier
        if earlier is None:
            earlier = _lines_before(metrics["epoch"], path)
            path.write_text("".join(earlier))
        with path.open("a") as file:
            file.write(json.dumps({**metrics, "step": step}) + "\n")

    return write


def _lines_before(epoch: float, path: Path) -> list[str]:
    """The lines of a history before an epoch: a run that was killed may have written more than is in its checkpoint."""
    if epoch == 1 or not path.is_file():
        return []
    with path.open() as file:
        return [line for line in file if line.endswith("}\n") and json.loads(line)["epoch"] < epoch]


def _describe(samples: Dataset, net: Network, backend: str) -> str:
    sizes = "-".join(map(str, net.sizes))
    test = f" and {len(samples.test[0]):,} test" if samples.test else ""
    return (
        f"{samples.name}: {len(samples.x):,} training{test} samples\n"
        f"network {sizes}, {net.hidden}, {net.output}: {net.size:,} parameters; backend {backend}"
    )


def _scores(scores: dict[str, float]) -> str:
    accuracy = f"test accuracy {100 * scores['accuracy']:.2f} %, " if "accuracy" in scores else ""
    return f"{accuracy}test loss {scores['loss']:.4f}"


def _confusion(y: np.ndarray, predicted: np.ndarray) -> str:
    """Accuracy of each class and how often it was taken for which; rows are true labels."""
    y = y.argmax(axis=1) if y.shape[1:] and len(predicted) < y.size else y.reshape(-1).astype(int)
    k = max(y.max(), predicted.max()) + 1
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (y, predicted), 1)
    width = max(5, len(str(counts.max())) + 1)
    head = f"{'class':>6} {'accuracy':>9} {'taken for':>{width + 5}}"
    lines = [head, " " * 16 + "".join(f"{j:>{width}}" for j in range(k))]
    for label, row in enumerate(counts):
        share = f"{100 * row[label] / row.sum():.2f} %" if row.sum() else "-"
        lines.append(f"{label:>6} {share:>9}" + "".join(f"{count:>{width}}" for count in row))
    return "\n".join(lines)
