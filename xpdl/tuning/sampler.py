"""The recipe as a sampler of Optuna.

It remembers nothing: before each trial it reads the study, so a study can be resumed, and shared by processes that know
nothing of each other.  What other processes are trying is taken as bad until it is known: nobody waits, and nobody does
the same.
"""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from xpdl.tuning.recipe import Key, Known, Point, Stage, key, next_point


class RecipeSampler(BaseSampler):  # type: ignore[misc]
    """Tune one hyper-parameter after the other, see recipe.py.

    stages  the parameters in the order in which they are tuned; the objective must suggest them with the same
            distributions
    seed    of parameters that are no stage, and of all of them when the recipe is at its end: these are random

    A trial that was pruned, has failed or is still running counts as worse than any that is complete.
    """

    def __init__(self, stages: Sequence[Stage], *, seed: int = 0) -> None:
        self.stages, self.seed = tuple(stages), seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are stages."""
        self._raise_error_if_multi_objective(study)
        return {stage.name: stage.distribution for stage in self.stages}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Point:
        """The next point of the recipe; {} when it is at its end."""
        trials = study.get_trials(deepcopy=False)
        known = self._known(trials, sign=-1 if study.direction == StudyDirection.MAXIMIZE else 1)
        for _ in range(self._ahead(trials, trial)):
            if point := next_point(self.stages, known):
                known.losses[key(point)] = math.inf
        return next_point(self.stages, known) or {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, another one in each trial."""
        seed = int(np.random.SeedSequence([self.seed, trial.number, *param_name.encode()]).generate_state(1)[0])
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _known(self, trials: Sequence[FrozenTrial], sign: int) -> Known:
        """What the trials have shown; of several at the same point the best counts."""
        known = Known()
        for trial in trials:
            if (place := self._place(trial)) is None:
                continue
            loss = sign * trial.value if trial.state == TrialState.COMPLETE else math.inf
            if loss <= known.losses.get(place, math.inf):
                known.losses[place] = loss
                known.curves[place] = [sign * value for _, value in sorted(trial.intermediate_values.items())]
        return known

    def _ahead(self, trials: Sequence[FrozenTrial], trial: FrozenTrial) -> int:
        """How many trials that started earlier are about to choose what they try.

        A process needs a moment to store its choice; what it is going to choose is known, as all of them follow the
        same recipe.  But if a later trial is over already, then that process has died in its moment.
        """
        last = max((other.number for other in trials if other.state.is_finished()), default=-1)
        started = [t for t in trials if t.state == TrialState.RUNNING and last < t.number < trial.number]
        return sum(self._place(other) is None for other in started)

    def _place(self, trial: FrozenTrial) -> Key | None:
        """The point of a trial; None if not all of it is stored."""
        names = [stage.name for stage in self.stages]
        return key({name: trial.params[name] for name in names}) if set(names) <= trial.params.keys() else None
