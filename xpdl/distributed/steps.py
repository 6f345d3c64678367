"""The step on one of several ranks: its share of the gradient, the sum over the ranks, the update.

Each rank computes cost and gradient of its share, multiplies them by n_r, the sum of its samples' weights, and

    [n_r g_r, n_r cost_r, n_r, asked_r]     is added up over the ranks in one all-reduce, and divided by the sum of n_r

All then do the same update.  The L2 term is in every share, so it is divided by the number of ranks that have one: in
the last batch of an epoch there may be fewer samples than ranks.  ``asked`` is 1 where a signal has come: so all ranks
hear of it after the same step.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from xpdl.arrays import Array, namespace
from xpdl.backends.base import nothing
from xpdl.distributed import transport
from xpdl.distributed.communicators import share
from xpdl.interrupts import Interrupt
from xpdl.losses import count
from xpdl.network import Masks, Network
from xpdl.optimizers import Optimizer, Update
from xpdl.setting import Setting
from xpdl.step import DISPATCH, Data, Run, advance, batch, compiler, doubt


class SharedSteps:
    """Steps of one of several ranks, as ``step.Steps``: the all-reduce stands between two compiled halves.

    heard      how many ranks had been asked to end before the last step
    listening  every so many steps that is looked at: to look is to wait for the device
    """

    most = 1

    def __init__(self, setting: Setting, optimizer: Optimizer, batches: Sequence[int]) -> None:
        net, backend, dtype, _, communicator = setting
        compile, update = compiler(net, optimizer, backend)
        sharing = {n: replace(net, l2=net.l2 / min(n, communicator.size)) for n in set(batches)}
        self.parts = {n: compile(make_part(sharing[n])) for n in sharing}
        self.ends = {n: compile(make_end(update, n)) for n in sharing}
        self.backend, self.communicator = backend, transport(communicator, backend)
        self.nothing = backend.zeros((net.size + 2,), dtype)  # the part of a rank without samples
        self.flags = [backend.asarray(np.array([flag], dtype=dtype)) for flag in (0, 1)]
        self.asked = self.heard = self.flags[0]
        self.done, self.listening = 0, 1 if backend.synchronize is nothing else DISPATCH

    def __call__(self, run: Run, data: Data, n: int, steps: int, masks: Masks | None) -> Run:
        """The run after one step of n samples on all ranks; masks are those of all n."""
        own = share(n, self.communicator)
        if masks is not None:
            masks = [mask if mask is None else mask[own, :] for mask in masks]
        if own.start < own.stop:
            part = self.parts[n]((), run.theta, run.offset, data, masks, self.asked)
        else:
            part = self.backend.xp.concat([self.nothing, self.asked])
        total = self.communicator.allreduce(part)
        self.heard = total[-1:]
        after: Run = self.ends[n](run, total)
        return after

    def doubt(self) -> None:
        """A new epoch begins."""
        for half in (*self.parts.values(), *self.ends.values()):
            doubt(half)

    def ended(self, interrupt: Interrupt) -> bool:
        """Whether a rank was asked to end before this step; if this one is now, all hear of it with the next."""
        self.asked = self.flags[interrupt.requested]
        self.done += 1
        return self.done % self.listening == 0 and bool(self.backend.to_numpy(self.heard)[0])


def make_part(net: Network) -> Callable[..., Array]:
    """(consumed, theta, offset, data, masks, asked) -> [n g, n cost, n, asked] of this rank's samples."""

    def part(consumed: tuple[()], theta: Array, offset: Array, data: Data, masks: Masks | None, asked: Array) -> Array:
        xp = namespace(theta)
        samples = batch(offset, data, masks)
        cost, grad = net.loss_and_grad(theta, *samples)
        n = count(samples.x.shape[0], samples.weight)
        return xp.concat([n * grad, xp.stack([n * cost, n * xp.ones_like(cost)]), asked])

    return part


def make_end(update: Update, n: int) -> Callable[[Run, Array], Run]:
    """(run, the sum of the parts) -> the run after a step of n samples on all ranks."""

    def end(run: Run, total: Array) -> Run:
        weight = total[-2]
        return advance(update, run, total[-3] / weight, total[:-3] / weight, n)

    return end
