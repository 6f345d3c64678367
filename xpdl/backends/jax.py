"""JAX: "jax" is its default device, then "jax:cpu", "jax:gpu", "jax:gpu:1"."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as xp

from xpdl.backends.base import Backend, check_dtype


def admit(backend: Backend, dtype: str) -> None:
    """Turn on JAX's 64-bit types when one is asked for: without them it would hand out 32-bit ones instead."""
    if dtype in ("float64", "complex128", "int64", "uint64"):
        jax.config.update("jax_enable_x64", True)
    check_dtype(backend, dtype)


def compile(step: Callable[..., Any]) -> Callable[..., Any]:
    """``jax.jit`` that reuses the memory of the first argument, and multiplies float32 in float32 (no silent TF32)."""

    def precise(*arguments: Any) -> Any:
        with jax.default_matmul_precision("float32"):
            return step(*arguments)

    compiled: Callable[..., Any] = jax.jit(precise, donate_argnums=0)
    return compiled


def synchronize() -> None:
    """Wait for every array there is."""
    jax.block_until_ready(jax.live_arrays())


def connect(name: str, device: str) -> Backend:
    """A JAX device; ``RuntimeError`` if there is none like it."""
    platform, _, index = device.partition(":")
    if not (index or "0").isdecimal():
        raise ValueError(f"backend 'jax' takes a platform and a number, as in 'jax:gpu:1', got {device!r}")
    found = jax.devices(platform or None)
    if int(index or 0) >= len(found):
        raise RuntimeError(f"JAX finds {len(found)} device(s) of this kind, and they are counted from 0")
    target = found[int(index or 0)]
    return Backend(
        name,
        xp,
        target,
        to_numpy=jax.device_get,
        admit=admit,
        compile=compile,
        synchronize=synchronize,
        eager=False,
    )
