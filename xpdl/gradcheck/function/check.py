"""``check_gradient``: the gradient of any scalar function, as a black box, with the arrays of any Array API library.

A tensor of up to 256 entries is checked entry by entry (tensor.py).  A larger one is checked along random directions,
and bisection of those that fail finds the wrong entries (search.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
import math
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.gradcheck.function.across import across
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.autodiff import own_grad
from xpdl.gradcheck.function.blackbox import BlackBox, call_again, call_twice, enter, layout_decides, try_complex
from xpdl.gradcheck.function.causes import common_factor
from xpdl.gradcheck.function.complex_numbers import complex_names, in_convention
from xpdl.gradcheck.function.constrained import Constrained
from xpdl.gradcheck.function.detection import detected
from xpdl.gradcheck.function.directional import best_difference, taylor_order
from xpdl.gradcheck.function.low_precision import in_own_precision
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.planting import LOOKS, PLANTED, proven
from xpdl.gradcheck.function.probe import Probe, Tensors
from xpdl.gradcheck.function.search import Search
from xpdl.gradcheck.function.second_order import HessianProduct, both_orders
from xpdl.gradcheck.function.tensor import SMALL, Directions, TensorCheck
from xpdl.gradcheck.function.together import contradictions
from xpdl.gradcheck.function.tolerance import Tolerance, tolerances
from xpdl.gradcheck.report import (
    FAIL,
    INCONCLUSIVE,
    METHOD_TITLES,
    PASS,
    Entry,
    Parameter,
    Report,
    Vector,
    difference,
    worst_verdict,
)
from xpdl.progress import Reporter, report as reported
from xpdl.randomness import Stream, generator

REMAINDER = "2 for a right gradient, 1 for a wrong one"
FLAT, STEEP = 1.25, 1.75
"""If the order of the Taylor remainder is below FLAT, the gradient is wrong; if it is above STEEP, it is right."""
RANDOM = 10
"""The number of random directions in a large tensor.  One more direction has the signs of the gradient."""
TANGLED = 4096
"""If kinks of many entries hide errors along directions, a tensor of no more entries is checked entry by entry."""
HEAVIEST = 4.0
"""No entry has a larger weight in the random directions of together.py."""


class Judged(NamedTuple):
    """The results: the verdict on each tensor, the difference over all of them, the method, and notes."""

    parameters: Mapping[str, Parameter]
    difference: float
    method: str
    notes: list[str]


@np.errstate(all="ignore")
def check_gradient(
    fun: Callable[..., Any],
    grad: Callable[..., Any] | None,
    *args: Any,
    value_and_grad: bool = False,
    order: int = 1,
    backends: Sequence[str] | None = None,
    method: str = "auto",
    dtype: str | None = None,
    full: bool = False,
    seed: int = 0,
    rtol: float = 0.0,
    tangent: Callable[[Any], Any] | None = None,
    prove: bool = False,
    budget: int = 100_000,
    progress: bool = False,
) -> Report:
    """Check whether ``grad`` is the gradient of ``fun`` at theta, the arguments.

    Both functions are called with new arrays of the arguments' library, on its device.  The error bars of the numeric
    derivatives are measured, so there is no tolerance to choose.  A tensor of more than 256 entries is checked along 11
    directions, in natural units (probe.py); if one fails, bisection finds the wrong entries.

    A bar comes from ``fun``, the point and rounding, never from how ``grad`` behaves around it.  Where ``fun`` is
    defined on one side only, it is judged from that side.  At a kink an entry may have any value between the one-sided
    derivatives, but the entries there must be right together.  Arrays lie in memory as those given; if a copy in rows
    is answered differently, the check fails.  What a complex step leaves behind in ``fun`` is put back.

    Parameters
    ----------
    fun : callable
        (*args) -> a scalar: a number, or an array of any shape with one entry.
    grad : callable
        (*args) -> the gradient under test, of the form of the argument; of several arguments, a tuple of gradients.
        None anywhere in it says that ``fun`` does not depend on what is there.  It may be a sparse array.  None instead
        of a function: the gradient that the library of the arguments computes itself (PyTorch, JAX).
    *args : Any
        The point: floating numbers and arrays of any library that speaks the Array API standard, or dicts, lists,
        tuples, NamedTuples and dataclasses of them, to any depth.  Of a sparse tensor of PyTorch, the stored entries
        vary.  Everything else is a constant.
    value_and_grad : bool, default False
        Whether ``fun`` returns the pair (value, gradient); ``grad`` is None then.
    order : {1, 2}, default 1
        With 2, the derivative of the gradient is checked as well: the product of the Hessian with a random vector,
        which PyTorch or JAX computes from the gradient.
    backends : sequence of str, optional
        Backends to which the arguments are moved in turn: each gradient is judged and timed, and all are compared.
    method : {"auto", "complex", "central", "taylor"}, default "auto"
        How the numeric gradient is computed.  "complex": the complex step.  "central": central differences.  "auto":
        the complex step for each tensor in which it proves to be a derivative, else central differences.  "taylor":
        only whether J(theta + h d) - J(theta) - h <g, d> falls like h^2; entries are not checked.
    dtype : {"float64", "float32"}, optional
        The dtype of the arrays that fun gets; by default float64 if fun and the device support it.  A gradient in
        float16 or bfloat16 that passes must then be right in its own precision, too.
    full : bool, default False
        Whether every entry of large tensors is checked, too.
    seed : int, default 0
        The seed of the random directions.
    rtol : float, default 0
        A tolerance for code that is only as exact as its solver, in [0, 1): each derivative may be off by rtol times
        itself, or times 1/1000 of the largest derivative if that is more.  The report says what the verdict is without
        it.  In a large tensor single entries are then judged far better with ``full=True``.
    tangent : callable, optional
        (direction) -> its orthogonal projection on the directions that the arguments may move in, both of the form of
        the argument, of several a tuple: ``lambda d: (d + d.T) / 2`` for a symmetric matrix, ``lambda d: d - d.mean()``
        for weights whose sum is 1.  Every difference is taken along such directions, and the gradient is judged along
        them only.
    prove : bool, default False
        Whether ``report.detects`` is proven: twice that error is planted in every entry (in a sample of 256 of a larger
        tensor) and must fail.  Where it would not, ``detects`` is raised.
    budget : int, default 100_000
        The largest number of evaluations of fun that may be planned.
    progress : bool, default False
        Whether a terminal shows a progress bar.

    Returns
    -------
    Report
        The verdict and a ``Parameter`` for each leaf of the arguments: a single array is called "theta", an array in a
        dict by its key, any other as Python reaches it, ``args[1]["layer1"].w``.  For a large tensor that passes, the
        arrays of its ``Parameter`` hold one number for each direction, and its worst entry has the index ().  For one
        that fails, the worst entry is the worst that was found.

    Raises
    ------
    TypeError
        If an argument, or what a function returns, is of a wrong kind.
    ValueError
        If theta is empty or not finite, fun is not finite there, an option is unknown or not possible, or the budget
        is too small.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> def fun(theta):
    ...     return np.sum(np.sin(theta))
    >>> theta = np.array([0.1, 0.2, 0.3])
    >>> xpdl.check_gradient(fun, np.cos, theta).verdict
    'PASS'
    >>> report = xpdl.check_gradient(fun, lambda theta: -np.cos(theta), theta)
    >>> report.verdict, report.parameters["theta"].diagnosis
    ('FAIL', '-1 x the numeric gradient: the sign is wrong')

    What a PASS has seen, with its proof:

    >>> report = xpdl.check_gradient(fun, np.cos, theta, prove=True)
    >>> report.detects < 1e-9
    True
    >>> report.notes[0].partition(", ")[2]
    'planted in 3 of 3 entries, with both signs, fails'

    A gradient that is right to 1e-4, as some solvers are, and a matrix that must stay symmetric:

    >>> def rough(theta):
    ...     return np.cos(theta) * (1 + 1e-4)
    >>> [xpdl.check_gradient(fun, rough, theta, rtol=rtol).verdict for rtol in (0, 1e-3)]
    ['FAIL', 'PASS']
    >>> def log_det(a):
    ...     assert np.array_equal(a, a.T)
    ...     return np.log(np.linalg.det(a))
    >>> a = np.array([[2.0, 0.5], [0.5, 1.0]])
    >>> xpdl.check_gradient(log_det, np.linalg.inv, a, tangent=lambda d: (d + d.T) / 2).verdict
    'PASS'
    """
    fun, grad = _apart(fun, grad, value_and_grad)
    checks.choice("method", method, ["auto", *METHOD_TITLES])
    if method == "taylor" and (rtol or prove):
        raise ValueError("rtol and prove are for derivatives: they are not possible with method 'taylor'")
    options: dict[str, Any] = {"method": method, "dtype": dtype, "full": full, "seed": seed}
    options |= {"budget": budget, "progress": progress, "rtol": checks.real("rtol", rtol, below=1.0), "prove": prove}
    if tangent is not None:
        if order != 1 or backends is not None:
            raise ValueError("tangent is not possible together with order=2 or backends")
        allowed = Constrained(fun, grad, tangent, args)
        return allowed.report(_in_convention(allowed.value, allowed.gradient, allowed.zeros, options))
    if backends is not None:
        return across(lambda f, g, given: _in_convention(f, g, given, options), fun, grad, args, backends)
    first = _in_convention(fun, grad, args, options)
    if checks.integer("order", order, least=1, below=3) == 1:
        return first
    hessian = HessianProduct(grad, seed)
    second = _in_convention(hessian.value, hessian.gradient, args, options)
    return both_orders(first, second, hessian.asymmetry(args, dtype))


def _in_convention(fun: Any, grad: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Report:
    """The report on a gradient; if there are complex numbers, in the way of writing that fits."""
    arguments = Arguments(args)

    def judge(conjugate: bool) -> Report:
        if isinstance(fun, Pairing):
            fun.conjugate = conjugate
        return _first_order(fun, grad, args, conjugate=conjugate, **options)

    def has_complex() -> bool:
        return bool(complex_names(arguments)) or (isinstance(fun, Pairing) and fun.has_complex)

    return in_convention(judge, arguments, has_complex)


def _first_order(
    fun: Any,
    grad: Any,
    args: Sequence[Any],
    *,
    conjugate: bool,
    method: str,
    dtype: str | None,
    full: bool,
    seed: int,
    budget: int,
    progress: bool,
    rtol: float,
    prove: bool,
) -> Report:
    """The report on the gradient of a scalar function."""
    began, generated = time.perf_counter(), generator(seed, Stream.DATA)
    box, start, notes = enter(fun, grad, args, dtype, conjugate=conjugate)
    probe = _probe(box, start, generated)
    gradient, spread, complaints = call_twice(box, start, probe.u)
    if not complaints and method not in ("central", "taylor"):
        method, complaints, leaks = _without_leaks(box, method)
        notes += leaks
    if complaints:
        return _refused(box, gradient, [*complaints, *notes], began)
    precision = "float32" if probe.single else "float64"
    if precision != box.dtype:
        notes.append("fun answers in float32 although it is given float64: judged as float32")
    if method == "taylor":
        judged = _by_taylor(probe, gradient)
    else:
        plan = _plan(probe, gradient, budget, full=full, prove=prove)
        tensors = [TensorCheck(probe, name, gradient[name], plan[name], spread[name], gradient) for name in plan]
        judged = _by_derivatives(probe, tensors, method, rtol, prove=prove, progress=progress)
    judged = _with_layout(_without_none(judged, box.missing), layout_decides(box, start, gradient, probe.u))
    judged = judged if dtype else _in_own_precision(judged, box, gradient)
    if complaints := call_again(box, start, gradient, probe.u, probe.noise):
        return _refused(box, gradient, [*complaints, *notes], began)
    if probe.quantum:
        notes.append(
            f"fun changes in steps of {probe.quantum:.1g} and is constant in between: its derivatives are as coarse"
        )
    return _report(box, judged, precision, notes, began)


def _apart(fun: Any, grad: Any, value_and_grad: bool) -> tuple[Any, Any]:
    """Fun and grad as two functions; without grad, the gradient that the library of the arguments computes."""
    if not value_and_grad:
        return fun, own_grad(fun) if grad is None else grad
    if grad is not None:
        raise ValueError(f"grad must be None with value_and_grad=True, got {checks.shorten(grad)}")

    def part(k: int) -> Callable[..., Any]:
        return lambda *args: checks.pair("fun", fun(*args), "(value, gradient)")[k]

    return part(0), part(1)


def _without_none(judged: Judged, missing: Sequence[str]) -> Judged:
    """The verdicts without the constants: tensors whose gradient is None, if fun does not move with them."""
    parameters, notes = dict(judged.parameters), list(judged.notes)
    for name in missing:
        if parameters[name].verdict == FAIL:
            said = f"the gradient of {name} is None, and fun depends on it"
            parameters[name] = replace(parameters[name], diagnosis=said)
        elif len(parameters) > 1:
            notes.append(f"{name}: a constant, because its gradient is None and fun does not depend on it")
            del parameters[name]
    return judged._replace(parameters=parameters, notes=notes)


def _probe(box: BlackBox, start: float, generated: np.random.Generator) -> Probe:
    """fun around theta, with the precision that it really has."""

    def probe(dtype: str) -> Probe:
        return Probe(box.value, box.theta, start, float(np.finfo(dtype).eps), generated)

    return probe("float32" if probe(box.dtype).coarse else box.dtype)


def _without_leaks(box: BlackBox, method: str) -> tuple[str, list[str], list[str]]:
    """The method that leaves no complex numbers behind; why no verdict is possible; and a note."""
    leaks, complaints = try_complex(box)
    if leaks and method == "complex":
        raise ValueError("method 'complex' is not possible: it leaves complex numbers in fun or grad")
    note = "central differences, because the complex step leaves complex numbers in fun or grad"
    return ("central", complaints, [note]) if leaks else (method, [], [])


def _plan(probe: Probe, gradient: Tensors, budget: int, *, full: bool, prove: bool) -> dict[str, Directions]:
    """Choose entries or directions of each tensor that the budget allows; ``ValueError`` if it allows neither."""
    sizes = {name: g.size for name, g in gradient.items()}
    limits = [max(sizes.values())] if full else [SMALL, RANDOM + 1]
    budget = checks.integer("budget", budget, least=1)
    for small in limits:
        needed = 60 + sum(20 + 4 * (size if size <= small else RANDOM + 1) for size in sizes.values())
        needed += prove * sum(LOOKS * min(size, PLANTED) for size in sizes.values())
        if needed <= budget:
            return {n: _directions(probe, n, gradient[n], small) for n in sizes}
    raise ValueError(f"budget must allow {needed:,} evaluations of fun, got {budget:,}")


def _directions(probe: Probe, name: str, gradient: Vector, small: int) -> Directions:
    """Unit vectors, or random signs.  The first row has the signs of the gradient: a factor shows best there."""
    if gradient.size <= small:
        return Directions(gradient.size)
    signs = np.stack([probe.signs(name) for _ in range(RANDOM + 1)])
    signs[0] = np.where(gradient.ravel() > 0, 1.0, np.where(gradient.ravel() < 0, -1.0, signs[0]))
    return Directions(gradient.size, signs)


# Two ways to judge


def _by_derivatives(
    probe: Probe, tensors: list[TensorCheck], method: str, rtol: float, *, prove: bool, progress: bool
) -> Judged:
    """The verdicts on entries or directions."""
    total = sum(len(tensor.directions) for tensor in tensors)
    with reported(total, "checking gradients", shown=progress) as reporter:
        parameters = {tensor.name: _examine(tensor, method, reporter) for tensor in tensors}
    together = _together(probe, tensors, _with_common_factor(tensors, parameters))
    parameters, said = _with_tolerance(probe, tensors, together, rtol)
    limits, proofs = proven(tensors, detected(tensors)) if prove else (detected(tensors), [])
    parameters = {name: replace(parameters[name], detects=found) for name, found in limits.items()}
    notes = [note for tensor in tensors for note in [*_notes(tensor), *tensor.excuse(parameters[tensor.name])]]
    notes += [*said, *proofs, *_taylor_note(probe, {t.name: t.gradient for t in tensors})]
    return Judged(parameters, _difference_of_all(tensors), _methods(tensors), notes)


def _with_tolerance(
    probe: Probe, tensors: list[TensorCheck], parameters: dict[str, Parameter], rtol: float
) -> tuple[dict[str, Parameter], list[str]]:
    """The verdicts with the tolerance, and what they are without it."""
    if rtol == 0:
        return parameters, []
    strict = worst_verdict(parameter.verdict for parameter in parameters.values())
    values = {tensor.name: tensor.columns()[0] for tensor in tensors}
    granted = tolerances(rtol, values, {tensor.name: tensor.natural.size for tensor in tensors})
    parameters = {t.name: _examine_again(t, granted[t.name]) for t in tensors}
    if strict == FAIL:
        parameters = _together(probe, tensors, parameters)
    return parameters, [f"rtol={rtol:g} is part of every error bar; without it the verdict is {strict}"]


def _examine_again(tensor: TensorCheck, tolerance: Tolerance) -> Parameter:
    if tensor.entrywise:
        return tensor.judged_with(tolerance)
    tensor.tolerance = tolerance
    tensor.derivatives = [tensor.allowed(d, found) for d, found in zip(tensor.directions, tensor.first, strict=True)]
    return Search(tensor).run()


def _examine(tensor: TensorCheck, method: str, reporter: Reporter) -> Parameter:
    tensor.measure(method, reporter)
    if not tensor.entrywise:
        search = Search(tensor)
        found = search.run()
        if not search.tangled or found.verdict == FAIL or tensor.natural.size > TANGLED:
            return found
        tensor.directions = Directions(tensor.natural.size)
        tensor.measure(method, reporter)
    return tensor.judged_entries()


def _with_common_factor(tensors: list[TensorCheck], parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """The same verdicts; one factor of all tensors that fail is their common cause."""
    failing = [tensor for tensor in tensors if parameters[tensor.name].verdict == FAIL]
    if len({parameters[tensor.name].diagnosis for tensor in failing}) < 2:
        return parameters
    cause = common_factor([tensor.evidence() for tensor in failing])
    same = {tensor.name: replace(parameters[tensor.name], diagnosis=cause) for tensor in failing if cause}
    return {**parameters, **same}


def _together(probe: Probe, tensors: list[TensorCheck], parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """The same verdicts, but FAIL where entries at a kink pass alone and cannot be right together."""
    passing = {t.name: t for t in tensors if parameters[t.name].verdict == PASS}
    parts = [[name for name, tensor in passing.items() if tensor.entrywise], list(passing)]
    parts = [part for k, part in enumerate(parts) if part and part not in parts[:k]]
    for found in (c for part in parts for c in contradictions(probe, {name: passing[name].natural for name in part})):
        if found.beyond <= HEAVIEST * sum(passing[name].granted(k) for name, k in found.places):
            continue
        for name in {name for name, _ in found.places}:
            places = [k for owner, k in found.places if owner == name]
            parameters[name] = passing[name].failed_together(parameters[name], places, found)
    return parameters


def _with_layout(judged: Judged, wrong: Mapping[str, str]) -> Judged:
    """The same verdicts, but FAIL where the memory layout decides what fun or grad answer."""
    parameters = {
        name: replace(found, verdict=FAIL, diagnosis=wrong[name]) if name in wrong else found
        for name, found in judged.parameters.items()
    }
    return judged._replace(parameters=parameters)


def _in_own_precision(judged: Judged, box: BlackBox, gradient: Tensors) -> Judged:
    """The same verdicts, but FAIL where a gradient is wrong in its own, low precision."""
    parameters, notes = in_own_precision(box, gradient, judged.parameters)
    return judged._replace(parameters=parameters, notes=[*judged.notes, *notes])


def _by_taylor(probe: Probe, gradient: Tensors) -> Judged:
    """The verdicts on whole tensors, by the Taylor remainder along one random direction in each."""
    parameters, notes = {}, []
    for name, g in gradient.items():
        signs = probe.signs(name)
        order = taylor_order(probe, gradient, {name: signs}) if np.all(np.isfinite(g)) else 0.0
        difference, kink = best_difference(probe, name, signs)
        verdict = INCONCLUSIVE if kink or difference.jumps else _by_order(order)
        parameters[name] = replace(_unjudged(name, g), verdict=verdict, failing=0, unseen=0)
        why = "at a kink" if kink else "at a jump" if difference.jumps else REMAINDER
        notes.append(f"{name}: Taylor remainder {_how_it_falls(order)} ({why})")
    return Judged(parameters, math.nan, METHOD_TITLES["taylor"], notes)


def _by_order(order: float | None) -> str:
    if order is None or FLAT < order < STEEP:
        return INCONCLUSIVE
    return PASS if order >= STEEP else FAIL


# The report


def _notes(tensor: TensorCheck) -> list[str]:
    if tensor.entrywise:
        return tensor.notes()
    risk = f"an entry that is wrong by more than a bar escapes with probability 2^-{RANDOM} at most"
    notes = [f"{tensor.name}: {len(tensor.derivatives)} directions; {risk}", *tensor.notes()]
    if any(found.kink for found in tensor.derivatives):
        notes.append(f"{tensor.name}: there are kinks, where wrong entries may hide; full=True looks at every entry")
    return notes


def _taylor_note(probe: Probe, gradient: Tensors) -> list[str]:
    if not all(np.all(np.isfinite(g)) for g in gradient.values()):
        return []
    order = taylor_order(probe, gradient, {name: probe.signs(name) for name in probe.theta})
    return [f"Taylor remainder: {_how_it_falls(order)}" + (f" ({REMAINDER} or at a kink)" if order is not None else "")]


def _how_it_falls(order: float | None) -> str:
    return "too small to be seen" if order is None else f"falls like h^{order:.2f}"


def _unjudged(name: str, gradient: Vector) -> Parameter:
    index = (0,) * gradient.ndim
    entry = Entry(index, float(gradient[index]), math.nan, math.inf)
    return Parameter(name, gradient.shape, INCONCLUSIVE, math.nan, math.nan, entry, 0, gradient.size, analytic=gradient)


def _difference_of_all(tensors: list[TensorCheck]) -> float:
    """The difference over all tensors; if any has K directions, in natural units, and each direction counts 1/K."""
    natural = not all(tensor.entrywise for tensor in tensors)
    pairs = [tensor.for_norms(natural=natural) for tensor in tensors]
    return difference(*(np.concatenate(column) for column in zip(*pairs, strict=True)))


def _methods(tensors: list[TensorCheck]) -> str:
    """The method, or each method with its tensors."""
    names = {method: [tensor.name for tensor in tensors if tensor.method == method] for method in METHOD_TITLES}
    used = {METHOD_TITLES[method]: found for method, found in names.items() if found}
    if len(used) == 1:
        return next(iter(used))
    return ", ".join(f"{title} ({', '.join(found)})" for title, found in used.items())


def _refused(box: BlackBox, gradient: Tensors, notes: list[str], began: float) -> Report:
    """A report that judges nothing."""
    parameters = {name: _unjudged(name, g) for name, g in gradient.items()}
    return _report(box, Judged(parameters, math.nan, "none", []), box.dtype, notes, began)


def _report(box: BlackBox, judged: Judged, precision: str, notes: list[str], began: float) -> Report:
    return Report(
        verdict=worst_verdict(parameter.verdict for parameter in judged.parameters.values()),
        difference=judged.difference,
        parameters=judged.parameters,
        method=judged.method,
        precision=precision,
        evaluations=float(box.evaluations),
        seconds=time.perf_counter() - began,
        notes=(*notes, *judged.notes),
    )
