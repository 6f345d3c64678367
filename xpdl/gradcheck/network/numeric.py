"""The numeric derivatives with respect to every pre-activation, by the complex step or by central differences."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from xpdl.arrays import Array, namespace
from xpdl.gradcheck.network.bars import forward_errors
from xpdl.gradcheck.network.perturbation import Point, complex_step, cost_derivative, eps, quotients
from xpdl.progress import report

CACHE = 2**20
"""The largest array of moved units, in bytes, if the memory allows it.  A larger one would not stay in the cache."""


class NumericDeltas(NamedTuple):
    """The numeric derivatives with respect to z (n, n_l) of every layer, and their errors beyond rounding."""

    dz: list[Array]
    errors: list[Array] | None


class NumericMethod(NamedTuple):
    """A way to the numeric derivatives: (point, bytes of memory, whether to show progress), passes for each unit."""

    find: Callable[[Point, int, bool], NumericDeltas]
    passes: int


def _by_complex_step(at: Point, memory: int, progress: bool) -> NumericDeltas:
    """By the complex step, which has no error but rounding."""
    parts: list[list[Array]] = [[] for _ in at.layers]
    for l, units in _chunks(at, memory, progress, itemsize=16):
        parts[l].append(complex_step(at, l, units))
    return NumericDeltas([namespace(at.y).concat(part, axis=1) for part in parts], None)


def _by_central_differences(at: Point, memory: int, progress: bool) -> NumericDeltas:
    """By central differences; differences with h / 2 show their errors."""
    xp = namespace(at.y)
    steps = [_step(layer.z) for layer in at.layers]
    error = at.share * xp.expand_dims(_cost_error(at), axis=1)
    dz: list[list[Array]] = [[] for _ in at.layers]
    errors: list[list[Array]] = [[] for _ in at.layers]
    for l, units in _chunks(at, memory, progress, itemsize=8):
        h = steps[l][:, units]
        (*long, _), (*short, size) = (quotients(at, l, units, step) for step in (h, h / 2))
        dz[l].append(sum(short) / 2)
        kink = xp.abs(2 * (short[1] - short[0]) - (long[1] - long[0]))
        change = xp.abs(sum(short) - sum(long))
        rough = change > 1e-3 * (xp.abs(sum(short)) + xp.abs(sum(long)))  # h is too long to tell anything
        sides = sum(xp.abs(side) for side in (*long, *short))
        floor = error / h + 16 * eps(at.y) * size
        errors[l].append(4 * change + kink + 8 * xp.astype(rough, change.dtype) * sides + 2 * floor)
    return NumericDeltas(*([xp.concat(part, axis=1) for part in parts] for parts in (dz, errors)))


def _step(z: Array) -> Array:
    """h = u^(1/3) |z|, and for z near 0 u^(1/3), or less if all z are small."""
    xp = namespace(z)
    size = xp.abs(z)
    return eps(z) ** (1 / 3) * xp.maximum(size, xp.full_like(z, min(float(xp.mean(size)) or 1.0, 1.0)))


def _chunks(at: Point, memory: int, progress: bool, itemsize: int) -> Iterator[tuple[int, slice]]:
    """Yield each layer with the units in it that are moved together."""
    n = at.y.shape[0]
    with report(sum(layer.z.shape[1] for layer in at.layers), "checking", shown=progress) as reporter:
        for l, layer in enumerate(at.layers):
            onward = at.layers[min(l + 1, len(at.layers) - 1)].z.shape[1]
            units = max(1, min(memory // 8, CACHE) // (n * onward * itemsize))
            for start in range(0, layer.z.shape[1], units):
                stop = min(start + units, layer.z.shape[1])
                yield l, slice(start, stop)
                reporter.advance(stop - start)


def _cost_error(at: Point) -> Array:
    """The rounding error of the cost of each sample (n,): its own, and what errors of the logits cause."""
    xp = namespace(at.y)
    z = at.layers[-1].z
    logits = xp.abs(cost_derivative(at, z)) * xp.sqrt(forward_errors(at)[-1].z)
    return 16 * eps(at.y) * (xp.abs(at.costs(z)) + xp.sum(logits, axis=1))


NUMERIC_METHODS = {
    "complex": NumericMethod(_by_complex_step, 1),
    "central": NumericMethod(_by_central_differences, 6),
}
