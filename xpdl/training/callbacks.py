"""Callbacks: what happens after each epoch.

A callback is any f(metrics, step): metrics is a dict of numbers, step the number of steps done, so functions like
``mlflow.log_metrics`` fit as they are.  The dict has an attribute ``theta``, the parameters at that point as a NumPy
array.  A callback ends the training by raising ``StopTraining``; one that has an attribute ``theta`` itself, like the
two here, decides what ``result.theta`` will be.

A callback that has an attribute ``resume_state``, a dict of NumPy arrays and of what JSON can hold, gets it back when a
run is resumed from a file, {} if the file has none of this kind of callback; if its ``ended`` is true then, the run is
over.  Others begin anew.
"""

from collections.abc import Callable
import math
from typing import Any, Protocol

import numpy as np

from xpdl import checks


class StopTraining(Exception):
    """Raised by a callback to end the training; what was learned so far is the result."""


class Metrics(dict[str, float]):
    """The numbers of an epoch, and ``theta``, copied to the host when it is asked for."""

    def __init__(self, numbers: dict[str, float], theta: Callable[[], np.ndarray]) -> None:
        super().__init__(numbers)
        self._theta = theta

    @property
    def theta(self) -> np.ndarray:
        """The parameters (P,) after this epoch."""
        return self._theta()


class Callback(Protocol):
    """f(metrics, step), called after each epoch."""

    def __call__(self, metrics: Any, step: int, /) -> Any: ...


class KeepBest:
    """Keep the parameters of the epoch in which ``monitor`` was lowest; for an accuracy, highest.

    monitor: a key of the metrics; None: "validation_loss", or "loss" if there is no validation.
    Afterwards ``theta`` holds the parameters and ``metrics`` the numbers of the best epoch; the first epoch of another
    run begins anew.
    """

    remembered: tuple[str, ...] = ("theta", "metrics", "_best")
    """What must not be forgotten when a run is resumed."""

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = monitor
        self.begin()

    @property
    def resume_state(self) -> dict[str, Any]:
        """What a run file keeps of it."""
        return {name: getattr(self, name) for name in self.remembered}

    @resume_state.setter
    def resume_state(self, state: dict[str, Any]) -> None:
        """Go on from there; from nothing if it is empty."""
        self.begin()
        for name in state.keys() & set(self.remembered):
            setattr(self, name, state[name])

    def begin(self) -> None:
        """Forget what was kept."""
        self.theta: np.ndarray | None = None
        self.metrics: dict[str, float] = {}
        self._best = math.inf

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Copy theta if this epoch is the best so far."""
        self.improved(metrics)

    def improved(self, metrics: Metrics) -> bool:
        """Whether this epoch is the best so far; if so it is kept."""
        if metrics["epoch"] == 1:
            self.begin()
        key = self.monitor or ("validation_loss" if "validation_loss" in metrics else "loss")
        value = metrics[checks.choice("monitor", key, metrics)]
        cost = -value if key.endswith("accuracy") else value
        if not cost < self._best:
            return False
        self._best, self.theta, self.metrics = cost, metrics.theta, dict(metrics)
        return True


class EarlyStopping(KeepBest):
    """Stop after ``patience`` epochs without a new best, and keep the best (Prechelt 1998); see ``KeepBest``."""

    remembered = (*KeepBest.remembered, "_waited")

    def __init__(self, patience: int = 5, monitor: str | None = None) -> None:
        super().__init__(monitor)
        self.patience = checks.integer("patience", patience, least=1)

    def begin(self) -> None:
        """Forget what was kept, and be patient again."""
        super().begin()
        self._waited = 0

    @property
    def ended(self) -> bool:
        """Whether patience is at its end."""
        return self._waited >= self.patience

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Raise ``StopTraining`` when patience is at its end."""
        self._waited = 0 if self.improved(metrics) else self._waited + 1
        if self.ended:
            raise StopTraining(f"no better epoch in the last {self.patience}")
