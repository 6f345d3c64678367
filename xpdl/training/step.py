"""The training step: take a batch, compute cost and gradient, update.  ``Steps`` runs many of them on a backend.

A step never waits for the host.  Its two halves, ``batch`` and ``advance``, are separate functions: on several ranks
the gradients are added up between them (distributed_step.py).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend
from xpdl.backends.base import Compiled, Simple, as_compiled
from xpdl.data.inputs import place
from xpdl.files.train_state import Carry
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, Update
from xpdl.training.population import Own, of_active
from xpdl.training.run_config import RunConfig
from xpdl.training.signals import Interrupt

DISPATCH = 50
"""The number of steps in one dispatch, if the device can repeat a step by itself."""


class Data(NamedTuple):
    """The arrays that a step reads.  K networks may have orders (K, m) of their own."""

    x: Array  # (n, d) floating, or uint8
    y: Array  # (n, k) targets
    order: Array  # (n,) or (K, m) int32, the order of the samples in this epoch
    positions: Array  # (batch,) int32, places of the batch in the order, counted from the offset: 0, 1, ..., batch - 1
    weight: Array | None = None  # (n,) or (n, k); of all networks one after the other, if these have their own
    own: Own | None = None


class Batch(NamedTuple):
    """The samples of a step, (n, d) or (K, n, d): the arguments of the gradient besides theta."""

    x: Array
    y: Array
    masks: Masks | None
    weight: Array | None


Step = Callable[[Carry, Data, Masks | None], Carry]
Compile = Callable[[Callable[..., Any]], Compiled]


def batch(offset: Array, data: Data, masks: Masks | None) -> Batch:
    """Return the samples at the offset."""
    xp, places = namespace(data.x), offset + data.positions
    rows = xp.take(data.order, places) if data.order.ndim == 1 else xp.take(data.order, places, axis=1)
    weighted = rows if data.own is None else rows + data.own.starts
    weight = None if data.weight is None else samples(data.weight, weighted)
    return Batch(samples(data.x, rows), samples(data.y, rows), masks, weight)


def samples(values: Array, rows: Array) -> Array:
    """Return the values of these samples: (batch, ...), or (K, batch, ...) for rows (K, batch)."""
    xp = namespace(values)
    if rows.ndim == 1:
        return xp.take(values, rows, axis=0)
    return xp.reshape(xp.take(values, xp.reshape(rows, (-1,)), axis=0), (*rows.shape, *values.shape[1:]))


def advance(update: Update, carry: Carry, cost: Array, grad: Array, n: int, own: Own | None = None) -> Carry:
    """Return the carry after a step of n samples with this cost and gradient."""
    theta, state, offset, mean, finite = carry
    xp = namespace(theta)
    if own is not None and own.active is not None:
        update = of_active(update, own.active)
    theta, state = checks.pair("optimizer.update", update(theta, grad, state))
    share: Any = n
    if own is not None:
        share = xp.astype(xp.minimum(offset + n, own.counts) - xp.minimum(offset, own.counts), mean.dtype)
    offset += n
    used = offset if own is None else xp.minimum(offset, own.counts)
    mean += (cost - mean) * (share / xp.astype(used, mean.dtype))  # a sum of all costs would lose digits by rounding
    finite += xp.astype(xp.isfinite(mean), finite.dtype)
    return Carry(theta, state, offset, mean, finite)


def make_step(net: Network, update: Update) -> Step:
    """Return the training step: (carry, data, masks) -> the carry after one step."""

    def step(carry: Carry, data: Data, masks: Masks | None) -> Carry:
        cost, grad = net.loss_and_grad(carry.theta, *batch(carry.offset, data, masks))
        return advance(update, carry, cost, grad, data.positions.shape[0], data.own)

    return step


class Steps:
    """Training steps, as fast as the backend can run them.  ``most`` is the largest number in one dispatch."""

    def __init__(self, config: RunConfig, optimizer: Optimizer) -> None:
        net, backend = place(config.net, config.backend, config.dtype), config.backend
        compile, update = compiler(net, optimizer, backend)
        step = make_step(net, update)
        self.step = as_compiled(compile(step))
        repeat = None if any(net.drops) or compile is not backend.compile else backend.repeat
        self.repeat = repeat and as_compiled(repeat(step, net.layout.offsets))
        self.most = DISPATCH if self.repeat else 1
        self.constant = is_constant(net, optimizer)

    def __call__(self, carry: Carry, data: Data, n: int, steps: int, masks: Masks | None) -> Carry:
        """Return the carry after ``steps`` steps, at most ``most``, of n samples each."""
        after: Carry = self.repeat(carry, data, steps) if self.repeat else self.step(carry, data, masks)
        return after

    def invalidate(self) -> None:
        """Have the compiled step compared with its Python function again, at the start of an epoch."""
        if not self.constant:
            (self.repeat or self.step).invalidate()

    def ended(self, interrupt: Interrupt) -> bool:
        """Return whether the run must end after this step."""
        return interrupt.requested


def compiler(net: Network, optimizer: Optimizer, backend: Backend) -> tuple[Compile, Update]:
    """Return the function that compiles a step, and the update to use in the step."""
    fused, offsets = optimizer.fused, net.layout.offsets
    if fused is not None:
        return backend.compile, fused(lambda kernel: backend.fuse(kernel, offsets))
    if backend.eager:  # an update without ``fused`` may do more than array operations
        return Simple, optimizer.update
    return backend.compile, optimizer.update


def is_constant(net: Network, optimizer: Optimizer) -> bool:
    """Return whether a step can never change: no schedule, and no activation or loss of the user's own."""
    hidden = net.hidden if type(net.hidden) is tuple else [net.hidden]
    return optimizer.constant and all(isinstance(name, str) for name in (*hidden, net.output))
