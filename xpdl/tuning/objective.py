"""A trial: one run of ``xpdl.train`` with the settings that a sampler has chosen.

All trials have the same samples and the same seed, so a trial is a function of its settings.  The best one can be
repeated to the last bit, here or on the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np
from optuna import Trial, TrialPruned

from xpdl import checks
from xpdl.backends import Backend
from xpdl.backends.base import to_numpy
from xpdl.files.checkpoint import fingerprint, name_of, names, scaling_of
from xpdl.network import Network
from xpdl.training.callbacks import Callback, KeepBest, Metrics
from xpdl.training.train import DivergenceError, Result, train
from xpdl.tuning.space import Settings, stages, suggest

MONITOR = "validation_loss"


@dataclass
class Objective:
    """The function to minimise: trial -> the lowest validation loss of its epochs.

    A run that diverges or looks bad early is pruned.  Ctrl-C puts the trial back into the queue, for whoever continues
    the study, and raises ``KeyboardInterrupt``.
    """

    net: Network  # whose inputs, outputs, loss and activation are used
    x: Any  # (n, d)
    y: Any  # (n,) or (n, k)
    validation: tuple[Any, Any]
    epochs: int
    optimizer: str
    backend: Backend
    dtype: str
    seed: int
    best: tuple[int, float, np.ndarray] | None = field(default=None, init=False)  # number, loss, theta

    def __post_init__(self) -> None:
        """Check that the activation does not depend on the number of layers, which the trials vary."""
        if type(self.net.hidden) is tuple:
            got = checks.shorten(self.net.hidden)
            raise ValueError(f"net must have one activation for any number of hidden layers, got {got}")

    def __call__(self, trial: Trial) -> float:
        """Train, and report the validation loss after each epoch."""
        settings, keep = Settings.at(suggest(trial, stages(self.optimizer))), KeepBest(MONITOR)
        try:
            result = self.train(settings, [keep, self._reporter(trial)])
        except DivergenceError as error:
            trial.set_user_attr("diverged", str(error))
            raise TrialPruned(str(error)) from error
        if result.interrupted:
            trial.set_user_attr("interrupted", True)
            trial.study.enqueue_trial(trial.params)
            raise KeyboardInterrupt
        if "validation_accuracy" in keep.metrics:
            trial.set_user_attr("accuracy", keep.metrics["validation_accuracy"])
        loss: float = keep.metrics.get(MONITOR, math.inf)
        if self.best is None or loss < self.best[1]:
            self.best = trial.number, loss, result.theta
        return loss

    def train(self, settings: Settings, callbacks: Sequence[Callback]) -> Result:
        """Train with these settings."""
        return train(
            settings.network(self.net),
            self.x,
            self.y,
            optimizer=settings.optimizer(self.optimizer, len(self.x)),
            epochs=self.epochs,
            batch_size=settings.batch_size,
            validation=self.validation,
            backend=self.backend,
            dtype=self.dtype,
            seed=self.seed,
            callbacks=callbacks,
            progress=False,
        )

    def kept(self, number: int) -> np.ndarray | None:
        """Return the parameters of a trial if it is the best of this process, else None."""
        return self.best[2] if self.best is not None and self.best[0] == number else None

    def theta(self, number: int, settings: Settings) -> np.ndarray:
        """Return the parameters of a complete trial; train it again if another process trained it."""
        kept = self.kept(number)
        if kept is not None:
            return kept
        result = self.train(settings, [KeepBest(MONITOR)])
        if result.interrupted:
            raise KeyboardInterrupt
        return result.theta

    def description(self) -> dict[str, Any]:
        """Return the properties that all trials of a study have in common, as values that JSON can hold."""
        arrays = {"x": self.x, "y": self.y, "validation x": self.validation[0], "validation y": self.validation[1]}
        hidden: Any = self.net.hidden
        return {
            **{name: fingerprint(to_numpy(array)) for name, array in arrays.items()},
            "input": self.net.sizes[0],
            **scaling_of(self.net, to_numpy(self.x)),
            "outputs": self.net.sizes[-1],
            "output": names(self.net.output),
            "hidden": hidden if isinstance(hidden, str) else name_of(hidden.forward),
            "optimizer": self.optimizer,
            "epochs": self.epochs,
            "dtype": self.dtype,
            "seed": self.seed,
        }

    def _reporter(self, trial: Trial) -> Callback:
        """Return a callback that reports each epoch to the trial, and ends the trial if the pruner says so."""

        def show(metrics: Metrics, step: int) -> None:
            trial.report(metrics[MONITOR], int(metrics["epoch"]))
            if metrics["epoch"] < self.epochs and trial.should_prune():
                raise TrialPruned(f"after epoch {metrics['epoch']}")

        return show
