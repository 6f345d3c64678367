"""Training: the step, and the only loop over epochs.

The whole data set lies on the device.  A step draws its batch there, by an order and an offset that lie there too, so
the host only says "again", and reads the cost once an epoch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
import os
import signal
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks, samples
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend, backend as choose_backend
from xpdl.callbacks import Callback, Metrics, StopTraining
from xpdl.dropout import dropout_masks
from xpdl.evaluation import Evaluator
from xpdl.interrupts import Interrupt, interruptible
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, State, Steady, Update, adam
from xpdl.progress import Reporter, report
from xpdl.randomness import check_seed, permutation
from xpdl.trees import on_device, on_host

DISPATCH = 50
"""Steps that the device is told to do at a time, where it can repeat them by itself."""


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


class Data(NamedTuple):
    """What a step reads."""

    x: Array  # (n, d) floating, or uint8 images
    y: Array  # (n, k) targets
    order: Array  # (n,) int32, the order of the samples in this epoch
    lanes: Array  # (batch,) int32, 0, 1, ..., batch - 1
    weight: Array | None = None  # (n,)


class Run(NamedTuple):
    """What a step consumes and returns."""

    theta: Array  # (P,)
    state: State  # of the optimizer
    offset: Array  # () int32, samples of this epoch that have been used
    mean: Array  # () of their costs
    finite: Array  # () int32, steps of this epoch after which the mean was finite


class Moment(NamedTuple):
    """A run between two steps, all that is needed to go on."""

    run: Run
    good: Array | None  # (P,) the parameters before this epoch; None: those of ``run``
    step: int = 0  # steps of this epoch that are done
    seconds: float = 0.0  # that they took
    history: Sequence[dict[str, float]] = ()  # of the epochs before this one


Step = Callable[[Run, Data, Masks | None], Run]
Repeat = Callable[[Run, Data, int], Run]


def make_step(net: Network, update: Update) -> Step:
    """The training step: gather a batch, cost and gradient, update.  It never waits for the host."""

    def step(run: Run, data: Data, masks: Masks | None) -> Run:
        theta, state, offset, mean, finite = run
        xp = namespace(theta)
        rows = xp.take(data.order, offset + data.lanes)
        x, y = xp.take(data.x, rows, axis=0), xp.take(data.y, rows, axis=0)
        weight = None if data.weight is None else xp.take(data.weight, rows)
        cost, grad = net.loss_and_grad(theta, x, y, masks, weight)
        theta, state = checks.pair("optimizer.update", update(theta, grad, state))
        offset += x.shape[0]
        mean += (cost - mean) * (x.shape[0] / xp.astype(offset, mean.dtype))  # a sum would round away its digits
        finite += xp.astype(xp.isfinite(mean), finite.dtype)
        return Run(theta, state, offset, mean, finite)

    return step


def train(
    net: Network,
    x: Any,
    y: Any,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int | None = 128,
    shuffle: bool = True,
    sample_weight: Any = None,
    validation: Sequence[Any] | None = None,
    backend: str | Backend = "auto",
    dtype: str = "float32",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    theta: Any = None,
    check_gradients: int | None = None,
    check_seconds: float = 10.0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    resume: "str | os.PathLike[str] | Result | None" = None,
) -> Result:
    """Minimise the cost of the samples x (n, d), y over theta by mini-batch gradient descent.

    optimizer   default ``adam()``
    batch_size  samples in a step, None for all; the last step of an epoch takes what is left
    shuffle     whether each epoch takes the samples in an order of its own
    sample_weight
                (n,): how many times each sample counts in the cost of its batch, see ``Network.loss``; a sample of
                weight 0 is left out
    validation  (x, y) or (x, y, sample_weight) to evaluate after each epoch
    backend     a name as for ``xpdl.backend``, or a ``Backend``
    dtype       "float32" or "float64"
    seed        of initial weights, order of the samples and dropout: one seed is one run, on every backend
    callbacks   functions f(metrics, step), see callbacks.py
    theta       where to start; default ``net.initialize(seed)``
    check_gradients, check_seconds
                check the gradient of the loss that is trained, dropout and L2 included, before the first epoch and
                after every so many, until that took so many seconds; ``GradientError`` if it is wrong
    progress    a bar on a terminal, a line an epoch elsewhere; False for silence
    checkpoint  a file to which the whole run is written: at once, after every ``every`` epochs, and when it ends
    resume      such a file, from which to go on: bit for bit as if the run had never ended, up to ``epochs`` in all.
                The other arguments are those of that run, but for backend, epochs, validation and callbacks, which may
                be others, and for theta, which is in the file; schedules and rates are not compared.  Of a ``Result``
                it goes on likewise, with whatever samples, batches and rates are given

    x may hold uint8 images, which the network scales to [0, 1]; samples.py says what labels may look like.  Ctrl-C ends
    the run after the step in progress, with what was learned so far, and so does SIGTERM if there is a checkpoint; a
    second one ends it at once.  ``DivergenceError`` if the cost becomes NaN or infinite, with the result up to the last
    good epoch.  ``RunFileError`` if the file to resume is damaged, ``ValueError`` if it is of another run, ``OSError``
    if the disk fails.
    """
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    epochs, every = checks.integer("epochs", epochs, least=0), checks.integer("every", every, least=1)
    if theta is not None and resume is not None:
        raise ValueError("theta and resume cannot both be given: a run that is resumed has its theta")
    optimizer = adam() if optimizer is None else optimizer
    checks.instance("optimizer", optimizer, Optimizer)
    with chosen.activate():
        x, y, weight = _counting(*samples.weighted(net, x, y, sample_weight, chosen, dtype), chosen)
        step, repeat = _compiled(net, optimizer, chosen)
        given = net.initialize(seed, dtype) if theta is None else theta
        session = Session(
            net=net,
            backend=chosen,
            dtype=dtype,
            seed=check_seed(seed),
            x=x,
            y=y,
            weight=weight,
            batches=_batches(x.shape[0], batch_size),
            shuffle=bool(shuffle),
            step=step,
            repeat=repeat,
            steady=isinstance(optimizer, Steady) and isinstance(net.hidden, str),
            evaluate=_evaluator(net, validation, chosen, dtype),
            callbacks=_callables(callbacks),
        )
        if check_gradients is not None:
            session = session.watched(checks.integer("check_gradients", check_gradients, least=1), check_seconds)
        entered = samples.parameters(net, given, chosen, dtype)
        start = session.moment(entered, optimizer.init(entered))
        if isinstance(resume, Result):
            start, resume = session.taken_up(resume, start), None
        if checkpoint is not None or resume is not None:
            session, start = session.filed(start, checkpoint, every, resume)
        return session.run(start, epochs, progress)


def _compiled(net: Network, optimizer: Optimizer, backend: Backend) -> tuple[Step, Repeat | None]:
    """The step, and many of them as one dispatch where there can be, as fast as the backend makes them."""
    cuts = net.layout.cuts
    fused = optimizer.fused
    step = make_step(net, fused(lambda kernel: backend.fuse(kernel, cuts)) if fused else optimizer.update)
    if backend.eager and not fused:
        return step, None  # your own update may do more than array operations
    repeat = None if any(net.drops) or backend.repeat is None else backend.repeat(step, cuts)
    return backend.compile(step), repeat


@dataclass(frozen=True)
class Session:
    """What stays the same during a run."""

    net: Network
    backend: Backend
    dtype: str
    seed: int
    x: Array  # (n, d)
    y: Array  # (n, k)
    weight: Array | None  # (n,)
    batches: list[int]  # the number of samples in each step of an epoch
    shuffle: bool
    step: Step
    repeat: Repeat | None  # so many steps as one dispatch
    steady: bool  # whether nothing outside can change what a step does
    evaluate: Callable[[Array], dict[str, float]]
    callbacks: tuple[Callback, ...]
    watch: Callable[[int, Array], dict[str, float]] = lambda epoch, theta: {}
    save: Callable[[Moment], None] = lambda moment: None
    every: int = 1  # epochs between saves
    signals: tuple[signal.Signals, ...] = (signal.SIGINT,)

    def watched(self, every: int, seconds: float) -> "Session":
        """The same session with gradient checks."""
        from xpdl.gradcheck.watch import Watch

        seconds = checks.real("check_seconds", seconds)
        data, order = (self.x, self.y, self.weight), (self.seed, self.batches)
        watch = Watch(self.net, *data, self.backend, *order, every, seconds, self.shuffle)
        return replace(self, watch=watch)

    def filed(
        self,
        start: Moment,
        checkpoint: str | os.PathLike[str] | None,
        every: int,
        resume: str | os.PathLike[str] | None,
    ) -> "tuple[Session, Moment]":
        """The same session with checkpoints, and where it starts: at the moment in the file, if one is resumed."""
        from xpdl.resuming import RunFiles, configuration

        data = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        given = {name: self.backend.to_numpy(values) for name, values in data.items() if values is not None}
        order = (self.batches[0], self.shuffle)
        same = configuration(self.net, self.dtype, self.seed, given, *order, start.run.state)
        files = RunFiles(same, self.callbacks, self.backend)
        moment = start if resume is None else files.read(resume, start)
        if checkpoint is None:
            return self, moment
        signals = (signal.SIGINT, signal.SIGTERM)
        return replace(self, save=partial(files.write, checkpoint), every=every, signals=signals), moment

    def taken_up(self, result: Result, start: Moment) -> Moment:
        """Where a run ended, to go on from there; start is the structure it must have."""
        if result.moment is None:
            raise ValueError("resume must be the result of a run that came to an end, got one of a run that diverged")
        run = on_device(result.moment.run, start.run, self.backend)
        good = run.theta if result.moment.good is None else result.moment.good
        return result.moment._replace(run=run, good=self.backend.asarray(good, copy=True))

    def ended(self, moment: Moment) -> Moment:
        """The same moment on the host, for a run that goes on from its result."""
        good = self.host(moment.good) if moment.step else None
        return moment._replace(run=on_host(moment.run, self.backend), good=good)

    def moment(self, theta: Array, state: State, history: Sequence[dict[str, float]] = ()) -> Moment:
        """The beginning of an epoch."""
        zeros = self.backend.zeros
        run = Run(theta, state, zeros((), "int32"), zeros((), self.dtype), zeros((), "int32"))
        return Moment(run, good=self.backend.asarray(theta, copy=True), history=history)

    def run(self, moment: Moment, epochs: int, progress: bool) -> Result:
        """The loop over epochs."""
        history, first, n = list(moment.history), len(moment.history), sum(self.batches)
        _check_epochs(epochs, first + (moment.step > 0))
        self.watch(first, moment.run.theta)
        with interruptible(*self.signals) as interrupt, report(epochs * n, "training", shown=progress) as reporter:
            reporter.advance(first * n + sum(self.batches[: moment.step]))
            for number in range(first, first if self.over(history) else epochs):
                if number == first or number % self.every == 0:
                    self.save(moment)
                clock = time.perf_counter() - moment.seconds
                run, step = self.epoch(number, moment, interrupt, reporter)
                if fault := self.fault(run):
                    message = f"{fault} of epoch {number + 1}: NaN or infinity; try a smaller learning rate"
                    raise DivergenceError(message, Result(self.host(moment.good), history))
                moment = moment._replace(run=run, step=step, seconds=time.perf_counter() - clock)
                if interrupt.requested:
                    break
                metrics = {"epoch": number + 1, "loss": float(self.host(run.mean)), "seconds": moment.seconds}
                history.append(metrics | self.evaluate(run.theta) | self.watch(number + 1, run.theta))
                moment = self.moment(run.theta, run.state, history)
                reporter.line(_line(history[-1], epochs))
                if self.stopped(run.theta, history, reporter):
                    break
            self.save(moment)
        end = self.ended(moment)
        return Result(self.chosen(end.run.theta, history), history, interrupt.signal, end)

    def epoch(self, number: int, moment: Moment, interrupt: Interrupt, reporter: Reporter) -> tuple[Run, int]:
        """One pass over the samples in a new order, or the rest of one, and how many of its steps are done."""
        if not self.steady:
            getattr(self.step, "doubt", _nothing)()
        put = self.backend.asarray
        order = put(permutation(self.seed, number, sum(self.batches), shuffle=self.shuffle))
        lanes = {n: put(np.arange(n, dtype=np.int32)) for n in set(self.batches)}
        data = {n: Data(self.x, self.y, order, lanes[n], self.weight) for n in lanes}
        run, done = moment.run, moment.step
        for step, n, count in _dispatches(self.batches, DISPATCH if self.repeat else 1, done):
            if self.repeat:
                run = self.repeat(run, data[n], count)
            else:
                run = self.step(run, data[n], self.masks(n, number * len(self.batches) + step))
            done = step + count
            reporter.advance(n * count)
            if interrupt.requested:
                break
        return run, done

    def masks(self, n: int, step: int) -> Masks | None:
        """The dropout masks of a step."""
        if not any(self.net.drops):
            return None
        return dropout_masks(self.net, n, seed=self.seed, step=step, backend=self.backend, dtype=self.dtype)

    def fault(self, run: Run) -> str | None:
        """What is not finite in the run, and since which step."""
        xp = self.backend.xp
        steps, finite = -(-int(self.host(run.offset)) // self.batches[0]), int(self.host(run.finite))
        if finite < steps:
            return f"the cost in step {finite + 1}"
        return None if bool(xp.all(xp.isfinite(run.theta))) else f"a parameter after step {steps}"

    def host(self, array: Array) -> np.ndarray:
        """The array as a NumPy array of its own."""
        return np.array(self.backend.to_numpy(array))

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


def _nothing() -> None:
    """What a step without ``doubt`` does: it runs its Python text each time."""


def _counting(x: Array, y: Array, weight: Array | None, backend: Backend) -> tuple[Array, Array, Array | None]:
    """The samples whose weight is not 0."""
    counting = None if weight is None else np.flatnonzero(backend.to_numpy(weight))
    if counting is None or len(counting) == x.shape[0]:
        return x, y, weight
    xp, rows = backend.xp, backend.asarray(counting)
    return xp.take(x, rows, axis=0), xp.take(y, rows, axis=0), xp.take(weight, rows)


def _batches(n: int, batch_size: int | None) -> list[int]:
    """The sizes of the batches of n samples; the last may be smaller."""
    size = n if batch_size is None else min(checks.integer("batch_size", batch_size, least=1), n)
    return [size] * (n // size) + [n % size] * (n % size > 0)


def _check_epochs(epochs: int, begun: int) -> None:
    if epochs < begun:
        raise ValueError(f"epochs must be at least {begun}, as many as the run to resume has begun, got {epochs}")


def _dispatches(batches: list[int], most: int, step: int = 0) -> Iterator[tuple[int, int, int]]:
    """Steps of the same size in dispatches of at most so many: the first step, its size, and how many they are."""
    for n, group in groupby(batches[step:]):
        end = step + len(list(group))
        for first in range(step, end, most):
            yield first, n, min(most, end - first)
        step = end


def _callables(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks, which must be functions or objects that can be called; a class is neither."""
    entries = callbacks if isinstance(callbacks, Sequence) else [None]
    if any(isinstance(entry, type) or not callable(entry) for entry in entries):
        raise TypeError(f"callbacks must be a list of functions f(metrics, step), got {checks.shorten(callbacks)}")
    return tuple(callbacks)


def _evaluator(
    net: Network, validation: Sequence[Any] | None, backend: Backend, dtype: str
) -> Callable[[Array], dict[str, float]]:
    """theta -> validation_loss and validation_accuracy; nothing without validation samples."""
    if validation is None:
        return lambda theta: {}
    if not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(f"validation must be (x, y) or (x, y, sample_weight), got {checks.shorten(validation)}")
    x, y, weight = [*validation, None][:3]
    evaluate = Evaluator(net, *samples.weighted(net, x, y, weight, backend, dtype, prefix="validation "), backend)
    return lambda theta: {f"validation_{name}": value for name, value in evaluate(theta).items()}


def _line(metrics: dict[str, float], epochs: int) -> str:
    """An epoch in one line."""
    shown = {name: value for name, value in metrics.items() if name not in ("epoch", "seconds")}
    numbers = (f"{name} {value:.4f}" if value >= 1e-4 else f"{name} {value:.1e}" for name, value in shown.items())
    return "  ".join([f"epoch {metrics['epoch']}/{epochs}", *numbers, f"{metrics['seconds']:.2f} s"])
