"""``Pairing``: a function of any outputs as the scalar <c, fun(*args)>, with a cotangent c for each output.

The weights of a cotangent are +-1 to +-2, so that no output is overlooked and no linear combination is 0 by chance.
A second cotangent weighs each output by its size, too: a small output next to large ones has as much to say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.backends import backend_of
from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import fetch, place
from xpdl.gradcheck.function.memory_layout import Strides, rows
from xpdl.gradcheck.function.probe import natural_scale
from xpdl.gradcheck.report import FAIL, Report, Vector
from xpdl.randomness import Stream, generator

SINGLE = ("float16", "bfloat16", "float32", "complex64")


class Pairing:
    """fun(*args) -> <c, fun(*args)>.

    outputs   the outputs at the first call, taken apart
    weights   the cotangent, by the name of the output
    strides   those of a cotangent of some shape
    """

    def __init__(self, fun: Callable[..., Any], seed: int, *, natural: bool = False) -> None:
        self.fun, self.natural = fun, natural
        self._generator = generator(seed, Stream.DATA)
        self.outputs: Arguments | None = None
        self.weights: dict[str, Vector] = {}
        self.strides: Callable[[Sequence[int]], Strides] = rows
        self.given: Any = None  # the last cotangent

    def __call__(self, *args: Any) -> Any:
        """<c, fun(*args)>, in the precision of the outputs."""
        result = self.fun(*args)
        if self.outputs is None:
            self._enter(result)
        return self.paired(result)

    def _enter(self, result: Any) -> None:
        """Draw a cotangent for the outputs at the first call."""
        self.outputs = Arguments([result], "output")
        if not self.outputs.variables:
            raise TypeError(f"fun must return floating arrays or numbers, got {checks.shorten(result)}")
        for name, leaf in self.outputs.variables.items():
            values = fetch(leaf)
            signs = self._generator.choice(np.array([-1.0, 1.0]), values.shape)
            weights = signs * self._generator.uniform(1, 2, values.shape)
            scale = natural_scale(values) if self.natural else 1.0
            self.weights[name] = (weights / scale).astype(np.float32).astype(np.float64)  # exact in any precision

    def paired(self, result: Any) -> Any:
        """<c, result> for outputs, or for what has their form, such as a tangent."""
        found = self._matched(result)
        total = sum(np.sum(weights * found[name]) for name, weights in self.weights.items())
        single = all(checks.dtype_name(leaf.dtype) in SINGLE for leaf in found.values())
        return total.astype(np.complex64 if np.iscomplexobj(total) else np.float32) if single else total[()]

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
        """A new cotangent of the form of the outputs, in arrays of their library."""
        assert self.outputs is not None
        leaves = {name: self._like(leaf, self.weights[name]) for name, leaf in self.outputs.variables.items()}
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


def judged(
    fun: Callable[..., Any], gradient: Callable[..., Any], args: Sequence[Any], seed: int, options: Mapping[str, Any]
) -> Report:
    """The report of check_gradient on a pairing."""
    return check_gradient(fun, gradient, *args, seed=seed, **options)


def combined(reports: Sequence[Report]) -> Report:
    """The first report, or the first that fails: a second look may find more, and is not asked for more."""
    first = reports[0]
    chosen = next((report for report in reports if report.verdict == FAIL), first)
    evaluations, seconds = (sum(column) for column in zip(*((r.evaluations, r.seconds) for r in reports), strict=True))
    return replace(chosen, evaluations=evaluations, seconds=seconds)
