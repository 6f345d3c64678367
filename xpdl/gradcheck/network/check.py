"""``check_network``: is a gradient of a network's cost right, wrong, or beyond what this precision can tell?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
import math
from numbers import Real
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import backend, backend_of
from xpdl.backends.base import to_numpy
from xpdl.data import inputs
from xpdl.gradcheck.network.assumptions import (
    check_entry_by_entry,
    check_row_by_row,
    cost_not_analytic,
    not_analytic,
)
from xpdl.gradcheck.network.bars import forward_errors, kappa
from xpdl.gradcheck.network.diagnosis import diagnose
from xpdl.gradcheck.network.kinks import bends, limits
from xpdl.gradcheck.network.numeric import NUMERIC_METHODS, NumericDeltas
from xpdl.gradcheck.network.perturbation import (
    Point,
    complex_derivative,
    difference_derivative,
    eps,
    gradient,
    point,
)
from xpdl.gradcheck.network.ranges import allowances
from xpdl.gradcheck.problem import Problem, supports
from xpdl.gradcheck.report import (
    FAIL,
    INCONCLUSIVE,
    METHOD_TITLES,
    Parameter,
    Report,
    Vector,
    difference,
    judge,
    worst_verdict,
)
from xpdl.network import Network

MEMORY = 256 * 2**20

SAFETY = 32.0
"""The bar, in u kappa.  In 2,400 random networks, deep and saturated ones among them, the largest error was 10."""


class Tested(NamedTuple):
    """The gradient under test."""

    values: Vector  # (P,)
    info: "np.finfo[Any]"  # of its dtype
    complaints: tuple[str, ...]


class Measured(NamedTuple):
    """The numeric gradient, its error bars, and its limits at kinks, as NumPy arrays (P,)."""

    numeric: Vector
    bar: Vector
    low: Vector
    high: Vector
    kinks: list[tuple[int, int, int]]  # layer (from 1), unit, sample


@np.errstate(all="ignore")
def check_network(
    net: Network,
    theta: Any,
    x: Any,
    y: Any,
    grad: Callable[[Array], Array] | None = None,
    masks: Sequence[Any] | None = None,
    *,
    weight: Any = None,
    method: str = "auto",
    dtype: str = "float64",
    memory: int = MEMORY,
    progress: bool = False,
) -> Report:
    """Check every entry of a gradient of ``net.loss`` against the numeric gradient.

    The numeric gradient is always in float64.  It is computed on the device of theta, or on the host if that device
    has no float64 or its library (JAX) compiles every operation for every shape.  No tolerance has to be chosen: the
    error bar of each entry comes from a running error analysis (bars.py), and at kinks every value between the
    one-sided derivatives is right.

    Parameters
    ----------
    net : Network
        The network.
    theta : array (P,)
        The parameters, in any library; the gradient under test runs there.
    x : array (n, d)
        The samples.
    y : array (n,) or (n, k)
        Their labels or targets.
    grad : callable, optional
        (theta) -> (P,), the gradient under test; by default that of the network, ``net.loss_and_grad``.
    masks : sequence of array (n, units) or None, optional
        The dropout masks of the cost, as ``net.loss`` takes them.
    weight : array (n,) or (n, k), optional
        The weights of the samples, or of their outputs, in the cost.
    method : {"auto", "complex", "central"}, default "auto"
        How the numeric gradient is computed.  "complex": the complex step.  "central": central differences.  "auto":
        the complex step if activation and loss prove to be analytic in their branches, else central differences.
    dtype : {"float64", "float32"}, default "float64"
        The dtype in which the gradient under test is computed.
    memory : int, default 256 MiB
        The memory for moved units, in bytes.
    progress : bool, default False
        Whether a terminal shows a progress bar.

    Returns
    -------
    Report
        The verdict, and a ``Parameter`` for each of W1, W2, ..., b1, ...; those that fail have a diagnosis.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If an argument has a wrong shape or value, or if the method is "complex" and the complex step is not possible.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 2])
    >>> theta = net.initialize(0, "float64")
    >>> x, y = np.array([[0.1, -0.2], [0.3, 0.5], [-0.4, 0.7]]), np.array([0, 1, 1])
    >>> xpdl.check_network(net, theta, x, y).verdict
    'PASS'
    >>> def wrong(theta):
    ...     return -net.loss_and_grad(theta, x, y)[1]
    >>> xpdl.check_network(net, theta, x, y, wrong).parameters["W2"].diagnosis
    'dW2 has the wrong sign'
    """
    started = time.perf_counter()
    problem, reference, notes = _enter(net, theta, x, y, masks, weight, checks.float_dtype("dtype", dtype))
    tested = _tested(problem, grad)
    precision = checks.dtype_name(problem.theta.dtype)
    with reference.home.activate(), np.errstate(all="ignore"):
        at, name, reason = _point(reference, method)
        found = NUMERIC_METHODS[name].find(at, checks.integer("memory", memory, least=1), progress)
        measured = _measure(at, found, tested.info)
        parameters = _diagnosed(_judged(problem.net, tested.values, measured), reference, at, found)
    verdict = worst_verdict([p.verdict for p in parameters.values()] + [INCONCLUSIVE] * bool(tested.complaints))
    return Report(
        verdict=verdict,
        difference=difference(tested.values, measured.numeric),
        parameters=parameters,
        method=METHOD_TITLES[name],
        precision=precision,
        evaluations=NUMERIC_METHODS[name].passes * sum(layer.z.shape[1] for layer in at.layers),
        seconds=time.perf_counter() - started,
        notes=(
            *notes,
            *reason,
            *tested.complaints,
            *_range_notes(measured, precision),
            *_kink_notes(measured, parameters),
            *_l2_notes(at),
        ),
    )


# What is checked


def _enter(
    net: Network, theta: Any, x: Any, y: Any, masks: Sequence[Any] | None, weight: Any, dtype: str
) -> tuple[Problem, Problem, tuple[str, ...]]:
    """The problem for the gradient under test, the same problem for the numeric gradient, and notes on them."""
    checks.instance("net", net, Network)
    home = backend_of(theta) if hasattr(theta, "dtype") else backend("numpy")
    judged = dtype if supports(home, dtype) else "float32"
    x, y, weight = inputs.weighted(net, x, y, weight, home, judged, argument="weight")
    entered = None if masks is None else [mask if mask is None else home.asarray(mask, judged) for mask in masks]
    problem = Problem(net, home, inputs.parameters(net, theta, home, judged), x, y, entered, weight)
    double = supports(home, "float64")
    if double and home.eager:
        return problem, problem.on(home, "float64"), ()
    notes = () if double else (f"{home.name} has no float64: the gradient under test is in float32",)
    return problem, problem.on(backend("numpy"), "float64"), notes


def _tested(problem: Problem, grad: Callable[[Array], Array] | None) -> Tested:
    """The gradient under test.  It is called twice: it must not change theta, and must give the same values twice."""
    net, home = problem.net, problem.home
    function = grad or (lambda theta: net.loss_and_grad(theta, *problem.samples)[1])
    theta = home.asarray(problem.theta, copy=True)
    with home.activate():
        first, second = (_array(function(theta), net.size) for _ in range(2))
    if first.shape != (net.size,) or first.dtype.kind != "f":
        raise ValueError(f"grad must return {net.size} floating numbers, got {first.dtype} of shape {first.shape}")
    complaints = []
    if not np.array_equal(to_numpy(theta), to_numpy(problem.theta)):
        complaints.append("grad changes the theta it is given: no result of it can be trusted")
    elif not np.array_equal(first, second, equal_nan=True):
        complaints.append("grad gives different values for the same theta: fix its random numbers, pass masks")
    return Tested(first.astype(np.float64), np.finfo(first.dtype), tuple(complaints))


def _array(value: Any, size: int) -> Vector:
    """The result of grad as a NumPy array.  It may be a list of numbers, but not a list or tuple of arrays."""
    if value is None or (isinstance(value, tuple | list | dict) and not all(isinstance(v, Real) for v in value)):
        kind = "None" if value is None else f"a {type(value).__name__}"
        raise ValueError(f"grad must return an array of shape ({size},), got {kind}")
    return np.array(to_numpy(value))


# The numeric gradient


def _point(problem: Problem, method: str) -> tuple[Point, str, tuple[str, ...]]:
    """The forward pass, the method, and a note if "auto" had to do without the complex step."""
    checks.choice("method", method, ["auto", *NUMERIC_METHODS])
    at = point(problem.net, problem.theta, *problem.samples, complex_derivative)
    hidden = [layer.z for layer in at.layers[:-1]]
    if not bool(namespace(at.y).all(namespace(at.y).isfinite(at.layers[-1].z))):
        raise ValueError("theta must give finite logits for x to be checked, got NaN or infinity")
    check_entry_by_entry(problem, hidden)
    check_row_by_row(problem, to_numpy(at.layers[-1].z), to_numpy(at.y))
    fault = None
    if method != "central":
        faults = (not_analytic(f, [z]) for f, z in zip(at.functions, hidden, strict=False))
        fault = next(filter(None, faults), None) or cost_not_analytic(at)
    if fault is None and method != "central":
        return at, "complex", ()
    if method == "complex":
        raise ValueError(f"method 'complex' cannot be used: {fault}")
    return at._replace(derive=difference_derivative), "central", (fault,) if fault else ()


def _measure(at: Point, found: NumericDeltas, info: "np.finfo[Any]") -> Measured:
    """The numeric gradient with error bars for a gradient under test in this dtype, and limits at kinks."""
    xp = namespace(at.y)
    forward = forward_errors(at)
    numeric = gradient(at, found.dz)
    rounding = SAFETY * (float(info.eps) + eps(at.y))
    terms = kappa(at, found.dz, forward) + math.sqrt(xp.finfo(at.y.dtype).smallest_normal)  # squares of less are 0
    bar = rounding * terms
    if found.errors is not None:
        sizes = [xp.matrix_transpose(xp.abs(layer.x)) for layer in at.layers]
        bar = bar + at.net.pack([(x @ e, xp.sum(e, axis=0)) for x, e in zip(sizes, found.errors, strict=True)])
    bent = bends(at, forward)
    kinks = [(l, unit, s) for l, b in enumerate(bent, 1) for s, unit in np.argwhere(to_numpy(b.kinks)).tolist()]
    low, high = numeric, numeric
    if kinks:
        low, high = limits(at, bent, found.dz[-1])
        bar = bar + rounding * (high - low)
    numeric, low, high = (np.asarray(to_numpy(v), np.float64) for v in (numeric, low, high))
    bar = np.array(to_numpy(bar), np.float64)
    allowed = allowances(at, found.dz, forward, info, stepped=found.errors is None)
    for part, allowance in zip(at.net.layout.slices, 2 * allowed, strict=True):
        bar[part] += allowance
    return _finite(Measured(numeric, bar, low, high, kinks), rounding * float(info.max))


def _finite(measured: Measured, most: float) -> Measured:
    """The same, but with an infinite bar where a bar exceeds ``most``, or another number is not finite."""
    numeric, bar, low, high, kinks = measured
    if np.max(bar) <= most and np.isfinite(np.sum(numeric)) and np.isfinite(np.sum(high - low)):
        return measured
    unknown = ~((bar <= most) & np.isfinite(numeric) & np.isfinite(high - low))
    numeric, low, high = (np.where(unknown, 0.0, v) for v in (numeric, low, high))
    return Measured(numeric, np.where(unknown, np.inf, bar), low, high, kinks)


# Verdicts and notes


def _judged(net: Network, analytic: Vector, measured: Measured) -> dict[str, Parameter]:
    """The verdict on each tensor."""
    parameters = {}
    for name, part, shape in zip(net.names, net.layout.slices, net.shapes, strict=True):
        vectors = (analytic, measured.numeric, measured.bar, measured.low, measured.high)
        tensor, numeric, bar, low, high = (v[part].reshape(shape) for v in vectors)
        unknown, between = bar == np.inf, (low, high) if measured.kinks else None
        found = judge(name, np.where(unknown, 0.0, tensor) if unknown.any() else tensor, numeric, bar, between=between)
        if unknown.any():
            verdict = FAIL if found.verdict == FAIL else INCONCLUSIVE
            found = replace(found, verdict=verdict, unseen=found.unseen + int(unknown.sum()), analytic=tensor)
        parameters[name] = found
    return parameters


def _range_notes(measured: Measured, precision: str) -> list[str]:
    """A note if numbers are too large."""
    unknown = int(np.sum(measured.bar == np.inf))
    why = f"cannot be judged: numbers on the way to them are too large for {precision}"
    return [f"{unknown} entries {why}"] if unknown else []


def _diagnosed(
    parameters: dict[str, Parameter], problem: Problem, at: Point, found: NumericDeltas
) -> dict[str, Parameter]:
    """The same verdicts, with the probable cause of each failure."""
    if worst_verdict(p.verdict for p in parameters.values()) != FAIL:
        return parameters
    here = problem.on(backend("numpy"), "float64")
    host = point(here.net, here.theta, *here.samples, at.derive)
    causes = diagnose(host, [np.asarray(to_numpy(d)) for d in found.dz], parameters)
    return {name: replace(p, diagnosis=causes.get(name)) for name, p in parameters.items()}


def _kink_notes(measured: Measured, parameters: dict[str, Parameter]) -> list[str]:
    """A note if entries pass only because a unit is at a kink: how many, and at which kinks."""
    if not measured.kinks:
        return []
    apart = [np.abs(p.analytic - p.numeric) > p.bar for p in parameters.values()]
    excused = sum(int(a.sum()) for a in apart) - sum(p.failing for p in parameters.values())
    if excused <= 0:
        return []
    places = "; ".join(f"layer {l}, unit {unit}, sample {s}" for l, unit, s in measured.kinks[:3])
    more = f" and {len(measured.kinks) - 3} more" if len(measured.kinks) > 3 else ""
    return [f"{excused} entries lie between the one-sided derivatives at kinks: {places}{more}"]


def _l2_notes(at: Point) -> list[str]:
    """A note if all biases are 0, because then an L2 term on them cannot be seen."""
    hidden = at.net.l2 > 0 and not any(to_numpy(b).any() for b in at.biases)
    return ["all biases are 0: an L2 term on them would not show"] if hidden else []
