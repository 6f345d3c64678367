"""The hyper-parameters that are searched, as stages of the recipe, and the settings that a point stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from xpdl import schedules
from xpdl.initializers import INITIALIZERS
from xpdl.network import Network
from xpdl.optimizers import BETAS, Optimizer, by_name
from xpdl.tuning.recipe import Point, Stage, oscillates

RATES = {"sgd": (1e-3, 10.0), "momentum": (1e-4, 1.0)}
ADAPTIVE = (1e-5, 1e-1)
"""The range of the learning rate; ADAPTIVE is for optimizers that scale each gradient by its own size."""


def stages(optimizer: str) -> list[Stage]:
    """Return the stages of the recipe for networks that this optimizer trains."""
    low, high = RATES.get(optimizer, ADAPTIVE)
    averages = [
        Stage("1-beta1", FloatDistribution(0.01, 0.5, log=True), 0.1, step=10, directions=(-1, 1)),
        Stage("1-beta2", FloatDistribution(1e-4, 0.1, log=True), 1e-3, step=10, directions=(1, -1)),
    ]
    return [
        Stage("lr", FloatDistribution(low, high, log=True), 100 * low, step=10, grid=True, halvings=2),
        *(stage for stage in averages if stage.name.removeprefix("1-") in BETAS[optimizer]),
        Stage("units", IntDistribution(16, 512, log=True), 128, step=2),
        Stage("layers", IntDistribution(1, 3), 1, step=1),
        Stage("dropout", FloatDistribution(0.0, 0.5), 0.0, step=0.1),
        Stage("l2", FloatDistribution(1e-4, 10.0, log=True), 1e-4, step=10),
        Stage("init", CategoricalDistribution(sorted(INITIALIZERS)), "he"),
        Stage("batch_size", IntDistribution(16, 512, log=True), 128, step=2, directions=(-1, 1)),
        Stage("decay", FloatDistribution(0.3, 1.0), 1.0, step=0.2, directions=(-1,), when=oscillates),
    ]


def suggest(trial: Trial, stages: list[Stage]) -> Point:
    """Ask the trial for the value of each stage."""
    return {stage.name: _suggest(trial, stage.name, stage.distribution) for stage in stages}


def _suggest(trial: Trial, name: str, distribution: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    number = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return number(name, distribution.low, distribution.high, log=distribution.log)


@dataclass(frozen=True)
class Settings:
    """The flags of ``xpdl train`` that a point stands for; None if the optimizer has no such flag."""

    hidden: tuple[int, ...]
    init: str
    dropout: float
    l2: float
    lr: float
    decay: float  # the learning rate falls by this factor from epoch to epoch
    batch_size: int
    beta1: float | None = None
    beta2: float | None = None

    @classmethod
    def at(cls, point: Mapping[str, Any]) -> "Settings":
        """Return the settings at a point."""
        same = {name: point[name] for name in ("init", "dropout", "l2", "lr", "decay", "batch_size")}
        betas = {name: round(1 - point[f"1-{name}"], 12) for name in ("beta1", "beta2") if f"1-{name}" in point}
        return cls(hidden=(point["units"],) * point["layers"], **same, **betas)

    def network(self, net: Network) -> Network:
        """Return the network with the inputs, outputs, loss and activation of ``net``."""
        sizes = (net.sizes[0], *self.hidden, net.sizes[-1])
        return replace(net, sizes=sizes, init=self.init, dropout=self.dropout, l2=self.l2)

    def optimizer(self, name: str, n: int) -> Optimizer:
        """Return the optimizer of this name for n samples."""
        steps = -(-n // self.batch_size)
        rate = schedules.exponential(self.lr, self.decay, every=steps)
        return by_name(name, rate, beta1=self.beta1, beta2=self.beta2)
