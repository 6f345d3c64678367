"""The recipe as a sampler of Optuna.

It remembers nothing: before each trial it reads the study, so a study can be resumed, and shared by processes that know
nothing of each other.  What others are trying is taken as bad until it is known, so nobody waits for a result; and
nobody tries the same, because points are claimed in the order of the trials' numbers (Lamport 1974, the bakery).
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
"""The attribute of a trial that holds its point before its parameters are stored, which is one by one."""

PATIENCE = 2.0
"""Seconds to wait for the claim of an earlier trial, which takes some milliseconds."""


class RecipeSampler(BaseSampler):  # type: ignore[misc]
    """Tune one hyper-parameter after the other, see recipe.py.

    stages  the parameters in the order in which they are tuned; the objective must suggest them with the same
            distributions
    seed    of parameters that are no stage, and of all of them when the recipe is at its end: these are random

    A trial that was pruned, has failed or is still running counts as worse than any that is complete.  Report the loss
    of each epoch to the trial: the recipe sees from it whether the loss oscillates.
    """

    def __init__(self, stages: Sequence[Stage], *, seed: int = 0) -> None:
        self.stages, self.seed = tuple(stages), seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Claim the next point of the recipe; what the trial is given instead replaces it, parameter by parameter."""
        self._raise_error_if_multi_objective(study)
        self._wait(study, trial.number)
        if point := self._next(study):
            study._storage.set_trial_system_attr(trial._trial_id, CLAIM, dict(point))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are stages."""
        return {stage.name: stage.distribution for stage in self.stages}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Point:
        """The point that was claimed; {} when the recipe is at its end."""
        stored = study._storage.get_trial(trial._trial_id)  # ``trial`` was read before the claim
        return stored.system_attrs.get(CLAIM) or self._next(study) or {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, another one in each trial."""
        seed = int(np.random.SeedSequence([self.seed, trial.number, *param_name.encode()]).generate_state(1)[0])
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _wait(self, study: Study, number: int) -> None:
        """Until all earlier trials have their points: a moment, unless a process has died in that moment."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._undecided(study.get_trials(deepcopy=False), number):
            time.sleep(0.01)

    def _undecided(self, trials: Sequence[FrozenTrial], number: int) -> bool:
        """Whether an earlier trial has no point yet; where a later one has, its process has waited for it in vain."""
        decided = [trial.number for trial in trials if trial.state.is_finished() or self._place(trial) is not None]
        first = max(decided, default=-1) + 1
        return any(trial.state == TrialState.RUNNING and first <= trial.number < number for trial in trials)

    def _next(self, study: Study) -> Point | None:
        """The next point of the recipe."""
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        return next_point(self.stages, self._known(study.get_trials(deepcopy=False), sign))

    def _known(self, trials: Sequence[FrozenTrial], sign: int) -> Known:
        """What the trials have shown; of several at the same point the best counts."""
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
        """The point of a trial: its parameters if all are stored, else its claim, which its end makes void."""
        names = [stage.name for stage in self.stages]
        claimed = None if trial.state.is_finished() else trial.system_attrs.get(CLAIM)
        point = trial.params if set(names) <= trial.params.keys() else claimed
        return None if point is None else key({name: point[name] for name in names})


def _judged(value: float, curve: Sequence[float]) -> float:
    """What a complete trial is judged by; NaN is bad.

    Where the value is the lowest loss of its epochs, an oscillating loss is as good as its luckiest epoch, and what
    really helps looks worse.  So the mean of the last two counts.
    """
    judged = math.fsum(curve[-2:]) / 2 if len(curve) > 1 and value == min(curve) else value
    return math.inf if math.isnan(judged) else judged
