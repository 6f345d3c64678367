"""The second order: a gradient is a function with outputs of its own, and its derivative is the Hessian H.

The gradient of <v, grad(*args)> is H v, because a Hessian is symmetric.  The library of the arguments computes H v, and
the check of a gradient judges it.  <u, H v> - <v, H u> tells whether what is differentiated is a gradient at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.gradcheck.function.autodiff import own_vjp
from xpdl.gradcheck.function.blackbox import enter
from xpdl.gradcheck.function.complex_numbers import as_pairs
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.probe import Tensors
from xpdl.gradcheck.report import Report, Vector, worst_verdict


class HessianProduct:
    """v -> H v of the function that has this gradient; ``value`` is <v, grad(*args)>, ``gradient`` is H v."""

    def __init__(self, grad: Callable[..., Any], seed: int) -> None:
        self.value = Pairing(grad, seed)
        self._product = own_vjp(grad)

    def gradient(self, *args: Any) -> Any:
        """H v at the arguments."""
        return self._product(self.value.cotangent(), *args)

    def asymmetry(self, args: Sequence[Any], dtype: str | None) -> str:
        """A note: <u, H v> and <v, H u>, and how far H (u + v) is from H u + H v."""
        box, _, _ = enter(self.value, self.gradient, args, dtype, conjugate=self.value.conjugate)
        v, hv = self.value.weights, box.gradient()
        u = {name: _ramp(weights) for name, weights in v.items()}
        self.value.weights = u
        hu, there = box.gradient(), _dot(u, hv)
        self.value.weights = {name: u[name] + v[name] for name in v}
        apart = max(float(np.max(np.abs(h - hu[name] - hv[name]))) for name, h in box.gradient().items())
        self.value.weights = v
        symmetric = f"<u, H v> = {there:.9g}, <v, H u> = {_dot(v, hu):.9g}; a Hessian is symmetric"
        return f"order 2: {symmetric}, and linear: H (u + v) is H u + H v to {apart:.1e}"


def _ramp(like: Vector) -> Vector:
    """Numbers from 1 to 2, complex if those are."""
    ramp = np.linspace(1, 2, like.size).reshape(like.shape)
    return ramp * (1 + 0.5j) if np.iscomplexobj(like) else ramp


def _dot(weights: Tensors, product: Tensors) -> float:
    """<w, H v>; outputs of a gradient and its arguments are in the same order."""
    pairs = zip(weights.values(), product.values(), strict=True)
    return float(sum(np.sum(as_pairs(w) * g) for w, g in pairs))


def both_orders(first: Report, second: Report, note: str) -> Report:
    """One report on the gradient and on the Hessian times a vector."""
    products = {f"H v of {name}": replace(p, name=f"H v of {name}") for name, p in second.parameters.items()}
    return replace(
        first,
        verdict=worst_verdict([first.verdict, second.verdict]),
        parameters={**first.parameters, **products},
        evaluations=first.evaluations + second.evaluations,
        seconds=first.seconds + second.seconds,
        notes=(*first.notes, *(f"order 2: {text}" for text in second.notes), note),
    )
