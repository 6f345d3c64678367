"""Every test that takes ``lib`` runs on every array library installed here, and skips the others with the reason."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import ctypes
from dataclasses import dataclass, replace
from functools import cache, reduce
import operator
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import threading
from typing import Any

import numpy as np
import pytest

from xpdl.backends import Backend, backend
from xpdl.backends.kernels.operations import HELPERS, OPERATIONS

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell are deaf to Ctrl-C

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


TEAM = """
#include <barrier>
#include <thread>
#include <vector>
struct Place { unsigned x; };
static thread_local Place thread_place, block_place;
static Place block_size;
static std::barrier<> *team;
extern "C" {
Place *thread_index() { return &thread_place; }
Place *block_index() { return &block_place; }
Place *block_dimension() { return &block_size; }
void wait_for_all() { team->arrive_and_wait(); }
void launch(void (*kernel)(void **), void **arguments, unsigned blocks, unsigned threads) {
    block_size.x = threads;
    for (unsigned block = 0; block < blocks; block++) {
        std::barrier<> all(threads);
        team = &all;
        auto one = [=](unsigned t) { thread_place.x = t, block_place.x = block; kernel(arguments); };
        std::vector<std::thread> running;
        for (unsigned t = 1; t < threads; t++) running.emplace_back(one, t);
        one(0);
        for (std::thread &other : running) other.join();
    }
}
}
"""
"""What runs a kernel on the host: its threads are threads."""

HOST = """
struct Place { unsigned x; };
extern "C" { Place *thread_index(), *block_index(), *block_dimension(); void wait_for_all(); }
#define threadIdx (*thread_index())
#define blockIdx (*block_index())
#define blockDim (*block_dimension())
#define __syncthreads wait_for_all
#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
#define isfinite __builtin_isfinite
#define isnan __builtin_isnan
"""
CALLED = {name for row in OPERATIONS.values() for name in re.findall(r"(\w+)\(", row.text)}
HOST += "\n".join(
    f"static {kind} {name}({kind} x) {{ return __builtin_{name}{suffix}(x); }}"
    for name in sorted(CALLED - {*HELPERS, "isfinite", "isnan", "pow"})
    for kind, suffix in {"float": "f", "double": ""}.items()
)


def compile_for_host(path: Path, text: str, *flags: str, mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    """The text as a shared library."""
    options = ["-std=c++20", "-O0", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-o", path, "-x", "c++", "-"]
    subprocess.run(["g++", *options, *flags], input=text, text=True, check=True)
    return ctypes.CDLL(str(path), mode=mode)


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ctypes.CDLL]:
    """``compile_for_host`` into a file of its own."""
    if shutil.which("g++") is None:
        pytest.skip("running CUDA C on the host needs g++")
    folder = tmp_path_factory.mktemp("kernels")
    return lambda *text, **mode: compile_for_host(folder / f"{len(list(folder.iterdir()))}.so", *text, **mode)


@pytest.fixture(scope="session")
def raw_kernel(host_library: Callable[..., ctypes.CDLL]) -> Callable[..., Any]:
    """``cupy.RawKernel`` on the host: launch(blocks, threads, NumPy arrays)."""
    team = host_library(TEAM, "-pthread", mode=ctypes.RTLD_GLOBAL)

    @cache
    def compiled(text: str, name: str, options: tuple[str, ...] = ()) -> Callable[..., None]:
        kinds = re.findall(r"(\w+) \*p\d+", re.search(rf"{name}\((.*?)\) {{", text)[1])
        arguments = ", ".join(f"({kind} *)p[{k}]" for k, kind in enumerate(kinds))
        call = f'extern "C" void call(void **p) {{ {name}({arguments}); }}'
        library = host_library(f"{HOST}\n{text}\n{call}")

        def run(blocks: int, threads: int, arrays: Any) -> None:
            pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
            team.launch(library.call, pointers, *map(ctypes.c_uint, (blocks, threads)))

        return run

    return compiled


class Rank:
    """A communicator whose ranks are threads: what each has lies on a table that all read before anybody goes on."""

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
    """on_ranks(size, function) -> what function(communicator) gives on each of so many threads."""

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
