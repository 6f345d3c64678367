"""xpdl tune."""

from dataclasses import asdict
from pathlib import Path
import shlex
from typing import TYPE_CHECKING, Any

from xpdl import checks
from xpdl.backends import backend as choose_backend
from xpdl.cli.flags import SIGNALLED, Whole, check_writable, connected, counted, network_for, parts_of
from xpdl.cli.plotting import DPI, FORMATS
from xpdl.cli.prediction import conclude
from xpdl.plots.figures import new_figure, unshown

if TYPE_CHECKING:
    from xpdl.tuning import Tuned


def tune(
    *,
    data: str = "glyphs",
    trials: Whole = 30,
    epochs: Whole = 10,
    optimizer: str = "adam",
    activation: str = "relu",
    output: str | None = None,
    validation: float = 0.1,
    holdout: float = 0.0,
    sampler: str = "recipe",
    pruner: str = "median",
    storage: str = "xpdl-studies.db",
    study: str | None = None,
    backend: str = "auto",
    precision: str = "float32",
    dtype: str = "float32",
    seed: Whole = 0,
    save: Path | None = None,
    plot: Path | None = None,
    ranks: Whole | None = None,
) -> int:
    """Search hyper-parameters by the validation loss, and print the command that repeats the best trial.

    The same command goes on with a study that was interrupted, and several at the same time share one.

    Parameters
    ----------
    data
        As for ``xpdl train``.
    trials
        How many the study shall have, those that are there already and those of other processes included.
    epochs
        Of each trial.
    optimizer
        As for ``xpdl train``.
    activation
        As for ``xpdl train``.
    output
        As for ``xpdl train``.
    validation
        Share of the training data by which trials are compared. The test part is used once, at the end.
    holdout
        As for ``xpdl train``.
    sampler
        recipe, one parameter after the other as by hand, tpe or random.
    pruner
        What ends trials that look bad early: median, halving or none.
    storage
        Where the study is kept: an SQLite file, a .journal file for machines that share a folder, or the URL of a
        database, in which trials of killed processes are tried again.
    study
        Its name there, by default that of the data.
    backend
        As for ``xpdl train``.
    precision
        As for ``xpdl train``.
    dtype
        As for ``xpdl train``.
    seed
        As for ``xpdl train``, and of the sampler.
    save
        Write the best model to this file.
    plot
        Draw the trials to this .png or .svg file.
    ranks
        Processes that share the study, each with trials of its own; started by mpiexec, as for ``xpdl train``.
    """
    from xpdl.tuning import tune as run_tuning

    communicator = connected(ranks)
    _check_files(save, plot)
    samples, fitting = parts_of(data, holdout, validation, seed)
    if fitting is samples or fitting.test is None:
        raise ValueError("validation must be a share of the training data, got 0")
    chosen, name = choose_backend(backend, precision=precision), study or samples.name
    net = network_for(samples, lambda d, k: [d, k], output, {"hidden": activation, "init": "he"})
    if communicator.rank == 0:
        print(f"{counted(samples, fitting)}\nstudy {name} in {storage}; backend {chosen.name}", flush=True)
    same: dict[str, Any] = {"optimizer": optimizer, "epochs": epochs, "dtype": dtype, "seed": seed}
    tuned = run_tuning(
        net,
        fitting.x,
        fitting.y,
        validation=fitting.test,
        trials=trials,
        sampler=sampler,
        pruner=pruner,
        storage=storage,
        study=name,
        backend=chosen,
        communicator=communicator,
        **same,
    )
    if communicator.rank:
        return 0  # rank 0 has the last word
    print(tuned)
    if plot:
        _draw(tuned, plot)
    if tuned.settings is not None:
        if tuned.network is None or tuned.theta is None:
            print("it was trained by another process; the same command trains it once more")
        else:
            metadata = {"data": data, "seed": seed, "epochs": epochs}
            conclude(tuned.network, tuned.theta, samples, chosen, dtype, save, metadata)
        parts = {"data": data, "holdout": holdout or None, "validation": validation}
        shape = {"activation": net.hidden, "output": net.output}
        last = {"schedule": "exponential", "patience": epochs, "backend": chosen.name, "precision": chosen.precision}
        print(f"repeat it with\n{_command(parts | shape | asdict(tuned.settings) | same | last)}")
    return SIGNALLED + tuned.signal if tuned.signal else 0


def _check_files(save: Path | None, plot: Path | None) -> None:
    """What could not be written is said before the search, not after."""
    for name, path in {"save": save, "plot": plot}.items():
        check_writable(name, path)
    if plot is not None:
        checks.choice("the suffix of plot", plot.suffix.lower(), FORMATS)
        with unshown():
            new_figure(1, 1)  # there is a matplotlib


def _draw(tuned: "Tuned", path: Path) -> None:
    from xpdl.tuning import plot_trials

    with unshown():
        plot_trials(tuned.study).savefig(path, dpi=DPI, **FORMATS[path.suffix.lower()])
    print(f"drawn {path}")


def _command(flags: dict[str, Any]) -> str:
    """The command line of ``xpdl train`` with these flags."""
    words = ["xpdl", "train"]
    for name, value in flags.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        words += [] if value is None else [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)
