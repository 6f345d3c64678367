"""The training step: gather a batch, cost and gradient, update; and how the backend runs many of them.

It never waits for the host.  Its two halves are functions of their own: between them the ranks of a job add up their
gradients (distributed/steps.py).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend
from xpdl.backends.base import Compiled, Simple
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, State, Steady, Update
from xpdl.training.run_config import Setting
from xpdl.training.signals import Interrupt

DISPATCH = 50
"""Steps that the device is told to do at a time, where it can repeat them by itself."""


class Data(NamedTuple):
    """What a step reads."""

    x: Array  # (n, d) floating, or uint8 images
    y: Array  # (n, k) targets
    order: Array  # (n,) int32, the order of the samples in this epoch
    lanes: Array  # (batch,) int32, where the batch is in the order, counted from the offset: 0, 1, ..., batch - 1
    weight: Array | None = None  # (n,)


class Run(NamedTuple):
    """What a step consumes and returns."""

    theta: Array  # (P,)
    state: State  # of the optimizer
    offset: Array  # () int32, samples of this epoch that have been used
    mean: Array  # () of their costs
    finite: Array  # () int32, steps of this epoch after which the mean was finite


class Batch(NamedTuple):
    """The samples of a step, and what the gradient needs besides theta."""

    x: Array
    y: Array
    masks: Masks | None
    weight: Array | None


Step = Callable[[Run, Data, Masks | None], Run]
Compile = Callable[[Callable[..., Any]], Compiled]


def batch(offset: Array, data: Data, masks: Masks | None) -> Batch:
    """The samples at the offset."""
    xp = namespace(data.x)
    rows = xp.take(data.order, offset + data.lanes)
    x, y = xp.take(data.x, rows, axis=0), xp.take(data.y, rows, axis=0)
    return Batch(x, y, masks, None if data.weight is None else xp.take(data.weight, rows))


def advance(update: Update, run: Run, cost: Array, grad: Array, n: int) -> Run:
    """The run after a step of n samples."""
    theta, state, offset, mean, finite = run
    xp = namespace(theta)
    theta, state = checks.pair("optimizer.update", update(theta, grad, state))
    offset += n
    mean += (cost - mean) * (n / xp.astype(offset, mean.dtype))  # a sum would round away its digits
    finite += xp.astype(xp.isfinite(mean), finite.dtype)
    return Run(theta, state, offset, mean, finite)


def make_step(net: Network, update: Update) -> Step:
    """(run, data, masks) -> the run after one step."""

    def step(run: Run, data: Data, masks: Masks | None) -> Run:
        cost, grad = net.loss_and_grad(run.theta, *batch(run.offset, data, masks))
        return advance(update, run, cost, grad, data.lanes.shape[0])

    return step


class Steps:
    """Steps as fast as the backend makes them.

    most  how many it does as one dispatch
    """

    def __init__(self, setting: Setting, optimizer: Optimizer) -> None:
        net, backend, *_ = setting
        compile, update = compiler(net, optimizer, backend)
        step = make_step(net, update)
        self.step = compile(step)
        repeat = None if any(net.drops) or compile is not backend.compile else backend.repeat
        self.repeat = repeat and repeat(step, net.layout.offsets)
        self.most = DISPATCH if self.repeat else 1
        self.steady = steady(setting, optimizer)

    def __call__(self, run: Run, data: Data, n: int, steps: int, masks: Masks | None) -> Run:
        """The run after so many steps, at most ``most``, of n samples each."""
        after: Run = self.repeat(run, data, steps) if self.repeat else self.step(run, data, masks)
        return after

    def invalidate(self) -> None:
        """A new epoch begins."""
        if not self.steady:
            (self.repeat or self.step).invalidate()

    def ended(self, interrupt: Interrupt) -> bool:
        """Whether the run is to end after this step."""
        return interrupt.requested


def compiler(net: Network, optimizer: Optimizer, backend: Backend) -> tuple[Compile, Update]:
    """What makes a function of a step fast, and the update to use in it."""
    fused, offsets = optimizer.fused, net.layout.offsets
    if fused is not None:
        return backend.compile, fused(lambda kernel: backend.fuse(kernel, offsets))
    if backend.eager:  # your own update may do more than array operations
        return Simple, optimizer.update
    return backend.compile, optimizer.update


def steady(setting: Setting, optimizer: Optimizer) -> bool:
    """Whether nothing outside can change what a step does."""
    return isinstance(optimizer, Steady) and isinstance(setting.net.hidden, str)
