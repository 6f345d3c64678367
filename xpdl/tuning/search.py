"""``tune``: run trials until the study has enough of them, in this process and in others that share the study."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import json
import signal
from threading import Lock
from typing import Any

import numpy as np
import optuna
from optuna import Study, Trial
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from xpdl import checks
from xpdl.backends import Backend, backend as choose_backend
from xpdl.backends.shared import Shared
from xpdl.distributed.communicators import Communicator, Serial, gather
from xpdl.files.checkpoint import differences
from xpdl.network import Network
from xpdl.optimizers import OPTIMIZERS
from xpdl.progress import Reporter, report
from xpdl.randomness import check_seed
from xpdl.tuning.objective import Objective
from xpdl.tuning.sampler import RecipeSampler
from xpdl.tuning.space import Settings, stages
from xpdl.tuning.storage import Place, open_storage, storage_errors
from xpdl.tuning.table import best_trial, line, table

SAMPLERS: dict[str, Callable[[str, int], BaseSampler]] = {
    "recipe": lambda optimizer, seed: RecipeSampler(stages(optimizer), seed=seed),
    "tpe": lambda optimizer, seed: TPESampler(seed=seed),
    "random": lambda optimizer, seed: RandomSampler(seed),
}
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "median": lambda epochs: MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 2),
    "halving": lambda epochs: SuccessiveHalvingPruner(),
    "none": lambda epochs: NopPruner(),
}
"""Pruners end trials that look bad early, but not too early: trials that begin slowly often end well."""

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
"""The states of trials that count; trials that were interrupted or killed are tried again."""


@dataclass(frozen=True)
class Tuned:
    """The result of ``tune``; its ``str`` is a table of the trials with a line on the best.

    Parameters
    ----------
    study : optuna.Study
        The study.
    best : optuna.trial.FrozenTrial, optional
        The trial with the lowest validation loss; None if no trial is complete.
    settings : Settings, optional
        The hyper-parameters of the best trial.
    network : Network, optional
        The network of the best trial.
    theta : numpy.ndarray, optional
        Its parameters (P,) after its best epoch.
    signal : int, default 0
        The number of the signal that ended the search; 0 if there was none.

    Examples
    --------
    >>> import optuna
    >>> from xpdl.tuning import Tuned
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> print(str(Tuned(optuna.create_study())).strip())
    no trial is complete
    """

    study: Study
    best: FrozenTrial | None = None
    settings: Settings | None = None
    network: Network | None = None
    theta: np.ndarray | None = None
    signal: int = 0

    def __str__(self) -> str:
        if self.best is None:
            return f"{table(self.study)}\nno trial is complete"
        return f"{table(self.study)}\nthe best is trial {self.best.number}, validation loss {self.best.value:.4f}"


def tune(
    net: Network,
    x: Any,
    y: Any,
    *,
    validation: tuple[Any, Any],
    trials: int = 30,
    epochs: int = 10,
    optimizer: str = "adam",
    sampler: str | BaseSampler = "recipe",
    pruner: str | BasePruner = "median",
    storage: Place = None,
    study: str = "xpdl",
    backend: str | Backend = "auto",
    dtype: str = "float32",
    seed: int = 0,
    communicator: Communicator | None = None,
    progress: bool = True,
) -> Tuned:
    """Search for the hyper-parameters with the lowest validation loss.

    Ctrl-C ends the search.  The study keeps its finished trials, and a later search starts with the interrupted one.

    Parameters
    ----------
    net : Network
        Inputs, outputs, loss and activation are those of this network; the search varies its hidden layers, init, l2
        and dropout.
    x : array_like
        The samples (n, d).
    y : array_like
        Labels (n,) or targets (n, k).
    validation : tuple of array_like
        (x, y) for choosing the best trial.  Judge the result with other samples, because it is fitted to these.
    trials : int, default 30
        The number of trials in the study.  Trials that it already holds and trials of other processes count, too.
    epochs : int, default 10
        Epochs of each trial; the loss of a trial is that of its best epoch.
    optimizer : str, default "adam"
        "adam", "adamw", "momentum", "rmsprop" or "sgd".
    sampler : str or optuna.samplers.BaseSampler, default "recipe"
        "recipe" (see ``xpdl.tuning.recipe``), "tpe", "random", or a sampler of Optuna.
    pruner : str or optuna.pruners.BasePruner, default "median"
        How trials that look bad are ended early: "median", "halving", "none", or a pruner of Optuna.
    storage : path, str, optuna.storages.BaseStorage or None, default None
        A file or the URL of a database, see ``xpdl.tuning.storage``.  Then the study can be resumed and shared.  None
        keeps it in memory.
    study : str, default "xpdl"
        The name of the study in the storage.
    backend : str or Backend, default "auto"
        Where to compute, as for ``xpdl.backend``.
    dtype : str, default "float32"
        "float32" or "float64".
    seed : int, default 0
        The seed of each training, and of the sampler.
    communicator : Communicator, optional
        The ranks that share the study; each runs its own trials.  Rank 0 shows its own trials, and returns the best
        trial of all ranks when all are done.
    progress : bool, default True
        Show a bar on a terminal, and a line for each trial.

    Returns
    -------
    Tuned
        The study, and the best trial with its network and parameters.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or if the study in the storage has other samples or options.
    OSError
        If the storage fails.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> x = np.linspace(-1.0, 1.0, 20).reshape(20, 1)
    >>> net = xpdl.Network([1, 4, 1], hidden="tanh", output="linear")
    >>> tuned = xpdl.tuning.tune(net, x, x, validation=(x, x), trials=2, epochs=2, backend="numpy", progress=False)
    >>> len(tuned.study.trials), tuned.best.number in (0, 1), tuned.theta.shape == (tuned.network.size,)
    (2, True, True)
    """
    enough = checks.integer("trials", trials, least=1)
    checks.instance("net", net, Network)
    if not isinstance(validation, Sequence) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (x, y), got {checks.shorten(validation)}")
    objective = Objective(
        net=net,
        x=x,
        y=y,
        validation=validation,
        epochs=checks.integer("epochs", epochs, least=1),
        optimizer=checks.choice("optimizer", optimizer, OPTIMIZERS),
        backend=choose_backend(backend),
        dtype=checks.float_dtype("dtype", dtype),
        seed=check_seed(seed),
    )
    ranks, choose = communicator or Serial(), _sampler(sampler, optimizer, seed)
    if ranks.size > 1 and storage is None:
        raise ValueError("storage must be a file or a database that all ranks share, got None")
    prune = PRUNERS[checks.choice("pruner", pruner, PRUNERS)](epochs) if isinstance(pruner, str) else pruner
    with storage_errors(), QUIET:
        opened = _open(study, storage, prune, objective.description())
        with report(enough, "tuning", shown=progress and ranks.rank == 0) as reporter:
            ended = max(gather(ranks, _run(opened, objective, choose, enough, reporter)))
        return _result(opened, objective, ended, again=not ended and ranks.rank == 0)


def _sampler(sampler: str | BaseSampler, optimizer: str, seed: int) -> Callable[[int], BaseSampler]:
    """Return a function: number of a trial -> its sampler.

    Samplers with random numbers get another seed in each trial.  Otherwise, processes that share or resume a study
    would choose the same points again.
    """
    if not isinstance(sampler, str):
        return lambda number: sampler
    make = SAMPLERS[checks.choice("sampler", sampler, SAMPLERS)]
    return lambda number: make(optimizer, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def _open(name: str, place: Place, pruner: BasePruner, description: dict[str, Any]) -> Study:
    """Return the study of this name, or a new one; ``ValueError`` if it has other samples or options."""
    study = optuna.create_study(storage=open_storage(place), study_name=name, pruner=pruner, load_if_exists=True)
    begun = study.get_trials(deepcopy=False, states=COUNTED)
    description = json.loads(json.dumps(description))  # as it comes back from the storage: tuples are lists
    found = study.user_attrs.get("xpdl", {} if begun else description)
    if differing := differences(found, description, "there", "here"):
        raise ValueError(f"study {name!r} differs from this one, choose another name: {differing}")
    if study.direction != StudyDirection.MINIMIZE:
        raise ValueError(f"study {name!r} maximises, choose another name")
    study.set_user_attr("xpdl", description)
    return study


def _run(
    study: Study, objective: Objective, choose: Callable[[int], BaseSampler], trials: int, reporter: Reporter
) -> int:
    """Run trials until there are enough; return the number of the signal that ended this early, else 0."""

    def run(trial: Trial) -> float:
        study.sampler = choose(trial.number)
        return objective(trial)

    def tell(study: Study, trial: FrozenTrial) -> None:
        reporter.line(line(study, trial))

    shown, study.sampler = 0, choose(0)
    try:
        while (count := _count(study)) < trials:
            reporter.advance(count - shown)
            shown = count
            study.optimize(run, n_trials=1, callbacks=[tell])
    except KeyboardInterrupt:
        return int(signal.SIGINT)
    return 0


def _count(study: Study) -> int:
    """Mark the trials of killed processes as failed, and return how many other trials are done or in progress."""
    optuna.storages.fail_stale_trials(study)
    return len(study.get_trials(deepcopy=False, states=COUNTED))


def _result(study: Study, objective: Objective, ended: int, again: bool) -> Tuned:
    """Return the best trial; ``again`` says whether to train it again if another process trained it."""
    best = best_trial(study)
    if best is None:
        return Tuned(study, signal=ended)
    settings = Settings.at(best.params)
    theta = objective.theta(best.number, settings) if again else objective.kept(best.number)
    return Tuned(study, best, settings, settings.network(objective.net), theta, ended)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the lines that Optuna prints, because xpdl prints its own."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


QUIET = Shared(_quiet, Lock())
