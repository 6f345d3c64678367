"""``check_network``: is a gradient of a network's cost right, wrong, or beyond what this precision can tell?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from numbers import Real
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.backends import Backend, backend, backend_of
from xpdl.backends.base import to_numpy
from xpdl.data import inputs
from xpdl.gradcheck.network.bars import forward_errors, kappa
from xpdl.gradcheck.network.diagnosis import diagnose
from xpdl.gradcheck.network.kinks import bends, limits
from xpdl.gradcheck.network.perturbation import (
    STEP,
    Point,
    complex_slope,
    complex_step,
    cost_slope,
    difference_slope,
    difference_step,
    directions,
    eps,
    gradient,
    point,
    quotients,
)
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, Parameter, Report, Vector, difference, judge, worst_verdict
from xpdl.network import Network
from xpdl.progress import report

MEMORY = 256 * 2**20
CACHE = 2**20
"""Bytes of the largest array in which units are moved at a time, if the budget allows: larger ones leave the cache."""

SAFETY = 32.0
"""The bar, in u kappa.  In 2,400 random networks, deep and saturated ones among them, the largest error was 10."""

MIXING = 1e-10
"""A larger change of f(z) than this part of f(z) and z is no rounding."""


class Problem(NamedTuple):
    """What is checked, on one device and in one precision."""

    net: Network
    home: Backend
    theta: Array
    x: Array
    y: Array  # targets (n, k)
    masks: list[Array | None] | None
    weight: Array | None = None  # (n,)

    @property
    def samples(self) -> tuple[Array, Array, list[Array | None] | None, Array | None]:
        """What ``Network.loss`` takes after theta."""
        return self.x, self.y, self.masks, self.weight

    def on(self, home: Backend, dtype: str) -> "Problem":
        """The same elsewhere, in another precision."""

        def put(values: Array) -> Array:
            return home.asarray(values, None if checks.dtype_name(values.dtype) == "uint8" else dtype)

        masks = None if self.masks is None else [mask if mask is None else put(mask) for mask in self.masks]
        weight = None if self.weight is None else put(self.weight)
        return Problem(self.net, home, put(self.theta), put(self.x), put(self.y), masks, weight)


class Tested(NamedTuple):
    """What the gradient under test said."""

    values: Vector  # (P,)
    eps: float  # the unit round-off of its dtype
    complaints: tuple[str, ...]


class Found(NamedTuple):
    """The numeric derivatives with respect to z (n, n_l) of every layer, and their errors beyond rounding."""

    dz: list[Array]
    noise: list[Array] | None


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
    """Compare a gradient of net.loss with the numeric one, in every entry.

    theta, x, y  as for ``train``, in any library; the gradient under test runs there
    grad         f(theta) -> (P,), the gradient under test; default the network's own
    masks        the dropout masks of the cost, as ``net.loss`` takes them
    weight       (n,): the weights of the samples, likewise
    method       "complex" step, "central" differences, or "auto": the complex step if the activation is analytic in
                 its branches, which is tried out and not assumed
    dtype        in which the gradient is computed, "float64" or "float32"
    memory       bytes that moved units may take

    The numeric gradient is always in float64: on the device of theta, or on the host if that device has no float64 or
    its library (JAX) compiles every operation anew for every shape.  report.py says how verdicts come about, bars.py
    where the error bars come from.
    """
    started = time.perf_counter()
    problem, reference, notes = _enter(net, theta, x, y, masks, weight, checks.float_dtype("dtype", dtype))
    tested = _tested(problem, grad)
    with reference.home.activate():
        at, name, reason = _point(reference, method)
        found = METHODS[name].find(at, checks.integer("memory", memory, least=1), progress)
        measured = _measure(at, found, tested.eps)
        parameters = _judge(problem.net, tested.values, measured)
        if worst_verdict(p.verdict for p in parameters.values()) == FAIL:
            causes = diagnose(*_on_host(reference, at, found), parameters)
            parameters = {name: replace(p, diagnosis=causes.get(name)) for name, p in parameters.items()}
    verdict = worst_verdict([p.verdict for p in parameters.values()] + [INCONCLUSIVE] * bool(tested.complaints))
    return Report(
        verdict=verdict,
        difference=difference(tested.values, measured.numeric),
        parameters=parameters,
        method=METHODS[name].title,
        precision=checks.dtype_name(problem.theta.dtype),
        evaluations=METHODS[name].passes * sum(layer.z.shape[1] for layer in at.layers),
        seconds=time.perf_counter() - started,
        notes=(*notes, *reason, *tested.complaints, *_kink_notes(measured, parameters), *_l2_notes(at)),
    )


def _enter(
    net: Network, theta: Any, x: Any, y: Any, masks: Sequence[Any] | None, weight: Any, dtype: str
) -> tuple[Problem, Problem, tuple[str, ...]]:
    """The problem as the gradient under test sees it, and as the numeric one does; and what to say of it."""
    checks.instance("net", net, Network)
    home = backend_of(theta) if hasattr(theta, "dtype") else backend("numpy")
    judged = dtype if _has(home, dtype) else "float32"
    x, y = inputs.pair(net, x, y, home, judged)
    weight = inputs.weights(weight, x.shape[0], home, judged, argument="weight")
    entered = None if masks is None else [mask if mask is None else home.asarray(mask, judged) for mask in masks]
    problem = Problem(net, home, inputs.parameters(net, theta, home, judged), x, y, entered, weight)
    if _has(home, "float64") and home.eager:
        return problem, problem.on(home, "float64"), ()
    reasons = () if _has(home, "float64") else (f"{home.name} has no float64: the gradient under test is in float32",)
    return problem, problem.on(backend("numpy"), "float64"), reasons


def _has(home: Backend, dtype: str) -> bool:
    try:
        home.admit(home, dtype)
    except ValueError:
        return False
    return True


def _tested(problem: Problem, grad: Callable[[Array], Array] | None) -> Tested:
    """Call the gradient under test, twice: it must not change theta, and give the same each time."""
    net, home = problem.net, problem.home
    function = grad or (lambda theta: net.loss_and_grad(theta, *problem.samples)[1])
    theta = home.asarray(problem.theta, copy=True)
    with home.activate():
        first, second = (_array(function(theta), net.size) for _ in range(2))
    if first.shape != (net.size,) or first.dtype.kind != "f":
        raise ValueError(f"grad must return {net.size} floating numbers, got {first.dtype} of shape {first.shape}")
    complaints = []
    if not np.array_equal(to_numpy(theta), to_numpy(problem.theta)):
        complaints.append("grad changes the theta it is given: nothing that depends on its answers can be trusted")
    elif not np.array_equal(first, second, equal_nan=True):
        complaints.append("grad gives different values for the same theta: fix its random numbers, pass masks")
    return Tested(first.astype(np.float64), float(np.finfo(first.dtype).eps), tuple(complaints))


def _array(value: Any, size: int) -> Vector:
    """What grad returned, as a NumPy array; numbers in a list will do, arrays in a tuple or list will not."""
    if value is None or (isinstance(value, tuple | list | dict) and not all(isinstance(v, Real) for v in value)):
        kind = "None" if value is None else f"a {type(value).__name__}"
        raise ValueError(f"grad must return an array of shape ({size},), got {kind}")
    return np.array(to_numpy(value))


def _point(problem: Problem, method: str) -> tuple[Point, str, tuple[str, ...]]:
    """The forward pass, the method, and why the complex step cannot be used, if it cannot."""
    checks.choice("method", method, ["auto", *METHODS])
    f = problem.net.activation.forward
    at = point(problem.net, problem.theta, *problem.samples, complex_slope)
    if not bool(namespace(at.y).all(namespace(at.y).isfinite(at.layers[-1].z))):
        raise ValueError("theta must give finite logits for x to be checked, got NaN or infinity")
    _check_entry_by_entry(problem, [layer.z for layer in at.layers[:-1]])
    _check_row_by_row(problem, to_numpy(at.layers[-1].z), to_numpy(at.y))
    fault = None
    if method != "central":
        fault = not_analytic(f, [layer.z for layer in at.layers[:-1]]) or cost_not_analytic(at)
    if fault is None and method != "central":
        return at, "complex", ()
    if method == "complex":
        raise ValueError(f"method 'complex' cannot be used: {fault}")
    return at._replace(derive=difference_slope), "central", (fault,) if fault else ()


def _check_entry_by_entry(problem: Problem, zs: Sequence[Array]) -> None:
    """``ValueError`` if an entry of f(z) changes with other entries of z: neither units nor samples may meet in f."""
    if isinstance(problem.net.hidden, str):
        return
    for l, z in enumerate(zs, start=1):
        mixed = _mixed(lambda z: to_numpy(problem.net.activation.forward(problem.home.asarray(z))), to_numpy(z))
        if mixed:
            sample, unit = mixed[0]
            raise ValueError(
                f"hidden must work entry by entry, a[i, j] = f(z[i, j]), got a function whose value for layer {l}, "
                f"unit {unit}, sample {sample} changes with other units or samples; check_gradient checks any function"
            )


def _mixed(f: Callable[[Vector], Vector], z: Vector) -> list[list[int]]:
    """The entries of f(z), z (n, n_l), that change with others.

    Half of the entries, drawn at random, take the value of some other one, for which f is defined, and the rest is
    looked at; then the other half.
    """
    rng = np.random.default_rng(0)
    half, others, before = rng.random(z.shape) < 0.5, rng.choice(z.ravel(), z.shape), f(z)
    off = np.zeros(z.shape, bool)
    for moved in (half, ~half):
        with np.errstate(invalid="ignore"):
            change = np.abs(f(np.where(moved, others, z)) - before)
        off |= ~moved & (change > MIXING * (np.abs(before) + np.max(np.abs(z))))
    return [[int(i) for i in place] for place in np.argwhere(off)]


def _check_row_by_row(problem: Problem, z: Vector, y: Vector) -> None:
    """``ValueError`` unless the loss gives one cost for each sample, which changes with no other sample."""
    head, home = problem.net.head, problem.home

    def cost(z: Vector) -> Vector:
        return to_numpy(head.value(home.asarray(z), home.asarray(y)))

    before = cost(z)
    if before.shape != z.shape[:1] or cost(z[None]).shape != (1, *z.shape[:1]):
        raise ValueError(
            f"output must have a cost (..., n) for logits (..., n, k), got shape {before.shape} for {z.shape}"
        )
    if not np.isfinite(before).all():
        raise ValueError("theta must give finite costs for x and y to be checked, got NaN or infinity")
    moved = np.arange(len(z)) % 2 == 0
    for rows in (moved, ~moved):
        change = np.abs(cost(np.where(rows[:, None], np.roll(z, 1, axis=1) + 1, z)) - before)[~rows]
        if np.any(change > MIXING * (np.abs(before[~rows]) + np.max(np.abs(z)))):
            raise ValueError("output must have a cost of each sample alone, got one that changes with other samples")


def not_analytic(f: Callable[[Array], Array], zs: Sequence[Array], what: str = "activation") -> str | None:
    """Why the complex step cannot be trusted with a function f, entry by entry, at zs; None if it can."""
    for z in zs:
        try:
            fprime = complex_slope(f).at(z)
        except Exception as error:
            return f"the {what} cannot be computed for complex z: {error}"
        xp = namespace(z)
        backward, forward = difference_slope(f).beside(z, z)
        slack = xp.minimum(64 * difference_step(z), 0.25) * (1 + xp.abs(backward) + xp.abs(forward))
        slack += 8 * eps(z) * xp.abs(f(z)) / difference_step(z)
        within = (fprime >= xp.minimum(backward, forward) - slack) & (fprime <= xp.maximum(backward, forward) + slack)
        if not bool(xp.all(within)):
            return f"the {what} is not analytic: its complex step differs from its differences"
    return None


def cost_not_analytic(at: Point) -> str | None:
    """The same of the cost, with the logits moved in several directions."""
    xp, z = namespace(at.y), at.layers[-1].z
    largest = xp.max(xp.abs(z), axis=1)
    for signs in directions(z):

        def cost(t: Array, signs: Array = signs) -> Array:
            return at.net.head.value(z + xp.expand_dims(t - largest, axis=1) * signs, at.y)

        if fault := not_analytic(cost, [largest], "loss"):
            return fault
    return None


def _chunks(at: Point, memory: int, progress: bool, itemsize: int) -> Iterator[tuple[int, slice]]:
    """Layers, and the units in them that are moved at a time."""
    n = at.y.shape[0]
    with report(sum(layer.z.shape[1] for layer in at.layers), "checking", shown=progress) as reporter:
        for l, layer in enumerate(at.layers):
            onward = at.layers[min(l + 1, len(at.layers) - 1)].z.shape[1]
            units = max(1, min(memory // 8, CACHE) // (n * onward * itemsize))
            for start in range(0, layer.z.shape[1], units):
                stop = min(start + units, layer.z.shape[1])
                yield l, slice(start, stop)
                reporter.advance(stop - start)


def _complex(at: Point, memory: int, progress: bool) -> Found:
    """By the complex step, which has no error but rounding."""
    parts: list[list[Array]] = [[] for _ in at.layers]
    for l, units in _chunks(at, memory, progress, itemsize=16):
        parts[l].append(complex_step(at, l, units))
    return Found([namespace(at.y).concat(part, axis=1) for part in parts], None)


def _central(at: Point, memory: int, progress: bool) -> Found:
    """By central differences with h = u^(1/3) |z|, and what a step half as long says of their error."""
    xp = namespace(at.y)
    steps = [eps(at.y) ** (1 / 3) * (float(xp.mean(xp.abs(layer.z))) or 1.0) for layer in at.layers]
    floors = [at.share * xp.expand_dims(_cost_error(at), axis=1) / h for h in steps]
    dz: list[list[Array]] = [[] for _ in at.layers]
    noise: list[list[Array]] = [[] for _ in at.layers]
    for l, units in _chunks(at, memory, progress, itemsize=8):
        long, short = (quotients(at, l, units, h) for h in (steps[l], steps[l] / 2))
        dz[l].append(sum(short) / 2)
        kink = xp.abs(2 * (short[1] - short[0]) - (long[1] - long[0]))
        change, size = xp.abs(sum(short) - sum(long)), xp.abs(sum(short)) + xp.abs(sum(long))
        rough = xp.astype(change > 1e-3 * size, change.dtype)  # h is too long to tell anything
        noise[l].append(4 * change + kink + 8 * rough * size + 2 * floors[l])
    return Found(*([xp.concat(part, axis=1) for part in parts] for parts in (dz, noise)))


def _cost_error(at: Point) -> Array:
    """How far off rounding may put the cost of each sample (n,): its own, and that of the logits."""
    xp = namespace(at.y)
    z = at.layers[-1].z
    logits = xp.abs(cost_slope(at, z)) * xp.sqrt(forward_errors(at)[-1].z)
    return 16 * eps(at.y) * (xp.abs(at.net.head.value(z, at.y)) + xp.sum(logits, axis=1))


class Method(NamedTuple):
    """A way to a numeric gradient, and how many passes it makes for each unit."""

    title: str
    find: Callable[[Point, int, bool], Found]
    passes: int


METHODS = {"complex": Method("complex step", _complex, 1), "central": Method("central differences", _central, 6)}


class Measured(NamedTuple):
    """What a gradient is compared with, as NumPy arrays (P,)."""

    numeric: Vector
    bar: Vector
    low: Vector
    high: Vector
    kinks: list[tuple[int, int, int]]  # layer (from 1), unit, sample


def _measure(at: Point, found: Found, precision: float) -> Measured:
    """The numeric gradient, its error bars for a gradient of that precision, and its limits at kinks."""
    xp = namespace(at.y)
    traces = forward_errors(at)
    numeric = gradient(at, found.dz)
    underflow = float(xp.finfo(at.y.dtype).smallest_normal) / STEP
    rounding = SAFETY * (precision + eps(at.y))
    bar = rounding * kappa(at, found.dz, traces) + underflow
    if found.noise is not None:
        sizes = [xp.matrix_transpose(xp.abs(layer.x)) for layer in at.layers]
        bar = bar + at.net.pack([(x @ d, xp.sum(d, axis=0)) for x, d in zip(sizes, found.noise, strict=True)])
    bent = bends(at, traces)
    kinks = [(l, unit, s) for l, b in enumerate(bent, 1) for s, unit in np.argwhere(to_numpy(b.kinks)).tolist()]
    low, high = numeric, numeric
    if kinks:
        low, high = limits(at, bent, found.dz[-1])
        bar = bar + rounding * (high - low)
    numeric, bar, low, high = (np.asarray(to_numpy(v), np.float64) for v in (numeric, bar, low, high))
    return Measured(numeric, bar, low, high, kinks)


def _judge(net: Network, analytic: Vector, measured: Measured) -> dict[str, Parameter]:
    """A verdict for each tensor."""
    parameters = {}
    for name, part, shape in zip(net.names, net.layout.slices, net.shapes, strict=True):
        vectors = (analytic, measured.numeric, measured.bar, measured.low, measured.high)
        tensor, numeric, bar, low, high = (v[part].reshape(shape) for v in vectors)
        parameters[name] = judge(name, tensor, numeric, bar, between=(low, high))
    return parameters


def _on_host(problem: Problem, at: Point, found: Found) -> tuple[Point, list[Vector]]:
    """The forward pass and the numeric dz as NumPy arrays."""
    here = problem.on(backend("numpy"), "float64")
    host = point(here.net, here.theta, *here.samples, at.derive)
    return host, [np.asarray(to_numpy(d)) for d in found.dz]


def _kink_notes(measured: Measured, parameters: dict[str, Parameter]) -> list[str]:
    """Where kinks have excused a difference."""
    apart = [np.abs(p.analytic - p.numeric) > p.bar for p in parameters.values()]
    excused = sum(int(a.sum()) for a in apart) - sum(p.failing for p in parameters.values())
    if excused <= 0:
        return []
    places = "; ".join(f"layer {l}, unit {unit}, sample {s}" for l, unit, s in measured.kinks[:3])
    more = f" and {len(measured.kinks) - 3} more" if len(measured.kinks) > 3 else ""
    return [f"{excused} entries lie between the one-sided derivatives at kinks: {places}{more}"]


def _l2_notes(at: Point) -> list[str]:
    """What biases of 0 hide."""
    hidden = at.net.l2 > 0 and not any(to_numpy(b).any() for b in at.biases)
    return ["all biases are 0: an L2 term on them would not show"] if hidden else []
