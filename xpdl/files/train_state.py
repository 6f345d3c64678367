"""The state of a training run between two steps: everything that is needed to continue."""

from typing import Any, NamedTuple

from xpdl.arrays import Array
from xpdl.optimizers import State


class Carry(NamedTuple):
    """The arrays that a training step consumes and returns.  Checkpoints name them by these fields: "run/theta"."""

    theta: Array  # (P,)
    state: State  # of the optimizer
    offset: Array  # () int32, samples of this epoch that have been used
    mean: Array  # () the mean of the costs of these samples
    finite: Array  # () int32, steps of this epoch after which the mean was finite


class TrainState(NamedTuple):
    """The state of a training run between two steps."""

    carry: Carry
    last_good: Array | None  # (P,) the parameters at the start of this epoch; None: those of ``carry``
    history: list[dict[str, Any]]  # of the epochs that are finished
    step: int = 0  # steps of this epoch that are done
    seconds: float = 0.0  # the time that these steps took
