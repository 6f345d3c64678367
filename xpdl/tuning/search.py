"""The search: trials are run until the study has enough of them, by this process and by others."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import signal
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
"""What ends trials that look bad after an epoch; those that begin slowly often end well, so not too early."""

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
"""Trials that count; those that were interrupted or killed are tried again."""


@dataclass(frozen=True)
class Tuned:
    """What tuning gives back; ``str`` of it is a table of the trials, and which is the best.

    study      the study of Optuna
    best       its trial with the lowest validation loss, None if none is complete
    settings   what the trial has chosen
    network    of the best trial
    theta      its parameters (P,) after its best epoch, a NumPy array
    signal     the number of the signal that has ended the search, 0 if there was none
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
    """Search the hyper-parameters with which training on x (n, d), y reaches the lowest validation loss.

    net         gives input, output and activation; its hidden layers, init, l2 and dropout are searched
    validation  (x, y), for choosing: keep what is to judge the result out of it
    trials      how many the study shall have, those that are there already and those of other processes included
    epochs      of each trial; its validation loss is that of its best epoch
    optimizer   adam, adamw, momentum, rmsprop or sgd
    sampler     "recipe", see recipe.py, "tpe", "random", or a sampler of Optuna
    pruner      "median", "halving", "none", or a pruner of Optuna: what ends trials that look bad early
    storage     a file or database, see storage.py, by which the study can be resumed and shared; None for memory
    study       its name there; a study of other samples or options is a ``ValueError`` that names them
    backend, dtype, seed
                as for ``xpdl.train``; the seed is also that of the sampler
    communicator
                ranks that share the study, each with trials of its own; rank 0 reports its own and has the result of
                all when all are done
    progress    a bar on a terminal, and a line a trial; False for silence

    Ctrl-C ends the search; what the study knows is kept, and the trial in progress is the first one next time.
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
    with storage_errors(), _quiet():
        opened = _open(study, storage, prune, objective.description())
        with report(enough, "tuning", shown=progress and ranks.rank == 0) as reporter:
            ended = max(gather(ranks, _run(opened, objective, choose, enough, reporter)))
        return _result(opened, objective, ended, again=not ended and ranks.rank == 0)


def _sampler(sampler: str | BaseSampler, optimizer: str, seed: int) -> Callable[[int], BaseSampler]:
    """number of a trial -> its sampler.

    Those with random numbers get other ones in each trial: processes that share a study, and one that resumes it, would
    otherwise choose the same again.
    """
    if not isinstance(sampler, str):
        return lambda number: sampler
    make = SAMPLERS[checks.choice("sampler", sampler, SAMPLERS)]
    return lambda number: make(optimizer, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def _open(name: str, place: Place, pruner: BasePruner, description: dict[str, Any]) -> Study:
    """The study of this name, a new one if there is none; ``ValueError`` if it is of something else."""
    study = optuna.create_study(storage=open_storage(place), study_name=name, pruner=pruner, load_if_exists=True)
    begun = study.get_trials(deepcopy=False, states=COUNTED)
    found = study.user_attrs.get("xpdl", {} if begun else description)
    if differing := differences(found, description, "there", "here"):
        raise ValueError(f"study {name!r} is of something else, choose another name: {differing}")
    if study.direction != StudyDirection.MINIMIZE:
        raise ValueError(f"study {name!r} maximises, choose another name")
    study.set_user_attr("xpdl", description)
    return study


def _run(
    study: Study, objective: Objective, choose: Callable[[int], BaseSampler], trials: int, reporter: Reporter
) -> int:
    """Run trials until there are enough; the number of the signal that has ended it before, else 0."""

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
    """The trials that are done or in progress; the dead among them are found first."""
    optuna.storages.fail_stale_trials(study)
    return len(study.get_trials(deepcopy=False, states=COUNTED))


def _result(study: Study, objective: Objective, ended: int, again: bool) -> Tuned:
    """The best of the study, trained again if it has to be and may be."""
    best = best_trial(study)
    if best is None:
        return Tuned(study, signal=ended)
    settings = Settings.at(best.params)
    theta = objective.theta(best.number, settings) if again else objective.kept(best.number)
    return Tuned(study, best, settings, settings.network(objective.net), theta, ended)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own lines are not shown: ours say the same."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
