"""xpdl train: train a network and print its accuracy."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

from xpdl.backends import Backend, backend as choose_backend
from xpdl.cli import options
from xpdl.cli.flags import (
    check_writable,
    connected,
    describe_samples,
    exit_code,
    load_and_split,
    network_for,
    one_or_each,
)
from xpdl.cli.learning_rate import RateFlags, ScheduleName, learning_rate
from xpdl.cli.options import Whole
from xpdl.cli.prediction import score_and_save
from xpdl.network import Network
from xpdl.optimizers import by_name, clipped
from xpdl.training.callbacks import Callback, EarlyStopping, Metrics
from xpdl.training.train import train as run_training


def train(
    *,
    data: options.Data = "glyphs",
    hidden: options.WholeNumbers = [128],  # noqa: B006
    activation: options.Activations = ["relu"],  # noqa: B006
    output: options.Output = None,
    init: options.Init = "he",
    dropout: options.Dropout = 0.0,
    l2: options.L2 = 0.0,
    optimizer: options.Optimizer = "adam",
    lr: float = 1e-3,
    beta1: options.Beta1 = None,
    beta2: options.Beta2 = None,
    clip: float | None = None,
    schedule: ScheduleName = "constant",
    decay: float = 0.9,
    decay_every: float = 1,
    warmup: float = 0,
    epochs: Whole = 10,
    batch_size: Whole = 128,
    patience: Whole | None = None,
    holdout: options.Holdout = 0.0,
    validation: float = 0.0,
    backend: options.Backend = "auto",
    precision: options.Precision = "float32",
    dtype: options.Dtype = "float32",
    seed: options.Seed = 0,
    class_weight: str | None = None,
    save: Path | None = None,
    history: Path | None = None,
    checkpoint: Path | None = None,
    every: Whole = 1,
    resume: Path | None = None,
    ranks: options.Ranks = None,
) -> int:
    """Train a network and print its accuracy on the test part of the data.

    With --ranks, every process computes its share of each batch.

    Parameters
    ----------
    hidden
        Units of each hidden layer, as in --hidden 256 128. --hidden without a number means no hidden layer, as in
        logistic regression.
    lr
        Learning rate.
    clip
        Scale the gradient of a step down to at most this norm.
    decay
        How much the learning rate decays in each period of --decay-every epochs: the factor of exponential and step,
        the rate of inverse_time.
    decay_every
        Length of a decay period, in epochs.
    warmup
        Length of the linear warm-up of the learning rate, in epochs.
    epochs
        Passes over the training data.
    batch_size
        Samples in a training step.
    patience
        Stop after this many epochs without a lower validation loss, and keep the best epoch. Without --validation, the
        loss on the test part is used.
    validation
        Fraction of the training data that is kept for validation after each epoch. The test part is then used only
        once, at the end. By default, the test part is used for validation, too.
    class_weight
        balanced: all classes weigh the same in the training, however many samples they have.
    save
        Write the trained model to this file.
    history
        Write the numbers of each epoch to this file, one JSON object per line.
    checkpoint
        Write the state of the run to this file, so that it can be resumed.
    every
        Epochs between two checkpoints.
    resume
        Continue the run in this checkpoint. Give the same flags again; only the backend, the number of ranks and a
        larger number of epochs may differ.
    """
    communicator = connected(ranks)
    check_writable(save=save, history=history)
    samples, split = load_and_split(data, holdout, validation, seed)
    files: dict[str, Any] = {"checkpoint": checkpoint, "every": every, "resume": resume}
    same: dict[str, Any] = {"dtype": dtype, "seed": seed, "class_weight": class_weight}
    network: dict[str, Any] = {"hidden": one_or_each(activation), "init": init, "l2": l2, "dropout": dropout}
    net = network_for(samples, lambda d, k: [d, *hidden, k], output, **network)
    rate = learning_rate(schedule, RateFlags(lr, decay, decay_every, warmup, epochs), len(split.x), batch_size)
    rule, chosen = by_name(optimizer, rate, beta1=beta1, beta2=beta2), choose_backend(backend, precision=precision)
    if communicator.rank == 0:
        print(f"{describe_samples(samples, split)}\n{_describe_network(net, chosen, communicator.size)}", flush=True)
    result = run_training(
        net,
        split.x,
        split.y,
        optimizer=rule if clip is None else clipped(rule, clip),
        epochs=epochs,
        batch_size=batch_size,
        validation=split.test,
        backend=chosen,
        callbacks=_callbacks(history, patience),
        communicator=communicator,
        **same,
        **files,
    )
    if communicator.rank:
        return 0  # only rank 0 scores and saves the model, and returns the exit code of an interrupted run
    score_and_save(net, result.theta, samples, chosen, dtype, save, data=data, seed=seed, epochs=len(result.history))
    return exit_code(result.signal)


def _callbacks(history: Path | None, patience: int | None) -> Sequence[Callback]:
    writing: list[Callback] = [] if history is None else [_history_writer(history)]
    stopping: list[Callback] = [] if patience is None else [EarlyStopping(patience)]
    return writing + stopping


def _history_writer(path: Path) -> Callback:
    """Return a callback that appends a line for each epoch to a file, and keeps the lines of earlier epochs."""
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
    """The lines of the epochs before this one.  A killed run may have written more epochs than its checkpoint holds."""
    if epoch == 1 or not path.is_file():
        return []
    with path.open() as file:
        return [line for line in file if line.endswith("}\n") and json.loads(line)["epoch"] < epoch]


def _describe_network(net: Network, backend: Backend, ranks: int) -> str:
    sizes = "-".join(map(str, net.sizes))
    precision = f" in {backend.precision}" if backend.precision != "float32" else ""
    several = f", {ranks} ranks" if ranks > 1 else ""
    hidden = net.hidden if isinstance(net.hidden, str) else "-".join(map(str, net.hidden))
    described = f"network {sizes}, {hidden}, {net.output}: {net.size:,} parameters"
    return f"{described}; backend {backend.name}{precision}{several}"
