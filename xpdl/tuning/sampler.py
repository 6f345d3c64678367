"""The recipe as a sampler of Optuna.

The sampler has no memory: it reads the study before each trial.  So a study can be resumed, and processes that know
nothing of each other can share it.  A point that another process is trying counts as bad until its loss is known, so no
process waits for a result.  Two processes never try the same point, because they claim points in the order of the
numbers of their trials (the bakery algorithm, Lamport 1974).
"""

from collections.abc import Sequence
import math
import time
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from xpdl.tuning.recipe import Key, Known, Point, Stage, key, next_point

CLAIM = "xpdl:point"
"""The attribute of a trial that holds its point until all its parameters are stored (Optuna stores them one by one)."""

PATIENCE = 2.0
"""Seconds to wait for the claim of an earlier trial; a claim takes some milliseconds."""


class RecipeSampler(BaseSampler):  # type: ignore[misc]
    """A sampler of Optuna that tunes one hyper-parameter after the other, see ``xpdl.tuning.recipe``.

    A trial that was pruned, has failed or is still running counts as worse than any complete trial.  Report the loss of
    each epoch to the trial: the recipe sees from these whether the loss oscillates.

    Parameters
    ----------
    stages : sequence of Stage
        The parameters, in the order in which they are tuned.  The objective must suggest them with the same
        distributions.
    seed : int, default 0
        The seed of random values: of parameters without a stage, and of all parameters after the end of the recipe.

    Examples
    --------
    >>> import optuna
    >>> from optuna.distributions import FloatDistribution
    >>> from xpdl.tuning import RecipeSampler, Stage
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> lr = FloatDistribution(1e-4, 1.0, log=True)
    >>> study = optuna.create_study(sampler=RecipeSampler([Stage("lr", lr, start=1e-2, step=10, grid=True)]))
    >>> study.optimize(lambda trial: abs(trial.suggest_float("lr", 1e-4, 1.0, log=True) - 0.1), n_trials=5)
    >>> [trial.params["lr"] for trial in study.trials]
    [0.01, 0.001, 0.1, 0.0001, 1.0]
    """

    def __init__(self, stages: Sequence[Stage], *, seed: int = 0) -> None:
        self.stages, self.seed = tuple(stages), seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Claim the next point of the recipe.

        Parameters that the trial already has, as from ``study.enqueue_trial``, replace those of the point.

        Parameters
        ----------
        study : optuna.Study
            The study.
        trial : optuna.trial.FrozenTrial
            The trial.

        Examples
        --------
        >>> import optuna
        >>> from xpdl.tuning import RecipeSampler, Stage
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> layers = Stage("layers", optuna.distributions.IntDistribution(1, 8), start=2, step=1)
        >>> study = optuna.create_study(sampler=RecipeSampler([layers]))
        >>> trial = study.ask()  # Optuna calls before_trial, then sample_relative
        >>> trial.suggest_int("layers", 1, 8)
        2
        """
        self._raise_error_if_multi_objective(study)
        self._wait(study, trial.number)
        if point := self._next(study):
            study._storage.set_trial_system_attr(trial._trial_id, CLAIM, dict(point))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that the recipe tunes.

        Parameters
        ----------
        study : optuna.Study
            The study.
        trial : optuna.trial.FrozenTrial
            The trial.

        Returns
        -------
        dict
            The distribution of each stage by name.

        Examples
        --------
        >>> import optuna
        >>> from xpdl.tuning import RecipeSampler, Stage
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> layers = Stage("layers", optuna.distributions.IntDistribution(1, 8), start=2, step=1)
        >>> study = optuna.create_study(sampler=RecipeSampler([layers]))
        >>> trial = study.ask()
        >>> list(study.sampler.infer_relative_search_space(study, study.trials[0]))
        ['layers']
        """
        return {stage.name: stage.distribution for stage in self.stages}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Point:
        """Return the point that was claimed.

        Parameters
        ----------
        study : optuna.Study
            The study.
        trial : optuna.trial.FrozenTrial
            The trial.
        search_space : dict
            The distributions by name.

        Returns
        -------
        Mapping
            The value of each stage by name; empty at the end of the recipe.

        Examples
        --------
        >>> import optuna
        >>> from xpdl.tuning import RecipeSampler, Stage
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> layers = Stage("layers", optuna.distributions.IntDistribution(1, 8), start=2, step=1)
        >>> study = optuna.create_study(sampler=RecipeSampler([layers]))
        >>> trial = study.ask()
        >>> study.sampler.sample_relative(study, study.trials[0], {"layers": layers.distribution})
        {'layers': 2}
        """
        stored = study._storage.get_trial(trial._trial_id)  # ``trial`` was read before the claim
        return stored.system_attrs.get(CLAIM) or self._next(study) or {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a random value, another one in each trial.

        Parameters
        ----------
        study : optuna.Study
            The study.
        trial : optuna.trial.FrozenTrial
            The trial.
        param_name : str
            The name of the parameter.
        param_distribution : optuna.distributions.BaseDistribution
            Its distribution.

        Returns
        -------
        object
            The value.

        Examples
        --------
        >>> import optuna
        >>> from xpdl.tuning import RecipeSampler
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=RecipeSampler([], seed=1))
        >>> trial = study.ask()
        >>> 0.0 <= trial.suggest_float("x", 0.0, 1.0) <= 1.0  # Optuna calls sample_independent
        True
        """
        seed = int(np.random.SeedSequence([self.seed, trial.number, *param_name.encode()]).generate_state(1)[0])
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _wait(self, study: Study, number: int) -> None:
        """Wait until all earlier trials have points.  That takes milliseconds, unless a process has just died."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._undecided(study.get_trials(deepcopy=False), number):
            time.sleep(0.01)

    def _undecided(self, trials: Sequence[FrozenTrial], number: int) -> bool:
        """Return whether an earlier trial has no point yet.

        Trials before a trial with a point do not count: the process of that trial has already waited for them in vain.
        """
        decided = [trial.number for trial in trials if trial.state.is_finished() or self._place(trial) is not None]
        first = max(decided, default=-1) + 1
        return any(trial.state == TrialState.RUNNING and first <= trial.number < number for trial in trials)

    def _next(self, study: Study) -> Point | None:
        """Return the next point of the recipe."""
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        return next_point(self.stages, self._known(study.get_trials(deepcopy=False), sign))

    def _known(self, trials: Sequence[FrozenTrial], sign: int) -> Known:
        """Return the results of the trials; if several trials have the same point, the best of them counts."""
        known = Known()
        for trial in trials:
            if (place := self._place(trial)) is None:
                continue
            curve = [sign * value for _, value in sorted(trial.intermediate_values.items())]
            loss = _judged(sign * trial.value, curve) if trial.state == TrialState.COMPLETE else math.inf
            if loss <= known.losses.get(place, math.inf):
                known.losses[place], known.curves[place] = loss, curve
        return known

    def _place(self, trial: FrozenTrial) -> Key | None:
        """Return the point of a trial: its parameters if all are stored, else its claim while the trial is running."""
        names = [stage.name for stage in self.stages]
        claimed = None if trial.state.is_finished() else trial.system_attrs.get(CLAIM)
        point = trial.params if set(names) <= trial.params.keys() else claimed
        return None if point is None else key({name: point[name] for name in names})


def _judged(value: float, curve: Sequence[float]) -> float:
    """Return the loss by which a complete trial is judged; NaN is bad.

    If the value is the lowest loss of the epochs, the mean of the last two epochs counts instead.  Otherwise an
    oscillating loss would look as good as its luckiest epoch, and a smooth loss would look worse.
    """
    judged = math.fsum(curve[-2:]) / 2 if len(curve) > 1 and value == min(curve) else value
    return math.inf if math.isnan(judged) else judged
