"""CUDA C on the host, by g++: a thread of a kernel is a thread."""

from collections.abc import Callable
import ctypes
from functools import cache
from pathlib import Path
import re
import shutil
import subprocess
from typing import Any

import pytest

from xpdl.backends.kernels.operations import HELPERS, OPERATIONS

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
"""Runs the blocks of a kernel one after the other, and the threads of a block at once."""

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
    """Compile the text to a shared library and load it."""
    options = ["-std=c++20", "-O0", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-o", path, "-x", "c++", "-"]
    subprocess.run(["g++", *options, *flags], input=text, text=True, check=True)
    return ctypes.CDLL(str(path), mode=mode)


@pytest.fixture(scope="session")
def host_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ctypes.CDLL]:
    """``compile_for_host``, with a new file for each text."""
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
