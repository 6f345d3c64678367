"""A run: the only loop over epochs, and what stays the same while it goes on.

On several ranks all of them run it; files are written, callbacks called and progress shown by rank 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
import signal
import time
from typing import NamedTuple

import numpy as np

from xpdl.arrays import Array
from xpdl.backends.base import ALL
from xpdl.distributed.communicators import gather, share
from xpdl.files.pytree import on_device, on_host
from xpdl.network import Masks
from xpdl.optimizers import State
from xpdl.progress import Reporter, report
from xpdl.training.batches import Source
from xpdl.training.callbacks import Callback, Metrics, StopTraining
from xpdl.training.distributed_step import SharedSteps
from xpdl.training.dropout import dropout_masks
from xpdl.training.run_config import Setting
from xpdl.training.signals import Interrupt, interruptible
from xpdl.training.step import Data, Run, Steps


class DivergenceError(ArithmeticError):
    """The cost became NaN or infinite.  ``result`` holds the parameters and the history up to the last good epoch."""

    def __init__(self, message: str, result: "Result") -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Result:
    """What training gives back.

    theta        the parameters (P,), a NumPy array; those that a callback has kept, if one does
    history      a dict for each epoch: epoch, loss, validation_loss, validation_accuracy, seconds
    signal       the number of the signal that ended the run, such as that of Ctrl-C; 0 if there was none
    moment       where the run stood when it ended, with NumPy arrays, for ``train(..., resume=result)``
    """

    theta: np.ndarray
    history: list[dict[str, float]] = field(default_factory=list)
    signal: int = 0
    moment: "Moment | None" = field(default=None, repr=False, compare=False)

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run."""
        return self.signal != 0


class Moment(NamedTuple):
    """A run between two steps, all that is needed to go on."""

    run: Run
    good: Array | None  # (P,) the parameters before this epoch; None: those of ``run``
    step: int = 0  # steps of this epoch that are done
    seconds: float = 0.0  # that they took
    history: Sequence[dict[str, float]] = ()  # of the epochs before this one


def beginning(setting: Setting, theta: Array, state: State, history: Sequence[dict[str, float]] = ()) -> Moment:
    """The beginning of an epoch."""
    zeros = setting.backend.zeros
    run = Run(theta, state, zeros((), "int32"), zeros((), setting.dtype), zeros((), "int32"))
    return Moment(run, good=setting.backend.asarray(theta, copy=True), history=history)


def taken_up(setting: Setting, result: Result, start: Moment) -> Moment:
    """Where a run ended, to go on from there; start is the structure it must have."""
    if result.moment is None:
        raise ValueError("resume must be the result of a run that came to an end, got one of a run that diverged")
    run = on_device(result.moment.run, start.run, setting.backend)
    good = run.theta if result.moment.good is None else result.moment.good
    return result.moment._replace(run=run, good=setting.backend.asarray(good, copy=True))


@dataclass(frozen=True)
class Session:
    """What stays the same during a run."""

    setting: Setting
    source: Source
    steps: Steps | SharedSteps
    evaluate: Callable[[Array], dict[str, float]]
    callbacks: tuple[Callback, ...]
    watch: Callable[[int, Array], dict[str, float]] = lambda epoch, theta: {}
    save: Callable[[Moment], None] = lambda moment: None
    every: int = 1  # epochs between saves
    signals: tuple[signal.Signals, ...] = (signal.SIGINT,)

    @property
    def batches(self) -> list[int]:
        """The number of samples in each step of an epoch."""
        return self.source.batches

    def run(self, moment: Moment, epochs: int, progress: bool) -> Result:
        """The loop over epochs."""
        history, first, n = list(moment.history), len(moment.history), sum(self.batches)
        _check_epochs(epochs, first + (moment.step > 0))
        self.watch(first, moment.run.theta)
        with interruptible(*self.signals) as interrupt, report(epochs * n, "training", shown=progress) as reporter:
            reporter.advance(first * n + sum(self.batches[: moment.step]))
            for number in range(first, first if self.agreed(self.over(history)) else epochs):
                if number == first or number % self.every == 0:
                    self.save(moment)
                clock = time.perf_counter() - moment.seconds
                run, step, ended = self.epoch(number, moment, interrupt, reporter)
                if fault := self.fault(run):
                    message = f"{fault} of epoch {number + 1}: NaN or infinity; try a smaller learning rate"
                    raise DivergenceError(message, Result(self.host(moment.good), history))
                moment = moment._replace(run=run, step=step, seconds=time.perf_counter() - clock)
                if ended:
                    break
                metrics = {"epoch": number + 1, "loss": float(self.host(run.mean)), "seconds": moment.seconds}
                history.append(metrics | self.evaluate(run.theta) | self.watch(number + 1, run.theta))
                moment = beginning(self.setting, run.theta, run.state, history)
                reporter.line(_line(history[-1], epochs))
                if self.agreed(self.stopped(run.theta, history, reporter)):
                    break
            self.save(moment)
        end = self.ended(moment)
        theta = self.setting.communicator.broadcast(np.array(self.chosen(end.run.theta, history)))
        return Result(theta, history, max(gather(self.setting.communicator, interrupt.signal)), end)

    def epoch(self, number: int, moment: Moment, interrupt: Interrupt, reporter: Reporter) -> tuple[Run, int, bool]:
        """One pass over the samples in a new order, or the rest of one; how many of its steps are done, and whether
        the run is to end there."""
        self.steps.invalidate()
        run, done, ended = moment.run, moment.step, False
        for data, step, n, count in self.dispatches(number, done):
            run = self.steps(run, data, n, count, self.masks(n, number * len(self.batches) + step))
            done = step + count
            reporter.advance(n * count)
            ended = self.steps.ended(interrupt)
            if ended:
                break
        return run, done, ended

    def dispatches(self, number: int, first: int) -> Iterator[tuple[Data, int, int, int]]:
        """The steps of an epoch from the first on: what they read, which they are, their size, how many at a time."""
        for steps, data in self.source.blocks(number, first):
            for step, n, count in _grouped(self.batches[: steps.stop], self.steps.most, steps.start):
                yield data[n], step, n, count

    def masks(self, n: int, step: int) -> Masks | None:
        """The dropout masks of a step, for this rank's share of its n samples."""
        net, backend, dtype, seed, communicator, _ = self.setting
        if not any(net.drops):
            return None
        rows = share(n, communicator) if communicator.size > 1 else ALL
        return dropout_masks(net, n, seed=seed, step=step, backend=backend, dtype=dtype, rows=rows)

    def fault(self, run: Run) -> str | None:
        """What is not finite in the run, and since which step."""
        xp = self.setting.backend.xp
        steps, finite = -(-int(self.host(run.offset)) // self.batches[0]), int(self.host(run.finite))
        if finite < steps:
            return f"the cost in step {finite + 1}"
        return None if bool(xp.all(xp.isfinite(run.theta))) else f"a parameter after step {steps}"

    def ended(self, moment: Moment) -> Moment:
        """The same moment on the host, for a run that goes on from its result."""
        good = self.host(moment.good) if moment.step else None
        return moment._replace(run=on_host(moment.run, self.setting.backend), good=good)

    def host(self, array: Array) -> np.ndarray:
        """The array as a NumPy array of its own."""
        return np.array(self.setting.backend.to_numpy(array))

    def agreed(self, wanted: bool) -> bool:
        """What rank 0 wants, for it has the callbacks."""
        return bool(self.setting.communicator.broadcast(np.array([wanted]))[0])

    def stopped(self, theta: Array, history: list[dict[str, float]], reporter: Reporter) -> bool:
        """Call the callbacks; whether one has ended the training."""
        metrics = Metrics(history[-1], lambda: self.host(theta))
        reasons = []
        for callback in self.callbacks:
            try:
                callback(metrics, len(history) * len(self.batches))
            except StopTraining as reason:
                reasons.append(str(reason))
        if reasons:
            reporter.line(f"stopped: {'; '.join(reasons)}")
        return bool(reasons)

    def over(self, history: list[dict[str, float]]) -> bool:
        """Whether a callback had ended the run that is resumed."""
        remembering = (callback for callback in self.callbacks if hasattr(callback, "resume_state"))
        return bool(history) and any(getattr(callback, "ended", False) for callback in remembering)

    def chosen(self, theta: np.ndarray, history: list[dict[str, float]]) -> np.ndarray:
        """The parameters a callback has kept, else theta."""
        kept = [getattr(callback, "theta", None) for callback in self.callbacks if history]
        return next((best for best in kept if best is not None), theta)


def _check_epochs(epochs: int, begun: int) -> None:
    if epochs < begun:
        raise ValueError(f"epochs must be at least {begun}, as many as the run to resume has begun, got {epochs}")


def _grouped(batches: list[int], most: int, step: int = 0) -> Iterator[tuple[int, int, int]]:
    """Steps of the same size, at most so many at a time: the first step, its size, and how many they are."""
    for n, group in groupby(batches[step:]):
        end = step + len(list(group))
        for first in range(step, end, most):
            yield first, n, min(most, end - first)
        step = end


def _line(metrics: dict[str, float], epochs: int) -> str:
    """An epoch in one line."""
    shown = {name: value for name, value in metrics.items() if name not in ("epoch", "seconds")}
    numbers = (f"{name} {value:.4f}" if value >= 1e-4 else f"{name} {value:.1e}" for name, value in shown.items())
    return "  ".join([f"epoch {metrics['epoch']}/{epochs}", *numbers, f"{metrics['seconds']:.2f} s"])
