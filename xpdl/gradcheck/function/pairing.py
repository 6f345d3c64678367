"""``Pairing``: a function of any outputs as the scalar <c, fun(*args)>, with a cotangent c for each output.

The weights of a cotangent are +-1 to +-2, so that no output is overlooked and no linear combination is 0 by chance.
A second cotangent weighs each output by its size, too: a small output next to large ones has as much to say.
"""

from collections.abc import Callable, Sequence
from typing import Any

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.backends import backend_of
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import fetch, place
from xpdl.gradcheck.function.memory_layout import Strides, rows
from xpdl.gradcheck.function.probe import natural_scale
from xpdl.gradcheck.report import Vector
from xpdl.randomness import Stream, generator

SINGLE = ("float16", "bfloat16", "float32", "complex64")


class Pairing:
    """fun(*args) -> <c, fun(*args)>.

    outputs   the outputs at the first call, taken apart
    weights   the cotangent, by the name of the output
    strides   those of a cotangent of some shape
    conjugate whether <c, out> is Re(sum(c out)), not Re(sum(conj(c) out)) (complex_numbers.py)
    """

    def __init__(self, fun: Callable[..., Any], seed: int, *, natural: bool = False) -> None:
        self.fun, self.natural = fun, natural
        self._generator = generator(seed, Stream.DATA)
        self.outputs: Arguments | None = None
        self._last: Any = None  # the outputs at the last call
        self.weights: dict[str, Vector] = {}
        self.strides: Callable[[Sequence[int]], Strides] = rows
        self.given: Any = None  # the last cotangent
        self.conjugate = self.has_complex = False

    def __call__(self, *args: Any) -> Any:
        """<c, fun(*args)>, in the precision of the outputs."""
        result = self.fun(*args)
        if self.outputs is None:
            self._enter(result)
        self._last = result
        return self.paired(result)

    def _enter(self, result: Any) -> None:
        """Draw a cotangent for the outputs at the first call."""
        self.outputs = Arguments([result], "output")
        if not self.outputs.variables:
            raise TypeError(f"fun must return floating arrays or numbers, got {checks.shorten(result)}")
        for name, leaf in self.outputs.variables.items():
            values = fetch(leaf)
            scale = natural_scale(np.abs(values)) if self.natural else 1.0
            self.weights[name] = self._drawn(values.shape) / scale
            if np.iscomplexobj(values):
                self.weights[name] = self.weights[name] + 1j * self._drawn(values.shape) / scale
                self.has_complex = True

    def _drawn(self, shape: tuple[int, ...]) -> Vector:
        """Weights that are exact in any precision: 1 to 2 in steps of 1 / 64, with signs."""
        signs = self._generator.choice(np.array([-1.0, 1.0]), shape)
        return np.asarray(signs * self._generator.integers(64, 129, shape) / 64)

    def paired(self, result: Any) -> Any:
        """<c, result> for outputs, or for what has their form, such as a tangent."""
        found = self._matched(result)
        total = sum(self._product(weights, found[name]) for name, weights in self.weights.items())
        single = all(checks.dtype_name(leaf.dtype) in SINGLE for leaf in found.values())
        return total.astype(np.complex64 if np.iscomplexobj(total) else np.float32) if single else total[()]

    def size(self, *args: Any) -> float:
        """<|c|, |fun(*args)|>."""
        found = self._matched(self.fun(*args))
        return float(sum(np.sum(np.abs(weights) * np.abs(found[name])) for name, weights in self.weights.items()))

    def _product(self, weights: Vector, found: Vector) -> Any:
        if not np.iscomplexobj(weights):
            return np.sum(weights * found)
        return np.sum((weights if self.conjugate else np.conj(weights)) * found).real

    def _matched(self, result: Any) -> dict[str, Vector]:
        """The outputs by name, on the host; ``ValueError`` if they do not have the form of the first ones."""
        assert self.outputs is not None
        found = self.outputs.matched("fun", result)
        shapes = {name: w.shape for name, w in self.weights.items()}
        leaves = {n: np.zeros(s) if found[n] is None else fetch(found[n]) for n, s in shapes.items()}
        for name, leaf in leaves.items():
            if leaf.shape != shapes[name]:
                raise ValueError(f"{name} must have shape {shapes[name]}, got {leaf.shape}")
        return leaves

    def cotangent(self) -> Any:
        """A new cotangent of the form of the last outputs, in arrays of their library and dtype."""
        assert self.outputs is not None
        last = self.outputs.matched("fun", self._last)
        leaves = {name: self._like(last[name], weights) for name, weights in self.weights.items()}
        self.given = self.outputs.filled(leaves)[0]
        return self.given

    def changed(self) -> str | None:
        """The place of the first entry that a function has changed in the last cotangent."""
        assert self.outputs is not None
        found = self.outputs.leaves_of([self.given])
        changed = (name for name, w in self.weights.items() if not np.array_equal(fetch(found[name]), w))
        return next(map(self.outputs.places.__getitem__, changed), None)

    def _like(self, leaf: Any, weights: Vector) -> Any:
        if not is_array_api_obj(leaf):
            return weights.item()
        home, dtype = backend_of(leaf), checks.dtype_name(leaf.dtype)
        try:
            return place(home, weights, None, dtype, self.strides(weights.shape))
        except ValueError:  # PyTorch has no negative strides
            return place(home, weights, None, dtype, None)
