"""The step on one of several ranks: its share of the gradient, the sum over the ranks, the update.

Each rank computes cost and gradient of its share, with its sums divided by the number n of samples on all ranks, and

    [g_r, cost_r, w_r / n, asked_r]     is added up over the ranks in one all-reduce

which is all if the weights w of the samples are 1; else the first two are then divided by the third, the mean weight.
All ranks do the same update.  The L2 term is in every share, so it is divided by the number of ranks that have one: in
the last batch of an epoch there may be fewer samples than ranks.  ``asked`` is 1 where a signal has come: so all ranks
hear of it after the same step.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xpdl.arrays import Array, namespace
from xpdl.backends.base import nothing
from xpdl.distributed import transport
from xpdl.losses import count
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, Update
from xpdl.training.batches import Source
from xpdl.training.run_config import Setting
from xpdl.training.signals import Interrupt
from xpdl.training.step import DISPATCH, Data, Run, advance, batch, compiler, steady


class SharedSteps:
    """Steps of one of several ranks, as ``step.Steps``: the all-reduce stands between two compiled halves.

    heard      how many ranks had been asked to end before the last step
    listening  every so many steps that is looked at: to look is to wait for the device
    """

    most = 1

    def __init__(self, setting: Setting, optimizer: Optimizer, source: Source) -> None:
        net, backend, dtype, _, communicator, _ = setting
        sizes, weighted = set(source.batches), source.weight is not None
        compile, update = compiler(net, optimizer, backend)
        sharing = {n: replace(net, l2=net.l2 / min(n, communicator.size)) for n in sizes}
        self.parts = {n: compile(make_part(sharing[n], n)) for n in sizes}
        self.ends = {n: compile(make_end(update, n, weighted)) for n in sizes}
        self.steady = steady(setting, optimizer)
        self.backend, self.communicator = backend, transport(communicator, backend)
        self.nothing = backend.zeros((net.size + 2,), dtype)  # the part of a rank without samples
        self.flags = [backend.asarray(np.array([flag], dtype=dtype)) for flag in (0, 1)]
        self.asked = self.heard = self.flags[0]
        self.done, self.listening = 0, 1 if backend.synchronize is nothing else DISPATCH

    def __call__(self, run: Run, data: Data, n: int, steps: int, masks: Masks | None) -> Run:
        """The run after one step of n samples on all ranks; data and masks are those of this rank's share."""
        if data.lanes.shape[0]:
            part = self.parts[n]((), run.theta, run.offset, data, masks, self.asked)
        else:
            part = self.backend.xp.concat([self.nothing, self.asked])
        total = self.communicator.allreduce(part)
        self.heard = total[-1:]
        after: Run = self.ends[n](run, total)
        return after

    def invalidate(self) -> None:
        """A new epoch begins."""
        for half in () if self.steady else (*self.parts.values(), *self.ends.values()):
            half.invalidate()

    def ended(self, interrupt: Interrupt) -> bool:
        """Whether a rank was asked to end before this step; if this one is now, all hear of it with the next."""
        self.asked = self.flags[interrupt.requested]
        self.done += 1
        return self.done % self.listening == 0 and bool(self.backend.to_numpy(self.heard)[0])


def make_part(net: Network, n: int) -> Callable[..., Array]:
    """(consumed, theta, offset, data, masks, asked) -> [g, cost, w / n, asked] of this rank's share of n samples."""

    def part(consumed: tuple[()], theta: Array, offset: Array, data: Data, masks: Masks | None, asked: Array) -> Array:
        xp = namespace(theta)
        samples = batch(offset, data, masks)
        cost, grad = net.loss_and_grad(theta, *samples, n=n)
        weight = xp.ones_like(cost) * (count(samples.x.shape[0], samples.weight) / n)
        return xp.concat([grad, xp.stack([cost, weight]), asked])

    return part


def make_end(update: Update, n: int, weighted: bool) -> Callable[[Run, Array], Run]:
    """(run, the sum of the parts) -> the run after a step of n samples on all ranks."""

    def end(run: Run, total: Array) -> Run:
        grad, cost, weight = total[:-3], total[-3], total[-2]
        if weighted:
            grad, cost = grad / weight, cost / weight
        return advance(update, run, cost, grad, n)

    return end
