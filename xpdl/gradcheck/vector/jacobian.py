"""``check_jacobian``: whole Jacobians."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import fetch
from xpdl.gradcheck.function.complex_numbers import complex_names
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.sparse import dense
from xpdl.gradcheck.report import Report, Vector
from xpdl.gradcheck.vector.judging import combined, judged
from xpdl.gradcheck.vector.outputs import with_output


def check_jacobian(
    fun: Callable[..., Any], jac: Callable[..., Any], *args: Any, seed: int = 0, **options: Any
) -> Report:
    """Check whether ``jac`` is the Jacobian of ``fun`` at the arguments.

    The rows of the Jacobian J are combined with two random cotangents c; c J is the gradient of <c, fun(*args)>, which
    ``check_gradient`` judges.  If it is wrong, halving the cotangent leads to the pair of output and input.

    Parameters
    ----------
    fun : callable
        (*args) -> outputs: numbers, arrays of any shape, or dicts, lists and tuples of them.
    jac : callable
        (*args) -> for each output a Jacobian of shape (*out, *in); of several arguments, a tuple of them.
    *args : Any
        The point, as ``check_gradient`` takes it.
    seed : int, default 0
        The seed of the cotangents and of random directions.
    **options : Any
        The other keyword arguments of ``check_gradient``.

    Returns
    -------
    Report
        The verdict and a ``Parameter`` for each leaf of the arguments.  The numbers of a wrong one are entries of the
        Jacobian of one output, which the diagnosis names.

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
    >>> a = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> xpdl.check_jacobian(lambda x: a @ x, lambda x: a, np.ones(2)).verdict
    'PASS'
    >>> wrong = a + np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> report = xpdl.check_jacobian(lambda x: a @ x, lambda x: wrong, np.ones(2))
    >>> report.parameters["theta"].diagnosis
    'only 1 of 2 entries wrong: [1]; J[1, 1] is 5, and 4 numerically'
    """
    if not callable(jac):
        raise TypeError(f"jac must be a function of the arguments, got {checks.shorten(jac)}")
    arguments = Arguments(args)

    def gradient(pairing: Pairing) -> Callable[..., Any]:
        return lambda *args: _combined_rows(pairing, arguments, jac(*args))

    pairings = [Pairing(fun, seed), Pairing(fun, seed + 1, natural=True)]
    report = combined([judged(pairing, gradient(pairing), args, seed, options) for pairing in pairings])
    return with_output(report, pairings, gradient, args, seed, options) if report.verdict == "FAIL" else report


def _combined_rows(pairing: Pairing, arguments: Arguments, jacobian: Any) -> Any:
    """c J for each argument, in the form of a gradient."""
    assert pairing.outputs is not None
    rows = pairing.outputs.matched("jac", jacobian)
    found: dict[str, Vector] = {}
    for output, weights in pairing.weights.items():
        for name, part in arguments.matched("jac", rows[output]).items():
            shape = (*weights.shape, *np.shape(arguments.variables[name]))
            factors = weights if pairing.conjugate else np.conj(weights)
            combined_rows = np.tensordot(factors, _block(name, part, shape), weights.ndim)
            found[name] = found.get(name, 0.0) + (combined_rows if pairing.conjugate else np.conj(combined_rows))
    for name in found.keys() - complex_names(arguments):
        found[name] = found[name].real
    gradients = arguments.filled(found)
    return gradients[0] if len(gradients) == 1 else gradients


def _block(name: str, part: Any, shape: tuple[int, ...]) -> Vector:
    """The Jacobian of one output in one input, on the host; zeros for None."""
    block = np.zeros(shape) if part is None else fetch(dense(part))
    if block.shape != shape:
        raise ValueError(
            f"jac must return an array of shape {shape} (outputs, then inputs) for {name}, got {block.shape}"
        )
    return block
