"""JAX: "jax" is its default device, then "jax:cpu", "jax:gpu", "jax:gpu:1"."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as xp

from xpdl.backends.base import Backend, Simple, check_dtype


def admit(backend: Backend, dtype: str) -> None:
    """Turn on JAX's 64-bit types if one is needed; otherwise JAX would silently return 32-bit types."""
    if dtype in ("float64", "complex128", "int64", "uint64"):
        jax.config.update("jax_enable_x64", True)
    check_dtype(backend, dtype)


def fuse(kernel: Callable[..., Any], offsets: Sequence[int] = ()) -> Callable[..., Any]:
    """Return a function that applies the kernel to each parameter separately.

    The gradient is a concatenation of parts.  XLA reads such a part directly from its source, so the gradient is never
    joined in memory.  But XLA copies the parts of a vector that is already joined in memory.
    """

    def parted(*arguments: Any) -> tuple[Any, ...]:
        columns = [
            _parts(a, offsets) if getattr(a, "shape", ())[-1:] == (offsets[-1],) else [a] * (len(offsets) - 1)
            for a in arguments
        ]
        return tuple(map(_joined, zip(*(kernel(*part) for part in zip(*columns, strict=True)), strict=True)))

    return parted if offsets else kernel


def compile(step: Callable[..., Any], precision: str = "float32") -> Simple:
    """Return ``jax.jit`` of the step.  It reuses the memory of its first argument, and multiplies in this precision."""

    def precise(*arguments: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return step(*arguments)

    return Simple(jax.jit(precise, donate_argnums=0))


def repeat(step: Callable[..., Any], offsets: Sequence[int], precision: str = "float32") -> Simple:
    """Return a loop of steps on the device; between steps, theta and all vectors of its size stay split into parts."""

    def steps(run: Any, data: Any, count: int) -> Any:
        leaves, tree = jax.tree.flatten(run)
        vectors = [leaf.shape[-1:] == (offsets[-1],) for leaf in leaves]

        def parted(leaves: Sequence[Any]) -> list[Any]:
            return [_parts(leaf, offsets) if vector else leaf for leaf, vector in zip(leaves, vectors, strict=True)]

        def joined(leaves: Sequence[Any]) -> Any:
            whole = [_joined(leaf) if vector else leaf for leaf, vector in zip(leaves, vectors, strict=True)]
            return jax.tree.unflatten(tree, whole)

        def body(_: Any, leaves: Sequence[Any]) -> list[Any]:
            return parted(jax.tree.leaves(step(joined(leaves), data, None)))

        return joined(jax.lax.fori_loop(0, count, body, parted(leaves)))

    return compile(steps, precision)


def _parts(vector: Any, offsets: Sequence[int]) -> list[Any]:
    return [vector[..., start:stop] for start, stop in pairwise(offsets)]


def _joined(parts: Sequence[Any]) -> Any:
    return xp.concat(parts, axis=-1)


IN_TF32 = {
    "compile": partial(compile, precision="tensorfloat32"),
    "repeat": partial(repeat, precision="tensorfloat32"),
}


def was_number(leaf: Any) -> bool:
    """Return whether ``jax.jit`` made this array from a Python number: such arrays are weakly typed."""
    return isinstance(leaf, jax.Array) and leaf.weak_type and leaf.shape == ()


def synchronize() -> None:
    """Wait for all arrays of this process."""
    jax.block_until_ready(jax.live_arrays())


def vjp(
    fun: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[Any]
) -> tuple[Sequence[Any], Callable[..., Sequence[Any]]]:
    """Return outputs and their backward pass."""
    outputs, backward = jax.vjp(fun, list(arrays))
    return outputs, lambda cotangents: backward(list(cotangents))[0]


def jvp(fun: Callable[[Sequence[Any]], Sequence[Any]], arrays: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
    """Return the tangents of the outputs."""
    return jax.jvp(fun, (list(arrays),), (list(tangents),))[1]  # type: ignore[no-any-return]


def connect(name: str, device: str) -> Backend:
    """Return the backend of a JAX device; ``RuntimeError`` if there is no such device."""
    platform, _, index = device.partition(":")
    if not (index or "0").isdecimal():
        raise ValueError(f"backend 'jax' takes a platform and a number, as in 'jax:gpu:1', got {device!r}")
    found = jax.devices(platform or None)
    if int(index or 0) >= len(found):
        raise RuntimeError(f"JAX finds {len(found)} device(s) of this kind, counted from 0")
    chosen = found[int(index or 0)]
    return Backend(
        name,
        xp,
        chosen,
        to_numpy=jax.device_get,
        admit=admit,
        fuse=fuse,
        compile=compile,
        repeat=repeat,
        synchronize=synchronize,
        eager=False,
        precisions={"tf32": IN_TF32} if chosen.platform == "gpu" else {},
        was_number=was_number,
        vjp=vjp,
        jvp=jvp,
        vmap=jax.vmap,
    )
