"""The learning rate of ``xpdl train``: a table tells which schedule each name stands for."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

from cyclopts import Parameter

from xpdl import checks, schedules
from xpdl.cli.options import listed
from xpdl.schedules import Schedule


class RateFlags(NamedTuple):
    """The flags of the learning rate.  Lengths are in epochs; ``in_steps`` converts them for the table below."""

    lr: float
    decay: float
    decay_every: float
    warmup: float
    length: int  # of the whole run

    def in_steps(self, steps: int) -> "RateFlags":
        """Return the flags with lengths in steps, for this number of steps per epoch."""
        return RateFlags(self.lr, self.decay, self.decay_every * steps, self.warmup * steps, self.length * steps)


SCHEDULES: dict[str, Callable[[RateFlags], float | Schedule]] = {
    "constant": lambda flags: flags.lr,
    "exponential": lambda flags: schedules.exponential(flags.lr, flags.decay, every=flags.decay_every),
    "inverse_time": lambda flags: schedules.inverse_time(flags.lr, flags.decay, every=flags.decay_every),
    "inverse_sqrt": lambda flags: schedules.inverse_sqrt(flags.lr, every=flags.decay_every),
    "step": lambda flags: schedules.step(flags.lr, flags.decay, every=flags.decay_every),
    "cosine": lambda flags: schedules.cosine(flags.lr, flags.length),
}

ScheduleName = Annotated[str, Parameter(help=f"How the learning rate changes: {listed(SCHEDULES)}.")]


def learning_rate(schedule: str, flags: RateFlags, n: int, batch_size: int) -> float | Schedule:
    """Return the schedule of that name with its warm-up, for n samples; a plain number if the rate never changes."""
    flags = flags.in_steps(-(-n // checks.integer("batch_size", batch_size, least=1)))
    checks.real("decay", flags.decay)
    rate = SCHEDULES[checks.choice("schedule", schedule, SCHEDULES)](flags)
    return schedules.warmup(rate, flags.warmup) if checks.real("warmup", flags.warmup) else rate
