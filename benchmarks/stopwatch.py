"""The time of single training steps, measured where ``xpdl.train`` gives its step to the backend.

For a device with a queue, the clock waits only after a group of steps, as a real run does, and takes the group's mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
import time
from typing import Any

import xpdl
from xpdl.backends.base import Simple, nothing
from xpdl.data import Dataset

GROUP = 32
"""Steps between two waits for a device with a queue."""


class Stopwatch:
    """A backend that times the steps that it compiles.

    first   seconds of the first dispatch, with compilation
    steps   mean seconds of a step, for each later group of steps
    """

    def __init__(self, name: str, group: int) -> None:
        self.own = xpdl.backend(name)
        self.group = 1 if self.own.synchronize is nothing else group
        self.backend = replace(self.own, compile=self.compile, repeat=self.own.repeat and self.repeat)
        self.first: float | None = None
        self.steps: list[float] = []
        self.open = 0  # steps since the clock was read

    def compile(self, step: Callable[..., Any]) -> Simple:
        """The backend's ``compile``, with the clock around each call."""
        compiled = self.own.compile(step)
        return Simple(lambda *arguments: self.timed(lambda: compiled(*arguments), 1))

    def repeat(self, step: Callable[..., Any], offsets: Sequence[int]) -> Simple:
        """The backend's ``repeat``, likewise."""
        repeated = self.own.repeat(step, offsets)
        return Simple(lambda run, data, count: self.timed(lambda: repeated(run, data, count), count))

    def timed(self, dispatch: Callable[[], Any], count: int) -> Any:
        """Dispatch this many steps, and time them."""
        if self.open == 0:
            self.start = time.perf_counter()
        result = dispatch()
        self.open += count
        if self.first is None or self.open >= self.group:
            self.own.synchronize()
            self._read(time.perf_counter() - self.start)
        return result

    def _read(self, seconds: float) -> None:
        if self.first is None:
            self.first = seconds
        else:
            self.steps.append(seconds / self.open)
        self.open = 0

    def end_epoch(self, metrics: dict[str, float], step: int) -> None:
        """Stop the clock: a callback for the end of an epoch, because the work between two epochs is no step."""
        self.open = 0


def time_steps(
    sizes: list[int], data: Dataset, *, batch_size: int, backend: str, seconds: float, lr: float = 1e-3
) -> tuple[float, list[float]]:
    """Return the seconds of the first dispatch and of later steps, from two epochs, or more if ``seconds`` allow."""
    n = max(len(data.x) // batch_size, 1) * batch_size  # no smaller last batch
    watch = Stopwatch(backend, min(GROUP, n // batch_size))
    end = time.perf_counter() + seconds

    def stop(metrics: dict[str, float], step: int) -> None:
        if metrics["epoch"] >= 2 and time.perf_counter() > end:
            raise xpdl.StopTraining

    xpdl.train(
        xpdl.Network(sizes, inputs=data.scaling),
        data.x[:n],
        data.y[:n],
        optimizer=xpdl.adam(lr),
        batch_size=batch_size,
        epochs=10_000,
        backend=watch.backend,
        callbacks=[watch.end_epoch, stop],
        progress=False,
    )
    if watch.first is None:
        raise RuntimeError("the backend compiled no step")
    return watch.first, watch.steps
