"""``check_jvp``: forward passes, the products of the Jacobian with a tangent."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.autodiff import own_jvp
from xpdl.gradcheck.function.blackbox import BlackBox, enter
from xpdl.gradcheck.function.complex_numbers import from_pairs
from xpdl.gradcheck.function.low_precision import low_dtypes
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.probe import Tensors, natural_scale
from xpdl.gradcheck.function.tensor import SMALL
from xpdl.gradcheck.report import Report, Vector
from xpdl.gradcheck.vector.judging import combined, judged
from xpdl.gradcheck.vector.linearity import with_linearity
from xpdl.randomness import Stream, generator

TANGENTS = 11
"""Random tangents for a larger tensor, as many as ``check_gradient`` looks along."""


def check_jvp(
    fun: Callable[..., Any], jvp: Callable[..., Any] | None, *args: Any, seed: int = 0, **options: Any
) -> Report:
    """Check whether ``jvp`` multiplies the Jacobian of ``fun`` with tangents: a forward pass.

    With a cotangent c, <c, jvp(t)> is the derivative of <c, fun(*args)> along t.  A tensor of up to 256 entries gets
    each unit vector as a tangent, so that the report is about entries; a larger one gets 11 random tangents, and the
    report is about these.  Sums of tangents then show whether ``jvp`` is linear in them.  Of a gradient, it is a
    Hessian-vector product.

    Parameters
    ----------
    fun : callable
        (*args) -> outputs: numbers, arrays of any shape, or dicts, lists and tuples of them.
    jvp : callable
        (tangents, *args) -> the tangent of the outputs.  Tangents have the form of the argument; of several arguments,
        they are a tuple.  The tangent of a constant is None.  None: the forward pass of the library of the arguments.
    *args : Any
        The point, as ``check_gradient`` takes it.
    seed : int, default 0
        The seed of cotangents, tangents and random directions.
    **options : Any
        The other keyword arguments of ``check_gradient``.

    Returns
    -------
    Report
        The verdict and a ``Parameter`` for each leaf of the arguments.  The numbers in it are those of one cotangent.

    Raises
    ------
    TypeError
        If an argument, or what a function returns, is of a wrong kind.
    ValueError
        If shapes do not fit, or numbers are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> x = np.array([0.5, 1.0])
    >>> xpdl.check_jvp(np.sin, lambda t, x: np.cos(x) * t, x).verdict
    'PASS'
    >>> def gradient(x):  # of sum(x**4)
    ...     return 4 * x**3
    >>> xpdl.check_jvp(gradient, lambda v, x: 12 * x**2 * v, x).verdict  # its Hessian times v
    'PASS'
    >>> xpdl.check_jvp(gradient, lambda v, x: 12 * x * v, x).verdict
    'FAIL'
    """
    jvp = own_jvp(fun) if jvp is None else jvp
    if not callable(jvp):
        raise TypeError(f"jvp must be a function of tangents and the arguments, got {checks.shorten(jvp)}")
    pairings = [Pairing(fun, seed), Pairing(fun, seed + 1, natural=True)]
    return combined([_judged(pairing, jvp, args, seed, options) for pairing in pairings])


def _judged(pairing: Pairing, jvp: Callable[..., Any], args: Sequence[Any], seed: int, options: Any) -> Report:
    """The report on one cotangent: about entries, or about coefficients of random tangents."""
    box, _, _ = enter(pairing, lambda *args: None, args, options.get("dtype"))
    forward = Forward(box, pairing, jvp)
    if sum(tensor.size for tensor in box.theta.values()) <= SMALL:
        report = judged(pairing, forward.gradient, args, seed, options)
    else:
        moving = Combination(forward, seed)
        report = judged(moving.value, moving.gradient, [moving.zeros], seed, options)
    return with_linearity(report, forward.along, box.theta, pairing.size(*box.place(box.theta)), seed)


class Forward:
    """A forward pass as a gradient: <c, jvp(t)> for each unit vector t."""

    def __init__(self, box: BlackBox, pairing: Pairing, jvp: Callable[..., Any]) -> None:
        self.box, self.pairing, self.jvp = box, pairing, jvp

    def along(self, tangents: Tensors, *args: Any) -> Any:
        """<c, jvp(t)> at the arguments, by default theta, where t is 0 in tensors that are not given."""
        zeros = {name: np.zeros_like(tensor) for name, tensor in self.box.theta.items()}
        placed = self.box.tangents(zeros | dict(tangents))
        given = placed[0] if len(placed) == 1 else placed
        return self.pairing.paired(self.jvp(given, *(args or self.box.place(self.box.theta))))

    def gradient(self, *args: Any) -> Any:
        """The gradient of <c, fun> at the arguments, by unit vectors in their precision."""
        self.box.own_dtypes = bool(low_dtypes(Arguments(args)))
        theta = self.box.theta.items()
        found = {name: np.array(list(self._entries(name, args))).reshape(t.shape) for name, t in theta}
        for name in self.box.complex_names:
            found[name] = from_pairs(found[name], conjugate=self.pairing.conjugate)
        gradients = self.box.arguments.filled(found)
        return gradients[0] if len(gradients) == 1 else gradients

    def _entries(self, name: str, args: Sequence[Any]) -> Iterator[float]:
        tensor = self.box.theta[name]
        for k in range(tensor.size):
            unit = np.zeros_like(tensor)
            unit.flat[k] = 1.0
            yield float(self.along({name: unit}, *args))


class Combination:
    """fun as a function of the coefficients of random tangents, TANGENTS for each tensor; they are 0 at theta."""

    def __init__(self, forward: Forward, seed: int) -> None:
        self.forward, drawn = forward, generator(seed, Stream.DATA, step=1)
        self.tangents: dict[str, Vector] = {}
        for name, tensor in forward.box.theta.items():
            signs = drawn.choice(np.array([-1.0, 1.0]), (TANGENTS, *tensor.shape))
            self.tangents[name] = signs * natural_scale(tensor)
        self.zeros = {name: np.zeros(TANGENTS) for name in self.tangents}

    def value(self, coefficients: Tensors) -> Any:
        """<c, fun(theta + sum of coefficient x tangent)>."""
        box = self.forward.box
        moved = {name: t + np.tensordot(coefficients[name], self.tangents[name], 1) for name, t in box.theta.items()}
        return self.forward.pairing(*box.place(moved))

    def gradient(self, coefficients: Tensors) -> Tensors:
        """The derivatives along the tangents, by the forward pass; only at theta."""
        along = self.forward.along
        return {n: np.array([float(along({n: t})) for t in self.tangents[n]]) for n in coefficients}
