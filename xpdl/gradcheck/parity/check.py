"""``check_backends``: does a computation give the same results on several array libraries and devices?

Each backend computes the cost and its gradient, and every quantity on the way is compared (quantities.py).  Reduced
precision averages out in long sums, so matrix products are also tested with special factors (products.py).
"""

from collections.abc import Sequence
import math
import time
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.backends import Backend, available_backends, backend
from xpdl.data import inputs
from xpdl.gradcheck.parity.products import compiled_note, kept_bits
from xpdl.gradcheck.parity.quantities import compare_backward, compare_forward, compute, judged
from xpdl.gradcheck.parity.report import BackendResult, BackendsReport
from xpdl.gradcheck.problem import Problem, supports
from xpdl.gradcheck.report import difference
from xpdl.network import Network


@np.errstate(all="ignore")
def check_backends(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    *,
    backends: Sequence[str | Backend] | None = None,
    masks: Sequence[Any] | None = None,
    dtype: str = "float32",
) -> BackendsReport:
    """Compute the cost of a network and its gradient on several backends, and name what is wrong first on each.

    Operations run one by one, as in ``net.loss_and_grad``.  If matrix products lose bits, a note says whether they
    also do so in a compiled step, which ``train`` uses.  A backend that raises an exception fails; the others are still
    compared.

    Parameters
    ----------
    net : Network
        The network.
    theta : array (P,)
        Its parameters, in any library.
    x : array (n, d)
        The samples; a few hundred are enough.
    y : array (n,) or (n, k)
        Their labels or targets.
    backends : sequence of str or Backend, optional
        The backends, as ``xpdl.backend`` takes or returns them; by default all that are ready.
    masks : sequence of array (n, units) or None, optional
        The dropout masks of the cost, as ``net.loss`` takes them.
    dtype : {"float32", "float64"}, default "float32"
        The dtype in which backends compute; those without float64 compute in float32.

    Returns
    -------
    BackendsReport
        A result for each backend, and a verdict.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If an argument has a wrong shape or value.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 2])
    >>> x, y = np.array([[0.1, -0.2], [0.3, 0.5]]), np.array([0, 1])
    >>> report = xpdl.check_backends(net, net.initialize(0), x, y, backends=["numpy"])
    >>> report.verdict, report.backends["numpy"].precision
    ('PASS', 'float32')
    """
    started = time.perf_counter()
    problem = _enter(net, theta, x, y, masks, checks.float_dtype("dtype", dtype))
    results = {home.name: _check(problem, home) for home in _chosen(backends)}
    return BackendsReport(results, time.perf_counter() - started)


def _enter(net: Network, theta: Any, x: Any, y: Any, masks: Any, dtype: str) -> Problem:
    """The problem on the host."""
    host = backend("numpy")
    x, y = inputs.pair(net, x, y, host, dtype)
    if isinstance(masks, Sequence):
        masks = [mask if mask is None else host.asarray(mask, dtype) for mask in masks]
    problem = Problem(net, host, inputs.parameters(net, theta, host, dtype), x, y, masks)
    with host.activate():
        if not np.isfinite(net.forward(problem.theta, x, masks)[-1].z).all():
            raise ValueError(f"theta must give finite logits for x in {dtype}, got NaN or infinity")
    return problem


def _chosen(backends: Any) -> list[Backend]:
    """The backends to compare, each once."""
    if backends is None:
        backends = [name for name, state in available_backends().items() if state == "ready"]
    if isinstance(backends, str) or not isinstance(backends, Sequence):
        raise TypeError(f"backends must be a list of names or backends, got {checks.shorten(backends)}")
    chosen = [backend(one) for one in backends]
    names = [home.name for home in chosen]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"backends must hold at least one, and none twice, got {names}")
    return chosen


def _check(problem: Problem, home: Backend) -> BackendResult:
    """Compare what one backend computes with float64 on the host."""
    dtype, notes = _precision(home, checks.dtype_name(problem.theta.dtype))
    entered = problem.on(problem.home, dtype)
    try:
        ran, bits = compute(entered.on(home, dtype)), kept_bits(entered, home)
        notes += compiled_note(entered, home, bits)
    except Exception as error:  # a library can raise anything, and the other backends must still be compared
        failed = f"cannot compute this: {type(error).__name__}: {error}"
        return BackendResult(home.name, dtype, math.nan, {}, {}, (*notes, failed))
    exact = entered.on(problem.home, "float64")
    with problem.home.activate():
        reference = compute(exact)
        comparisons = [*compare_forward(exact, reference.layers[0].x, ran), *compare_backward(exact, ran)]
        quantities = {comparison.name: judged(comparison, dtype) for comparison in comparisons}
        apart = difference(ran.grad, reference.grad)
    return BackendResult(home.name, dtype, apart, quantities, bits, notes)


def _precision(home: Backend, dtype: str) -> tuple[str, tuple[str, ...]]:
    """The dtype in which a backend computes, and a note on it."""
    return (dtype, ()) if supports(home, dtype) else ("float32", (f"has no {dtype}: checked in float32",))
