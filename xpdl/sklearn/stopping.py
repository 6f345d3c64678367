"""The stopping rule of scikit-learn, as a callback of ``xpdl.train``."""

from collections.abc import Callable, Mapping
import math

import numpy as np

from xpdl.progress import say
from xpdl.training.callbacks import Metrics, StopTraining

Score = Callable[[Mapping[str, float]], float]


class Plateau:
    """Stop after more than ``patience`` epochs in a row that did not beat the best score by ``tol``.

    score     the metrics of an epoch -> a number, higher is better
    keep      whether to return the parameters of the best epoch
    verbose   whether to print each epoch
    """

    def __init__(self, score: Score, tol: float, patience: float, *, keep: bool, verbose: bool) -> None:
        self.score, self.tol, self.patience, self.keep, self.verbose = score, tol, patience, keep, verbose
        self.scores: list[float] = []
        self.best, self.waited = -math.inf, 0
        self.theta: np.ndarray | None = None

    @property
    def reached(self) -> bool:
        """Whether the patience is used up."""
        return self.waited > self.patience

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Judge an epoch; raise ``StopTraining`` when the patience is used up."""
        score = self.score(metrics)
        self.scores.append(score)
        self.waited = self.waited + 1 if score < self.best + self.tol else 0
        if score > self.best:
            self.best = score
            self.theta = metrics.theta if self.keep else None
        if self.verbose:
            judged = f", validation score = {score:.6f}" if self.keep else ""
            say(f"Iteration {metrics['epoch']}, loss = {metrics['loss']:.8f}{judged}")
        if self.reached:
            raise StopTraining(f"the score did not rise by {self.tol} in {self.patience} epochs")
