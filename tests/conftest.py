"""Every test that takes ``lib`` runs on every array library installed here, and skips the others with the reason."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
import operator
import os
from pathlib import Path
import signal
import threading
from typing import Any

import numpy as np
import pytest

from xpdl.backends import Backend, backend

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make background jobs ignore Ctrl-C

LIBRARIES = {
    # id: (backend, the dtype tests use there)
    "numpy": ("numpy", "float64"),
    "numpy-readonly": ("numpy", "float64"),
    "strict-device1": ("array_api_strict:device1", "float64"),
    "strict-no_float64": ("array_api_strict:no_float64", "float32"),
    "jax": ("jax", "float64"),
    "jax-jit": ("jax", "float64"),
    "torch": ("torch", "float64"),
    "cupy": ("cupy", "float64"),
}


@dataclass(frozen=True)
class Lib:
    """An array library under test."""

    backend: Backend
    dtype: str
    jitted: bool = False

    @property
    def tolerance(self) -> float:
        """Relative to the largest number in a comparison."""
        return 1e-12 if self.dtype == "float64" else 1e-5

    def put(self, x: Any, dtype: str | None = None) -> Any:
        """x on the device; floating arrays in this library's test dtype unless told otherwise."""
        x = np.asarray(x)
        return self.backend.asarray(x, dtype or (self.dtype if x.dtype.kind == "f" else None), copy=True)

    def host(self, x: Any) -> np.ndarray:
        """The array as a NumPy array."""
        return np.asarray(self.backend.to_numpy(x))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments), traced by ``jax.jit`` where that is what is tested."""
        if self.jitted:
            import jax

            return jax.jit(function)(*arguments)
        with self.backend.activate():
            return function(*arguments)

    def close(self, actual: Any, expected: Any, scale: float = 1.0) -> None:
        """Assert that actual is expected, to rounding."""
        actual, expected = self.host(actual), np.asarray(expected)
        assert actual.shape == expected.shape
        bound = scale * self.tolerance * max(1e-300, float(np.max(np.abs(expected), initial=0.0)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


class ReadOnly(Backend):
    """NumPy that hands out read-only arrays: whatever mutates an argument raises."""

    def asarray(self, x: Any, dtype: Any = None, *, copy: bool | None = None) -> np.ndarray:
        array = super().asarray(x, dtype, copy=True)
        array.flags.writeable = False
        return array


@pytest.fixture(params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Lib:
    """The library under test."""
    name, dtype = LIBRARIES[request.param]
    try:
        chosen = backend(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    if request.param == "numpy-readonly":
        chosen = ReadOnly(**{key: getattr(chosen, key) for key in replace(chosen).__dataclass_fields__})
    return Lib(chosen, dtype, jitted=request.param == "jax-jit")


@pytest.fixture
def data_folder() -> Path:
    """The folder XPDL_DATA names, with MNIST and the origin's published runs."""
    folder = os.environ.get("XPDL_DATA")
    if not folder:
        pytest.skip("XPDL_DATA is not set")
    return Path(folder)


class Rank:
    """A communicator whose ranks are threads.

    Each rank puts its array on a table, and waits until all have done so, and again until all have read it.
    """

    def __init__(self, rank: int, table: list[Any], meeting: threading.Barrier) -> None:
        self.rank, self.size, self.table, self.meeting = rank, len(table), table, meeting

    def allreduce(self, array: Any) -> Any:
        return self.exchange(array, lambda arrays: reduce(operator.add, arrays))

    def broadcast(self, array: Any) -> Any:
        return self.exchange(array, lambda arrays: arrays[0] + array * 0)

    def exchange(self, array: Any, combine: Callable[[list[Any]], Any]) -> Any:
        self.table[self.rank] = array
        self.meeting.wait()
        combined = combine(self.table)
        self.meeting.wait()
        if not isinstance(array, np.ndarray):
            return combined
        array[...] = combined  # as MPI does
        return array


@pytest.fixture
def on_ranks() -> Callable[..., list[Any]]:
    """on_ranks(size, function) -> the results of function(communicator) on so many threads."""

    def run(size: int, function: Callable[[Rank], Any]) -> list[Any]:
        table, meeting = [None] * size, threading.Barrier(size, timeout=60)

        def rank(number: int) -> Any:
            try:
                return function(Rank(number, table, meeting))
            except BaseException:
                meeting.abort()
                raise

        with ThreadPoolExecutor(size) as pool:
            futures = [pool.submit(rank, number) for number in range(size)]
        failed = [error for future in futures if (error := future.exception())]
        for error in sorted(failed, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    return run
