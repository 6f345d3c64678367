"""The machine on which numbers were measured; without it they mean nothing.

Only the standard library is needed.  No array library is imported, because some of them reserve a GPU on import.
"""

from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
import os
from pathlib import Path
import platform
import shlex
import subprocess
import sys
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = (
    *("xpdl", "numpy", "array-api-compat", "array-api-strict", "cupy-cuda12x", "cupy-cuda13x", "nvmath-python"),
    *("torch", "triton", "jax", "jaxlib", "scikit-learn", "scipy", "optuna"),
)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "XLA_FLAGS")


def describe() -> dict[str, Any]:
    """Return date, command line, device, processor, cores, versions and thread settings."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "device": device(),
        "driver": _gpu()[1],
        "cpu": _cpu(),
        "cores": _cores(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | {name: v for name in PACKAGES if (v := _version(name))},
        "threads": {name: os.environ.get(name) for name in THREADS} | {"pools": _pools()},
    }


def device() -> str:
    """Return the name of the first NVIDIA GPU, or "CPU"."""
    return _gpu()[0] or "CPU"


def _gpu() -> list[str | None]:
    """Return name and driver of the first NVIDIA GPU."""
    said = _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return [*said.splitlines()[0].split(", ")] if said else [None, None]


@cache
def _said(*command: str) -> str | None:
    """Return what a program prints; None if it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _pools() -> list[dict[str, Any]]:
    """Return the thread pools of libraries in this process, such as NumPy's BLAS, as threadpoolctl finds them."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    keys = ("internal_api", "version", "architecture", "num_threads")
    return [{key: pool.get(key) for key in keys} for pool in threadpool_info()]
