"""The layout of theta: every parameter of a network in one flat vector.

    theta (P,) = [ W1 | W2 | ... | WL | b1 | b2 | ... | bL ]      W (n_in, n_out) row by row, b (n_out,)

With one vector, an optimizer, an L2 term, a gradient check, a checkpoint and an all-reduce are each one operation on
one array.  Weights come first, so all weights are a prefix, and biases of odd sizes do not spoil the alignment of the
matrices in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
import math

from xpdl.arrays import Array, namespace


@dataclass(frozen=True)
class Layout:
    """The place of each weight matrix and each bias in theta, for a network with these layer sizes."""

    sizes: tuple[int, ...]

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each parameter: [(n0, n1), ..., (n1,), ...]."""
        return [*pairwise(self.sizes), *((n,) for n in self.sizes[1:])]

    @cached_property
    def names(self) -> list[str]:
        """The name of each parameter: ["W1", ..., "WL", "b1", ..., "bL"]."""
        return [f"{letter}{l}" for letter in "Wb" for l in range(1, len(self.sizes))]

    @cached_property
    def slices(self) -> list[slice]:
        """The part of theta that holds each parameter."""
        ends = accumulate((math.prod(shape) for shape in self.shapes), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    @property
    def offsets(self) -> list[int]:
        """The beginning of each parameter in theta, and the end of the last one: [0, ..., P]."""
        return [0, *(part.stop for part in self.slices)]

    @property
    def size(self) -> int:
        """P, the length of theta."""
        return self.offsets[-1]

    @property
    def n_weights(self) -> int:
        """The length of the prefix of theta that holds all weights."""
        return int(self.slices[len(self.sizes) - 2].stop)

    def unpack(self, theta: Array) -> list[tuple[Array, Array]]:
        """theta (..., P) -> [(w (..., n_in, n_out), b (..., n_out)), ...], views where the library has them."""
        reshape = namespace(theta).reshape
        half = len(self.slices) // 2
        weights = zip(self.slices[:half], self.shapes[:half], strict=True)
        return [
            (reshape(theta[..., w], (*theta.shape[:-1], *shape)), theta[..., b])
            for (w, shape), b in zip(weights, self.slices[half:], strict=True)
        ]

    def pack(self, parameters: Sequence[tuple[Array, Array]]) -> Array:
        """The inverse of ``unpack``: [(w, b), ...] -> theta (..., P), a new array."""
        xp = namespace(parameters[0][0])
        flat = [xp.reshape(w, (*w.shape[:-2], -1)) for w, _ in parameters]
        return xp.concat([*flat, *(b for _, b in parameters)], axis=-1)
