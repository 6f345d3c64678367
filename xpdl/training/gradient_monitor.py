"""Gradient checks during training, of exactly the loss that is trained: with its dropout masks, L2 and samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import time
from typing import Any

import numpy as np

from xpdl.arrays import Array
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.report import FAIL, GradientError, Report
from xpdl.network import Network
from xpdl.training.dropout import dropout_masks

SAMPLES = 32
"""Samples of a batch that a check uses."""


@dataclass
class GradientMonitor:
    """Check the gradient before the first epoch and after every ``every`` epochs, for at most ``seconds`` in all."""

    net: Network
    first_samples: Callable[[int, int], Sequence[Any]]  # (epoch, n) -> x, y, weight of the first n samples of an epoch
    seed: int
    batches: list[int]
    every: int
    seconds: float
    spent: float = 0.0

    def __call__(self, epoch: int, theta: Array) -> dict[str, float]:
        """Return {"gradient_difference": ...} if a check is due after this epoch; ``GradientError`` if it fails."""
        if epoch % self.every or self.spent >= self.seconds:
            return {}
        started = time.perf_counter()
        report = self.check(epoch, theta)
        self.spent += time.perf_counter() - started
        if report.verdict == FAIL:
            raise GradientError(f"the gradient is wrong after {epoch} epochs\n{report}", report)
        return {"gradient_difference": report.difference}

    def check(self, epoch: int, theta: Array) -> Report:
        """Check at theta, with the first samples of the epoch's first batch and their dropout masks in training."""
        n = min(SAMPLES, self.batches[0])
        x, y, weight = self.first_samples(epoch, n)
        step = epoch * len(self.batches)
        drawn = dropout_masks(self.net, self.batches[0], seed=self.seed, step=step, dtype="float64")
        masks: Any = drawn and [mask if mask is None else np.asarray(mask)[:n] for mask in drawn]
        return check_network(self.net, theta, x, y, masks=masks, weight=weight)
