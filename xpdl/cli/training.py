"""xpdl train: train a network and print its accuracy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from xpdl import checks
from xpdl.backends import Backend, backend as choose_backend
from xpdl.cli import options
from xpdl.cli.defaults import Plan, plan as plan_of
from xpdl.cli.flags import (
    connected,
    describe_samples,
    exit_code,
    given_options,
    load_and_split,
    network_for,
    one_or_each,
)
from xpdl.cli.learning_rate import RateFlags, ScheduleName, learning_rate
from xpdl.cli.options import Whole
from xpdl.cli.outputs import History, check_new, check_outputs, end_unheard, save_first
from xpdl.cli.prediction import score
from xpdl.cli.regression import standardised
from xpdl.data import Dataset
from xpdl.files.outputs import locked
from xpdl.network import Network
from xpdl.optimizers import by_name, clipped
from xpdl.progress import say
from xpdl.training.callbacks import Callback, EarlyStopping
from xpdl.training.train import Result, train as run_training


def train(
    *,
    data: options.Data = "glyphs",
    label: options.Label = None,
    header: options.Header = "auto",
    drop: options.Drop = [],  # noqa: B006
    keep: options.Keep = [],  # noqa: B006
    missing: options.Missing = "error",
    task: options.Task = "auto",
    scale: options.Scale = "auto",
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
    epochs: Whole | None = None,
    batch_size: Whole | None = None,
    patience: Whole | None = None,
    holdout: options.Holdout = None,
    validation: float | None = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "float32",
    dtype: options.Dtype = "float32",
    seed: options.Seed = 0,
    seeds: Whole | None = None,
    class_weight: str | None = None,
    save: Path | None = None,
    history: Path | None = None,
    checkpoint: Path | None = None,
    every: Whole = 1,
    resume: str | None = None,
    force: options.Force = False,
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
        Passes over the training data. By default, at least 15, and enough for 2,000 steps; a longer run then ends early
        when the validation loss falls no more.
    batch_size
        Samples in a training step. By default 128, but at most a tenth of the samples.
    patience
        Stop after this many epochs without a lower validation loss, and keep the best epoch.
    validation
        Fraction of the training data that is kept for validation after each epoch, by default 0.1. The test part is
        used only once, at the end.
    seeds
        Train this many networks at once, with the seeds --seed, --seed + 1 and so on. Each is the run that it would be
        alone. The model is all of them, an ensemble that predicts by the mean of their probabilities.
    class_weight
        balanced: all classes weigh the same in the training, however many samples they have.
    save
        Write the trained model to this file.
    history
        Add the numbers of each epoch to this file, one JSON object per line. Lines of earlier runs stay.
    checkpoint
        Write the state of the run to this file, so that it can be resumed.
    every
        Epochs between two checkpoints.
    resume
        Continue the run in this checkpoint. Give the same flags again; only the backend, the number of ranks, a larger
        number of epochs and the learning rate may differ. With auto, continue the run in --checkpoint if there is one,
        else start it: a job that is started again needs no other command.
    """
    communicator = connected(ranks)
    writer = communicator.rank == 0  # the only rank that writes files, scores and saves the model
    every = checks.integer("every", every, least=1)
    if writer:
        check_outputs({"data": data, "resume": resume}, force=force, save=save, history=history, checkpoint=checkpoint)
        check_new(checkpoint, resume, force=force)
    read = given_options(label=label, header=header, drop=drop, keep=keep, missing=missing, task=task)
    samples, split = load_and_split(data, holdout, validation, seed, **read)
    plan = plan_of(len(split.x), epochs, batch_size, patience, validated=split.x_test is not None)
    same: dict[str, Any] = {"epochs": plan.epochs, "batch_size": plan.batch_size, "dtype": dtype}
    files: dict[str, Any] = {"checkpoint": checkpoint, "every": every, "resume": resume, "overwrite": force}
    inputs, scaled = split.choose_scaling(scale)
    network: dict[str, Any] = {"hidden": one_or_each(activation), "init": init, "l2": l2, "dropout": dropout}
    net = network_for(samples, lambda d, k: [d, *hidden, k], output, inputs=inputs, **network)
    part, undone, moved = standardised(net, split)
    flags = RateFlags(lr, decay, decay_every, warmup, plan.epochs)
    rate = learning_rate(schedule, flags, len(split.x), plan.batch_size)
    rule, chosen = by_name(optimizer, rate, beta1=beta1, beta2=beta2), choose_backend(backend, precision=precision)
    same |= {"optimizer": rule if clip is None else clipped(rule, clip), "class_weight": class_weight}
    if writer:
        network_line = _describe_network(net, chosen, communicator.size)
        say(_beginning(samples, split, scaled, moved, network_line, plan if epochs is None else None))
    where = {"seed": _seeds(seed, seeds), "validation": part.test, "backend": chosen, "communicator": communicator}
    result, failure = _logged(history, force, plan.patience, bool(save or checkpoint), net, part, same | where | files)
    if not writer:
        return 0
    held = {"holdout": holdout, "validation": validation, "rows": len(samples.x), "options": read}
    result = replace(result, theta=undone(net, result.theta))
    return _finish(save, net, result, samples, failure, (chosen, dtype), data=data, seed=seed, split=held)


def _finish(
    save: Path | None,
    net: Network,
    result: Result,
    samples: Dataset,
    failure: OSError | None,
    where: tuple[Backend, str],
    **metadata: Any,
) -> int:
    """Save and score the model, and return the exit code; raise the error of the last file that failed."""
    save_first(save, net, result.theta, coding=samples.coding, epochs=len(result.history), **metadata)
    score(net, result.theta, samples, *where, save)
    if failure:
        raise failure
    return exit_code(result.signal)


def _beginning(samples: Dataset, split: Dataset, scaled: str, moved: str, network: str, length: Plan | None) -> str:
    """Return what is said before the training: the data, what was decided about them, the network, and how long."""
    decided = [f"  {note}" for note in (scaled, moved) if note and samples.coding]
    steps = [] if length is None else [length.described(len(split.x))]
    return "\n".join([describe_samples(samples, split), *decided, network, *steps])


def _logged(
    history: Path | None,
    force: bool,
    patience: int | None,
    kept: bool,
    net: Network,
    part: Dataset,
    options: dict[str, Any],
) -> tuple[Result, OSError | None]:
    """Train, with a line in the history for each epoch; return the result and the error of its last file."""
    history = None if options["communicator"].rank else history
    with locked(history):
        lines = History(history, force=force) if history else None
        callbacks = _callbacks(lines, patience, heard=kept or history is not None)
        result, failure = _run(net, part.x, part.y, callbacks=callbacks, **options)
    return result, failure or (lines.error if lines else None)


def _seeds(first: int, count: int | None) -> int | list[int]:
    """Return the seed, or the seeds of several networks."""
    return first if count is None else [first + k for k in range(checks.integer("seeds", count, least=1))]


def _callbacks(lines: History | None, patience: int | None, *, heard: bool) -> list[Callback]:
    """Return the callbacks of a run; one that leaves no file ends when nobody reads what it says."""
    stopping = None if patience is None else EarlyStopping(patience)
    return [callback for callback in (lines, stopping, None if heard else end_unheard) if callback is not None]


def _run(*arguments: Any, **options: Any) -> tuple[Result, OSError | None]:
    """Train, and return the result with the error of the last checkpoint, if only that has failed."""
    try:
        return run_training(*arguments, **options), None
    except OSError as error:
        if not isinstance(result := getattr(error, "result", None), Result):
            raise
        return result, error


def _describe_network(net: Network, backend: Backend, ranks: int) -> str:
    sizes = "-".join(map(str, net.sizes))
    precision = f" in {backend.precision}" if backend.precision != "float32" else ""
    several = f", {ranks} ranks" if ranks > 1 else ""
    hidden = net.hidden if isinstance(net.hidden, str) else "-".join(map(str, net.hidden))
    described = f"network {sizes}, {hidden}, {net.output}: {net.size:,} parameters"
    return f"{described}; backend {backend.name}{precision}{several}"
