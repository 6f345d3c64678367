"""``check_vjp``: backward passes, the products of a cotangent with the Jacobian."""

from collections.abc import Callable
from typing import Any

from xpdl import checks
from xpdl.gradcheck.function.autodiff import own_vjp
from xpdl.gradcheck.function.blackbox import enter
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.report import FAIL, Report
from xpdl.gradcheck.vector.batched import with_batch
from xpdl.gradcheck.vector.cotangents import with_cotangents
from xpdl.gradcheck.vector.directions import with_forward
from xpdl.gradcheck.vector.judging import combined, judged
from xpdl.gradcheck.vector.outputs import with_output


def check_vjp(
    fun: Callable[..., Any],
    vjp: Callable[..., Any] | None,
    *args: Any,
    jvp: Callable[..., Any] | None = None,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Check whether ``vjp`` multiplies cotangents with the Jacobian of ``fun``: a backward pass.

    The vector-Jacobian product of a cotangent c is the gradient of <c, fun(*args)>.  ``check_gradient`` judges it for
    two random cotangents; the second weighs each output by its size.  Then ``vjp`` gets cotangents as callers hand them
    out: zeros, with the strides of a slice, a transpose or a reversed array, and one number for all entries.

    Parameters
    ----------
    fun : callable
        (*args) -> outputs: numbers, arrays of any shape, or dicts, lists and tuples of them.
    vjp : callable
        (cotangent, *args) -> the gradients: of one argument its gradient, of several a tuple.  The cotangent has the
        form of the outputs.  None: the backward pass of the library of the arguments (PyTorch, JAX), which is compared
        under vmap with a loop, too.
    *args : Any
        The point, as ``check_gradient`` takes it.
    jvp : callable, optional
        A forward pass, as ``check_jvp`` takes it.  It is checked as well, and both are held against each other.
    seed : int, default 0
        The seed of the cotangents and of random directions.
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
    >>> def forward(x, w):
    ...     return x @ w
    >>> def backward(dz, x, w):
    ...     return dz @ w.T, x.T @ dz
    >>> x, w = np.arange(6.0).reshape(2, 3), np.ones((3, 2))
    >>> xpdl.check_vjp(forward, backward, x, w).verdict
    'PASS'
    >>> report = xpdl.check_vjp(forward, lambda dz, x, w: (dz @ w.T, 2 * x.T @ dz), x, w)
    >>> report.parameters["args[0]"].verdict
    'PASS'
    >>> report.parameters["args[1]"].diagnosis.split("; ")
    ['2 x the numeric gradient: counted twice', 'd output[0, 0] / d args[1][1, 0] is 2, and 1 numerically']
    """
    backward = own_vjp(fun) if vjp is None else vjp
    if not callable(backward):
        raise TypeError(f"vjp must be a function of a cotangent and the arguments, got {checks.shorten(vjp)}")

    def gradient(pairing: Pairing) -> Callable[..., Any]:
        return lambda *args: backward(pairing.cotangent(), *args)

    pairings = [Pairing(fun, seed), Pairing(fun, seed + 1, natural=True)]
    reports = [judged(pairing, gradient(pairing), args, seed, options) for pairing in pairings]
    report = combined(reports)
    if report.verdict == FAIL:
        report = with_output(report, pairings, gradient, args, seed, options)
    else:
        box, _, _ = enter(pairings[0], gradient(pairings[0]), args, options.get("dtype"))
        report = with_batch(report, fun, box) if vjp is None else report
        report = with_cotangents(report, pairings[0], box)
    return with_forward(report, Pairing(fun, seed), gradient, jvp, args, seed, options) if jvp else report
