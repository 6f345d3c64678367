"""Train by scikit-learn's rules: with one optimizer after the other, and with its errors if the cost diverges."""

from collections.abc import Mapping
from dataclasses import replace
import math
from typing import Any, NamedTuple
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from xpdl.arrays import Array
from xpdl.network import Network
from xpdl.sklearn.parameters import Parameters
from xpdl.sklearn.solvers import optimizers
from xpdl.sklearn.stopping import Plateau
from xpdl.training.callbacks import Callbacks
from xpdl.training.train import DivergenceError, Result, train

BATCHES = {"auto": 200}
"""Batch sizes by name."""


class OneFit(Callbacks):
    """The callbacks of a fit, which go on when the next optimizer begins."""

    def reset(self) -> None:
        """Do nothing: ``learn`` lets them begin anew once for all optimizers."""


class Samples(NamedTuple):
    """Samples for training or validation."""

    x: Array  # (n, d) floating, in the library and on the device of the caller
    y: np.ndarray  # the targets of the network
    weight: np.ndarray | None = None  # (n,)


def learn(
    net: Network, given: Samples, parameters: Parameters, plateau: Plateau, start: Mapping[str, Any], **options: Any
) -> Result:
    """Train with each optimizer until the score is flat; ``start`` and ``options`` are arguments of ``xpdl.train``."""
    n = len(given.y)
    size = min(n, BATCHES.get(parameters.batch_size, parameters.batch_size))
    callbacks = OneFit((*parameters.callbacks, plateau))
    callbacks.begin(from_file=False)
    options |= {
        "sample_weight": given.weight,
        "batch_size": size,
        "shuffle": parameters.shuffle,
        "callbacks": [callbacks],
        "progress": False,
    }
    try:
        for optimizer in optimizers(parameters, n, math.ceil(n / size)):
            plateau.waited = 0
            result = train(net, given.x, given.y, optimizer=optimizer, **start, **options)
            start = {"resume": result}
            if not plateau.reached:
                break
    except DivergenceError as error:
        return _best_before(error, plateau)
    return result


def _best_before(error: DivergenceError, plateau: Plateau) -> Result:
    """Return the best epoch before the cost diverged; ``ValueError`` if it was not kept."""
    if plateau.theta is None:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
            f" preprocessed. Details: {error}"
        ) from error
    warnings.warn(f"{error}; the best epoch before it is kept", ConvergenceWarning, stacklevel=5)
    plateau.scores.append(math.nan)
    history = error.result.history
    lost = {"epoch": len(history) + 1, "loss": math.nan}
    return replace(error.result, theta=plateau.theta, history=[*history, lost])
