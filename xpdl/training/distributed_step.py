"""The training step on one of several ranks: the gradient of its share, the sum over all ranks, the update.

Each rank computes the cost and the gradient of its share of the batch.  It divides its sums by n, the number of samples
on all ranks.  One all-reduce in each step adds up

    [g_r, cost_r, w_r / n, asked_r]          of K networks (K, P + 3)

over the ranks r.  If the samples have weights w, the first two sums are then divided by the third, the mean weight.
After that all ranks do the same update.  Each share contains the L2 term, so l2 is divided by the number of ranks that
have a share: the last batch of an epoch may have fewer samples than there are ranks.  ``asked`` is 1 on a rank that has
received a signal, so all ranks know of the signal after the same step.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xpdl.arrays import Array, namespace
from xpdl.backends.base import as_compiled, nothing
from xpdl.data.inputs import place
from xpdl.distributed import transport
from xpdl.files.train_state import Carry
from xpdl.losses import count
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, Update
from xpdl.training.batches import Source
from xpdl.training.population import Own
from xpdl.training.run_config import RunConfig
from xpdl.training.signals import Interrupt
from xpdl.training.step import DISPATCH, Data, advance, batch, compiler, is_constant


class DistributedSteps:
    """The steps of one of several ranks, like ``step.Steps``.  The all-reduce lies between two compiled halves.

    shares     for each batch size, the compiled function that computes a rank's share
    updates    for each batch size, the compiled function that updates with the sum of the shares
    heard      the number of ranks that had received a signal before the last step
    listening  the number of steps between two looks at ``heard``: each look waits for the device
    """

    most = 1

    def __init__(self, config: RunConfig, optimizer: Optimizer, source: Source) -> None:
        backend, communicator = config.backend, config.communicator
        net = place(config.net, backend, config.dtype)
        sizes, weighted = set(source.batches), source.weight is not None
        compile, update = compiler(net, optimizer, backend)
        parts = {n: replace(net, l2=net.l2 / min(n, communicator.size)) for n in sizes}
        self.shares = {n: as_compiled(compile(make_share(parts[n], n))) for n in sizes}
        self.updates = {n: as_compiled(compile(make_update(update, n, weighted))) for n in sizes}
        self.constant = is_constant(net, optimizer)
        self.backend, self.communicator = backend, transport(communicator, backend)
        self.flags = [backend.asarray(np.array([flag], dtype=config.dtype)) for flag in (0, 1)]
        self.asked = self.heard = self.flags[0]
        self.done, self.listening = 0, 1 if backend.synchronize is nothing else DISPATCH

    def __call__(self, carry: Carry, data: Data, n: int, steps: int, masks: Masks | None) -> Carry:
        """Return the carry after one step of n samples on all ranks; data and masks are those of this rank's share."""
        if data.positions.shape[0]:
            share = self.shares[n]((), carry.theta, carry.offset, data, masks, self.asked)
        else:  # a rank without samples
            nothing, zero = self.backend.xp.zeros_like(carry.theta), self.backend.xp.zeros_like(carry.mean)
            share = joined(nothing, zero, zero, self.asked)
        total = self.communicator.allreduce(share)
        self.heard = total[(0,) * (total.ndim - 1) + (slice(-1, None),)]
        after: Carry = self.updates[n](carry, total, data.own)
        return after

    def invalidate(self) -> None:
        """Have the compiled halves compared with their Python functions again, at the start of an epoch."""
        for half in () if self.constant else (*self.shares.values(), *self.updates.values()):
            half.invalidate()

    def ended(self, interrupt: Interrupt) -> bool:
        """Return whether a rank had received a signal before this step.

        If this rank has received one now, the next step tells all ranks.
        """
        self.asked = self.flags[interrupt.requested]
        self.done += 1
        return self.done % self.listening == 0 and bool(self.backend.to_numpy(self.heard)[0])


def make_share(net: Network, n: int) -> Callable[..., Array]:
    """Return (consumed, theta, offset, data, masks, asked) -> [g, cost, w / n, asked] of a share of n samples."""

    def share(consumed: tuple[()], theta: Array, offset: Array, data: Data, masks: Masks | None, asked: Array) -> Array:
        xp = namespace(theta)
        samples = batch(offset, data, masks)
        cost, grad = net.loss_and_grad(theta, *samples, n=n)
        weight = count(samples.x.shape[-2], samples.weight, samples.x.ndim - 2)
        return joined(grad, cost, xp.ones_like(cost) * (weight / n), asked)

    return share


def joined(grad: Array, cost: Array, weight: Array, asked: Array) -> Array:
    """Return the share of a rank, (P + 3,) or (K, P + 3)."""
    xp = namespace(grad)
    return xp.concat([grad, xp.stack([cost, weight, xp.ones_like(cost) * asked[0]], axis=-1)], axis=-1)


def make_update(update: Update, n: int, weighted: bool) -> Callable[[Carry, Array, Own | None], Carry]:
    """Return (carry, sum of the shares, own) -> the carry after a step of n samples on all ranks."""

    def end(carry: Carry, total: Array, own: Own | None) -> Carry:
        grad, cost, weight = total[..., :-3], total[..., -3], total[..., -2]
        if weighted:
            grad, cost = grad / total[..., -2:-1], cost / weight
        return advance(update, carry, cost, grad, n, own)

    return end
