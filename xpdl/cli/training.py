"""xpdl train."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from xpdl import checks, schedules
from xpdl.backends import Backend, backend as choose_backend
from xpdl.cli.flags import SIGNALLED, Whole, check_writable, connected, counted, network_for, parts_of
from xpdl.cli.prediction import conclude
from xpdl.network import Network
from xpdl.optimizers import by_name
from xpdl.schedules import Schedule
from xpdl.training.callbacks import Callback, EarlyStopping, Metrics
from xpdl.training.train import train as run_training


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
    beta1: float | None = None,
    beta2: float | None = None,
    schedule: str = "constant",
    decay: float = 0.9,
    decay_every: float = 1,
    warmup: float = 0,
    epochs: Whole = 10,
    batch_size: Whole = 128,
    patience: Whole | None = None,
    holdout: float = 0.0,
    validation: float = 0.0,
    backend: str = "auto",
    precision: str = "float32",
    dtype: str = "float32",
    seed: Whole = 0,
    save: Path | None = None,
    history: Path | None = None,
    checkpoint: Path | None = None,
    every: Whole = 1,
    resume: Path | None = None,
    ranks: Whole | None = None,
) -> int:
    """Train a network and report its accuracy on the test part of the data.

    Parameters
    ----------
    data
        glyphs, digits, mnist, circles, spiral, an .npz, a .csv with the label last, a folder of IDX files, or one of
        x.npy and y.npy, or x-000.npy, x-001.npy, ... and so on, which are read from disk as they are needed.
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
    beta1
        Weight of the past in the average of gradients, for momentum, adam and adamw; by default 0.9.
    beta2
        The same for their squares, for rmsprop, by default 0.9, and for adam and adamw, by default 0.999.
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
        Stop after so many epochs without a lower loss on the validation or test part, and keep the best.
    holdout
        Share of the training data to use as test part, for data that has none.
    validation
        Share of the training data to watch instead of the test part, which then is used once, at the end.
    backend
        auto, numpy, cupy, cupy:1, torch, torch:cuda, jax, ...
    precision
        float32; on a GPU also tf32, to multiply float32 less precisely, or 3xtf32, by three such products.
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
        Go on from this checkpoint; the other flags as they were, but for more epochs, another backend, other ranks.
    ranks
        Processes that train together, each on its share of every batch; started by mpiexec, on this machine. On a
        cluster: mpiexec -n 64 python -m mpi4py -m xpdl train ...
    """
    communicator = connected(ranks)
    for name, path in {"save": save, "history": history}.items():
        check_writable(name, path)
    samples, fitting = parts_of(data, holdout, validation, seed)
    options = {"hidden": activation, "init": init, "l2": l2, "dropout": dropout}
    net = network_for(samples, lambda d, k: [d, *hidden, k], output, options)
    steps = -(-len(fitting.x) // checks.integer("batch_size", batch_size, least=1))
    rate = _schedule(schedule, lr, decay, decay_every * steps, warmup * steps, epochs * steps)
    chosen = choose_backend(backend, precision=precision)
    leads = communicator.rank == 0
    if leads:
        print(f"{counted(samples, fitting)}\n{_described(net, chosen, communicator.size)}", flush=True)
    callbacks: list[Callback] = [] if history is None else [_history_writer(history)]
    callbacks += [] if patience is None else [EarlyStopping(patience)]
    result = run_training(
        net,
        fitting.x,
        fitting.y,
        optimizer=by_name(optimizer, rate, beta1=beta1, beta2=beta2),
        epochs=epochs,
        batch_size=batch_size,
        validation=fitting.test,
        backend=chosen,
        dtype=dtype,
        seed=seed,
        callbacks=callbacks,
        checkpoint=checkpoint,
        every=every,
        resume=resume,
        communicator=communicator,
    )
    if not leads:
        return 0  # rank 0 has the last word, also on how the run has ended
    metadata = {"data": data, "seed": seed, "epochs": len(result.history)}
    conclude(net, result.theta, samples, chosen, dtype, save, metadata)
    return SIGNALLED + result.signal if result.interrupted else 0


def _schedule(name: str, lr: float, decay: float, every: float, warmup: float, steps: int) -> float | Schedule:
    """A schedule of the learning rate, with every length in steps; a number if it stays the same."""
    table: dict[str, Callable[[], float | Schedule]] = {
        "constant": lambda: lr,
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


def _described(net: Network, backend: Backend, ranks: int) -> str:
    sizes = "-".join(map(str, net.sizes))
    precision = f" in {backend.precision}" if backend.precision != "float32" else ""
    several = f", {ranks} ranks" if ranks > 1 else ""
    described = f"network {sizes}, {net.hidden}, {net.output}: {net.size:,} parameters"
    return f"{described}; backend {backend.name}{precision}{several}"
