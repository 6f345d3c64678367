"""The training loop: the only loop over epochs.

On several ranks every rank runs it.  Only rank 0 writes files, calls callbacks and shows progress.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
import signal
import time
from typing import Any

import numpy as np

from xpdl.arrays import Array
from xpdl.backends.base import ALL
from xpdl.distributed.communicators import gather, share
from xpdl.files.checkpoint import check_rule
from xpdl.files.host_copy import to_device, to_host
from xpdl.files.train_state import Carry, TrainState
from xpdl.network import Masks
from xpdl.optimizers import State
from xpdl.progress import Reporter, report
from xpdl.training.batches import Source
from xpdl.training.callbacks import Callbacks, Metrics, StopTraining
from xpdl.training.distributed_step import DistributedSteps
from xpdl.training.dropout import dropout_masks
from xpdl.training.evaluation import as_metric
from xpdl.training.run_config import RunConfig
from xpdl.training.signals import Interrupt, interruptible
from xpdl.training.step import Data, Steps


class DivergenceError(ArithmeticError):
    """The cost or a parameter became NaN or infinite.

    Parameters
    ----------
    message : str
        Which number is not finite, and in which step.
    result : Result
        The parameters and the history up to the last good epoch.  ``train`` cannot resume it.

    Attributes
    ----------
    result : Result
        The parameter ``result``.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> x = np.linspace(-1.0, 1.0, 8).reshape(8, 1)
    >>> net = xpdl.Network([1, 1], output="linear")
    >>> try:
    ...     xpdl.train(net, x, x, optimizer=xpdl.sgd(1e9), epochs=50, backend="numpy", progress=False)
    ... except xpdl.DivergenceError as error:
    ...     print(error)
    ...     theta = error.result.theta
    the cost in step 1 of epoch 4: NaN or infinity; try a smaller learning rate
    >>> bool(np.all(np.isfinite(theta)))
    True
    """

    def __init__(self, message: str, result: "Result") -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Result:
    """The result of training.

    Parameters
    ----------
    theta : numpy.ndarray
        The parameters (P,) that a callback such as ``KeepBest`` has kept, else those after the last step; (K, P) for K
        networks.
    history : list of dict
        The metrics of each epoch: "epoch" (from 1), "loss", "seconds" and, with validation data, "validation_loss" and,
        for a classifier, "validation_accuracy".  Losses and accuracies of K networks are arrays (K,).
    signal : int
        The number of the signal that ended the run, such as 2 for Ctrl-C; 0 if there was none.
    moment : TrainState, optional
        The state of the run when it ended, as NumPy arrays, for ``train(..., resume=result)``.  None if it diverged.
    rule : mapping, optional
        The constants of the optimizer, by which ``train(..., resume=result)`` knows another update rule.

    Examples
    --------
    >>> import xpdl
    >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
    >>> result = xpdl.train(net, [[0.0], [1.0]], [[1.0], [1.0]], epochs=2, backend="numpy", progress=False)
    >>> result.theta.shape, len(result.history), result.interrupted
    ((2,), 2, False)
    """

    theta: np.ndarray
    history: list[dict[str, Any]] = field(default_factory=list)
    signal: int = 0
    moment: TrainState | None = field(default=None, repr=False, compare=False)
    rule: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run.

        Returns
        -------
        bool

        Examples
        --------
        >>> import signal
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.Result(np.zeros(3), signal=signal.SIGINT).interrupted  # Ctrl-C
        True
        """
        return self.signal != 0


def epoch_start(config: RunConfig, theta: Array, state: State, history: list[dict[str, Any]]) -> TrainState:
    """Return the state of a run at the start of an epoch."""
    zeros = config.backend.zeros
    each = theta.shape[:-1]  # () or (K,)
    carry = Carry(theta, state, zeros((), "int32"), zeros(each, config.dtype), zeros(each, "int32"))
    return TrainState(carry, config.backend.asarray(theta, copy=True), history)


def moved(result: Result, theta: np.ndarray) -> Result:
    """Return the result of a run that is to go on from another theta, with a new state of the optimizer."""
    if result.moment is None:
        return result
    carry = result.moment.carry._replace(theta=np.array(theta), state=None)
    return replace(result, moment=result.moment._replace(carry=carry, last_good=None))


def resumed(config: RunConfig, result: Result, start: TrainState, rule: Mapping[str, Any]) -> TrainState:
    """Return the state at the end of a run, on the device.

    It must have the structure of ``start``, and the update rule must be able to go on with it.
    """
    if result.moment is None:
        raise ValueError("resume must be the result of a run that came to an end, got that of a run that diverged")
    carry = result.moment.carry
    anew = carry.state is None
    carry = to_device(carry._replace(state=start.carry.state) if anew else carry, start.carry, config.backend)
    if result.rule is not None and not anew:
        check_rule("the result to resume", result.rule, rule)
    last_good = carry.theta if result.moment.last_good is None else result.moment.last_good
    return result.moment._replace(carry=carry, last_good=config.backend.asarray(last_good, copy=True))


@dataclass(frozen=True)
class TrainingLoop:
    """A run: everything that stays the same while it trains."""

    config: RunConfig
    source: Source
    steps: Steps | DistributedSteps
    evaluate: Callable[[Array], dict[str, Any]]  # theta -> the metrics of the validation samples
    callbacks: Callbacks
    monitor: Callable[[int, Array], dict[str, Any]] = lambda epoch, theta: {}  # checks the gradient
    save: Callable[[TrainState], None] = lambda train_state: None  # writes the checkpoint
    every: int = 1  # epochs between checkpoints
    signals: tuple[signal.Signals, ...] = (signal.SIGINT,)
    ended: bool = False  # whether a callback had already stopped the run whose checkpoint is resumed
    rule: Mapping[str, Any] | None = None  # the constants of the optimizer

    @property
    def batches(self) -> list[int]:
        """The number of samples in each step of an epoch."""
        return self.source.batches

    def run(self, start: TrainState, epochs: int, progress: bool) -> Result:
        """Train from ``start`` until ``epochs`` epochs are done, counted from the beginning of the run."""
        finished, n = len(start.history), sum(self.batches)
        _check_epochs(epochs, finished + (start.step > 0))
        self.monitor(finished, start.carry.theta)
        with interruptible(*self.signals) as interrupt, report(epochs * n, "training", shown=progress) as reporter:
            reporter.advance(finished * n + sum(self.batches[: start.step]))
            end = self.run_epochs(start._replace(history=list(start.history)), epochs, interrupt, reporter)
            failure = self.save_last(end)
        moment = self.on_host(end)
        theta = self.config.communicator.broadcast(np.array(self.best_or(moment.carry.theta, end.history)))
        result = Result(theta, end.history, max(gather(self.config.communicator, interrupt.signal)), moment, self.rule)
        if failure is not None:
            failure.result = result  # type: ignore[attr-defined]  # a full disk must not cost the whole run
            raise failure
        return result

    def save_last(self, end: TrainState) -> OSError | None:
        """Write the last checkpoint; return the error if the disk fails."""
        try:
            self.save(end)
        except OSError as error:
            return error
        return None

    def run_epochs(self, train_state: TrainState, epochs: int, interrupt: Interrupt, reporter: Reporter) -> TrainState:
        """Train until ``epochs`` epochs are finished, a callback stops the training, or a signal comes."""
        first = len(train_state.history)
        if self.as_rank_0_decides(self.ended and first > 0):
            return train_state
        for number in range(first, epochs):
            if number == first or number % self.every == 0:
                self.save(train_state)
            train_state, interrupted = self.run_epoch(train_state, interrupt, reporter)
            if interrupted:
                break
            train_state = self.finish_epoch(train_state)
            reporter.line(_line(train_state.history[-1], epochs))
            if self.as_rank_0_decides(self.call_callbacks(train_state, reporter)):
                break
        return train_state

    def run_epoch(self, train_state: TrainState, interrupt: Interrupt, reporter: Reporter) -> tuple[TrainState, bool]:
        """Do the remaining steps of an epoch; return the state, and whether a signal ended the epoch."""
        clock = time.perf_counter() - train_state.seconds
        self.steps.invalidate()
        number, carry, done, interrupted = len(train_state.history), train_state.carry, train_state.step, False
        for data, step, n, count in self.dispatches(number, done):
            carry = self.steps(carry, data, n, count, self.masks(n, number * self.source.lengths + step))
            done = step + count
            reporter.advance(n * count)
            interrupted = self.steps.ended(interrupt)
            if interrupted:
                break
        self.check_finite(carry, train_state)
        seconds = time.perf_counter() - clock
        return train_state._replace(carry=carry, step=done, seconds=seconds), interrupted

    def dispatches(self, epoch: int, first: int) -> Iterator[tuple[Data, int, int, int]]:
        """Yield groups of equal steps, from step ``first`` on: data, number of the first step, batch size, count."""
        for steps, data in self.source.blocks(epoch, first):
            for step, n, count in _grouped(self.batches[: steps.stop], self.steps.most, steps.start):
                yield data[n], step, n, count

    def masks(self, n: int, step: int | np.ndarray) -> Masks | None:
        """Return the dropout masks of a step, (K,) if networks differ in it, for this rank's share of its n samples."""
        config, ranks = self.config, self.config.communicator
        if not any(config.net.drops):
            return None
        rows = share(n, ranks) if ranks.size > 1 else ALL
        return dropout_masks(
            config.net, n, seed=config.seed, step=step, backend=config.backend, dtype=config.dtype, rows=rows
        )

    def check_finite(self, carry: Carry, train_state: TrainState) -> None:
        """Raise ``DivergenceError`` if the cost or a parameter became NaN or infinite in this epoch."""
        if fault := self.find_fault(carry):
            message = f"{fault} of epoch {len(train_state.history) + 1}: NaN or infinity; try a smaller learning rate"
            raise DivergenceError(message, Result(self.host(train_state.last_good), train_state.history))

    def find_fault(self, carry: Carry) -> str | None:
        """Return which number is not finite, and in which step; None if all are finite."""
        xp = self.config.backend.xp
        done = -(-int(self.host(carry.offset)) // self.batches[0])
        finite = self.host(carry.finite).reshape(-1)
        wrong = np.flatnonzero(finite < done)
        if len(wrong):
            return f"the cost{self.of(wrong)} in step {finite[wrong[0]] + 1}"
        if bool(xp.all(xp.isfinite(carry.theta))):
            return None
        wrong = np.flatnonzero(~np.isfinite(self.host(carry.theta)).all(axis=-1))
        return f"a parameter{self.of(wrong)} after step {done}"

    def of(self, networks: np.ndarray) -> str:
        """Return which networks a message is about, from 0; nothing if there is only one."""
        if self.config.networks is None:
            return ""
        return f" of network {networks[0]}{f' and {len(networks) - 1} others' if len(networks) > 1 else ''}"

    def finish_epoch(self, train_state: TrainState) -> TrainState:
        """Add the metrics of an epoch to the history, and begin the next epoch."""
        carry, history = train_state.carry, train_state.history
        number = len(history) + 1
        loss = as_metric(self.host(carry.mean))
        metrics: dict[str, Any] = {"epoch": number, "loss": loss, "seconds": train_state.seconds}
        history.append(metrics | self.evaluate(carry.theta) | self.monitor(number, carry.theta))
        return epoch_start(self.config, carry.theta, carry.state, history)

    def on_host(self, train_state: TrainState) -> TrainState:
        """Return the same state with NumPy arrays, for a run that resumes from the result."""
        last_good = self.host(train_state.last_good) if train_state.step else None
        return train_state._replace(carry=to_host(train_state.carry, self.config.backend), last_good=last_good)

    def host(self, array: Array) -> np.ndarray:
        """Return the array as a new NumPy array."""
        return np.array(self.config.backend.to_numpy(array))

    def as_rank_0_decides(self, wanted: bool) -> bool:
        """Return the decision of rank 0, because only rank 0 has the callbacks."""
        return bool(self.config.communicator.broadcast(np.array([wanted]))[0])

    def call_callbacks(self, train_state: TrainState, reporter: Reporter) -> bool:
        """Call the callbacks; return whether one has stopped the training."""
        history, theta = train_state.history, train_state.carry.theta
        metrics = Metrics(history[-1], lambda: self.host(theta))
        try:
            self.callbacks(metrics, len(history) * len(self.batches))
        except StopTraining as reason:
            reporter.line(f"stopped: {reason}")
            return True
        return False

    def best_or(self, theta: np.ndarray, history: list[dict[str, Any]]) -> np.ndarray:
        """Return the parameters that a callback has kept, else theta."""
        best = self.callbacks.theta if history else None
        return theta if best is None else best


def _check_epochs(epochs: int, begun: int) -> None:
    if epochs < begun:
        raise ValueError(f"epochs must be at least {begun}, the number that the run to resume has begun, got {epochs}")


def _grouped(batches: list[int], most: int, step: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield groups of at most ``most`` steps of the same size: the first step, the size, how many steps."""
    for n, group in groupby(batches[step:]):
        end = step + len(list(group))
        for first in range(step, end, most):
            yield first, n, min(most, end - first)
        step = end


def _line(metrics: dict[str, Any], epochs: int) -> str:
    """Return the metrics of an epoch as one line; of several networks, the mean."""
    shown = {name: np.mean(value) for name, value in metrics.items() if name not in ("epoch", "seconds")}
    numbers = (f"{name} {value:.4f}" if value >= 1e-4 else f"{name} {value:.1e}" for name, value in shown.items())
    return "  ".join([f"epoch {metrics['epoch']}/{epochs}", *numbers, f"{metrics['seconds']:.2f} s"])
