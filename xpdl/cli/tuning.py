"""xpdl tune: search for good hyper-parameters."""

from dataclasses import asdict, replace
from pathlib import Path
import shlex
from typing import TYPE_CHECKING, Any

from xpdl.backends import Backend, backend as choose_backend
from xpdl.checks import one_line
from xpdl.cli import options
from xpdl.cli.flags import connected, describe_samples, exit_code, load_and_split, network_for
from xpdl.cli.options import Whole
from xpdl.cli.outputs import check_outputs, save_first
from xpdl.cli.pictures import check_suffix, save_picture
from xpdl.cli.prediction import score
from xpdl.cli.regression import standardised
from xpdl.data import Dataset
from xpdl.distributed import Communicator
from xpdl.network import Network
from xpdl.plots.figures import new_figure, unshown
from xpdl.progress import say

if TYPE_CHECKING:
    from xpdl.tuning import Tuned


def tune(
    *,
    data: options.Data = "glyphs",
    trials: Whole = 30,
    epochs: Whole = 10,
    optimizer: options.Optimizer = "adam",
    activation: options.Activation = "relu",
    output: options.Output = None,
    validation: float = 0.1,
    holdout: options.Holdout = None,
    sampler: str = "recipe",
    pruner: str = "median",
    storage: str = "xpdl-studies.db",
    study: str | None = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "float32",
    dtype: options.Dtype = "float32",
    seed: options.Seed = 0,
    save: Path | None = None,
    plot: Path | None = None,
    force: options.Force = False,
    ranks: options.Ranks = None,
) -> int:
    """Search for good hyper-parameters, and print the command that repeats the best trial.

    A trial is a training run with its own hyper-parameters; the best has the lowest validation loss. Trials are kept in
    a study. Run the same command again to continue a study that was interrupted, or several times at once to share it.
    With --ranks, every process has its own trials.

    Parameters
    ----------
    trials
        Number of trials in the study. Trials that it already holds and trials of other processes count, too.
    epochs
        Passes over the training data in each trial.
    validation
        Fraction of the training data that is kept for validation, to compare trials. The test part is used only once,
        at the end.
    sampler
        How hyper-parameters are chosen: recipe (one after the other, as by hand), tpe or random.
    pruner
        How unpromising trials are stopped early: median, halving or none.
    storage
        Where the study is kept: an SQLite file, a .journal file for machines that share a folder, or the URL of a
        database. SQLite and databases also repeat the trials of processes that were killed.
    study
        Name of the study. By default, the name of the data.
    save
        Write the best model to this file.
    plot
        Draw the trials to this .png or .svg file.
    """
    from xpdl.tuning import tune as run_tuning

    communicator = connected(ranks)
    _check_files(communicator, data, storage, save, plot, force=force)
    samples, split = load_and_split(data, holdout, validation, seed)
    if split.test is None:
        raise ValueError("validation must be a fraction above 0 of the training data, got 0")
    chosen, name = choose_backend(backend, precision=precision), study or samples.name
    net = network_for(samples, lambda d, k: [d, k], output, inputs=split.scaling, hidden=activation, init="he")
    if communicator.rank == 0:
        say(f"{describe_samples(samples, split)}\nstudy {one_line(name)} in {one_line(storage)}; backend {chosen.name}")
    same: dict[str, Any] = {"optimizer": optimizer, "epochs": epochs, "dtype": dtype, "seed": seed}
    search: dict[str, Any] = {"trials": trials, "sampler": sampler, "pruner": pruner, "storage": storage, "study": name}
    where: dict[str, Any] = {"validation": split.test, "backend": chosen, "communicator": communicator}
    part, undone, _ = standardised(net, split)
    tuned = run_tuning(net, part.x, part.y, **search, **where | {"validation": part.test}, **same)
    if tuned.network is not None and tuned.theta is not None:
        tuned = replace(tuned, theta=undone(tuned.network, tuned.theta))
    if communicator.rank == 0:  # only rank 0 prints, writes files and returns the exit code
        parts = {"data": data, "holdout": holdout, "validation": validation}
        _report(tuned, net, samples, parts, same, chosen, save, plot)
    return 0 if communicator.rank else exit_code(tuned.signal)


def _check_files(
    communicator: Communicator, data: str, storage: str, save: Path | None, plot: Path | None, *, force: bool
) -> None:
    """Check before the search that rank 0 can write the files, and that it can import matplotlib."""
    from xpdl.tuning.storage import check_storage

    if communicator.rank:
        return
    check_outputs({"data": data, "storage": check_storage(storage)}, force=force, save=save, plot=plot)
    if plot is not None:
        check_suffix("plot", plot)
        with unshown():
            new_figure(1, 1)


def _report(
    tuned: "Tuned",
    net: Network,
    samples: Dataset,
    parts: dict[str, Any],
    same: dict[str, Any],
    backend: Backend,
    save: Path | None,
    plot: Path | None,
) -> None:
    """Save the best model, print the trials, draw them, score it, and print the command that repeats it."""
    best = None if tuned.network is None or tuned.theta is None else (tuned.network, tuned.theta)
    if best:
        held = {**{name: parts[name] for name in ("holdout", "validation")}, "rows": len(samples.x), "options": {}}
        metadata = {"data": parts["data"], "seed": same["seed"], "epochs": same["epochs"], "split": held}
        save_first(save, *best, coding=samples.coding, **metadata)
    say(str(tuned))
    if plot:
        _draw(tuned, plot)
    if tuned.settings is None:
        return
    if best:
        score(*best, samples, backend, same["dtype"], save)
    else:
        say("another process trained it; run the same command again to train it here")
    shape = {"activation": net.hidden, "output": net.output}
    last = {"schedule": "exponential", "patience": same["epochs"]}
    where = {"backend": backend.name, "precision": backend.precision}
    say(f"repeat it with\n{_command(parts | shape | asdict(tuned.settings) | same | last | where)}")


def _draw(tuned: "Tuned", path: Path) -> None:
    from xpdl.tuning import plot_trials

    with unshown():
        figure = plot_trials(tuned.study)
    save_picture(path, figure)
    say(f"drawn {one_line(path)}")


def _command(flags: dict[str, Any]) -> str:
    """Return the command line of ``xpdl train`` with these flags."""
    words = ["xpdl", "train"]
    for name, value in flags.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        words += [] if value is None else [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)
