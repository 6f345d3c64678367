"""``check_gradient``: the gradient of any scalar function of any Array API library's arrays, as a black box.

A tensor of up to 256 entries is checked entry by entry (case.py), a larger one along random directions, and in those
that fail bisection looks for the wrong entries (search.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
import math
import time
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.gradcheck.function.blackbox import Box, drifted, observed, opened
from xpdl.gradcheck.function.case import SMALL, Case, Directions
from xpdl.gradcheck.function.methods import best_central, taylor
from xpdl.gradcheck.function.probe import Probe, Tensors
from xpdl.gradcheck.function.search import Search
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, PASS, Entry, Parameter, Report, Vector, difference, worst_verdict
from xpdl.progress import Reporter, report as reported
from xpdl.randomness import Stream, generator

METHODS = {"auto": "", "complex": "complex step", "central": "central differences", "taylor": "Taylor remainder"}
REMAINDER = "2 for a right gradient, 1 for a wrong one"
FLAT, STEEP = 1.25, 1.75
"""A Taylor remainder shows a wrong gradient below the first and a right one above the second."""
RANDOM = 10
"""Random directions in large tensors; one more has the signs of the gradient."""


class Judged(NamedTuple):
    """What was found: verdicts, the difference over all tensors, the method and what else is to be said."""

    parameters: Mapping[str, Parameter]
    difference: float
    method: str
    notes: list[str]


def check_gradient(
    fun: Callable[[Any], Any],
    grad: Callable[[Any], Any],
    theta: Any,
    *,
    method: str = "auto",
    dtype: str | None = None,
    full: bool = False,
    seed: int = 0,
    budget: int = 100_000,
    progress: bool = False,
) -> Report:
    """Whether ``grad`` is the gradient of ``fun`` at theta.

    fun       (theta) -> a scalar
    grad      (theta) -> the gradient under test: an array of the shape of theta, or a dict with its keys
    theta     an array of any library that speaks the Array API standard, or a dict {name: array}
    method    "complex" or "central"; "auto": the complex step for the tensors in which it is seen to be a derivative;
              "taylor": whether the remainder of each tensor falls like h^2, with no look at entries
    dtype     what fun is evaluated in: "float64" or "float32"; None: float64 where fun and the device have it
    full      every entry of every tensor, also of those with more than 256
    seed      of the directions
    budget    how many evaluations of fun may be planned
    progress  a bar on a terminal

    fun and grad get new arrays of the library and on the device of theta.  The parameter of a larger tensor that passes
    stands for directions, in natural units (see probe.py): its worst entry has the index (), its arrays hold a number
    for each direction.  Of one that fails, the worst entry is the worst that was found.
    """
    began = time.perf_counter()
    checks.choice("method", method, METHODS)
    generated = generator(seed, Stream.DATA)
    box, start, notes = opened(fun, grad, theta, dtype)
    gradient, complaints = observed(box, start)
    if complaints:
        return _refused(box, gradient, [*complaints, *notes], began)
    probe = _probe(box, start, generated)
    precision = "float32" if probe.u > np.finfo(np.float64).eps else "float64"
    if precision != box.dtype:
        notes.append("fun answers in float32 although it is given float64: judged as float32")
    if method == "taylor":
        judged = _by_taylor(probe, gradient)
    else:
        judged = _by_slopes(probe, gradient, method, _plan(probe, gradient, full, budget), progress)
    complaints = drifted(box, start, gradient, probe.u, probe.noise)
    if complaints:
        return _refused(box, gradient, [*complaints, *notes], began)
    if probe.quantum:
        notes.append(f"fun moves in steps of {probe.quantum:.1g} and stands still in between: slopes are as coarse")
    return _report(box, judged, precision, notes, began)


def _probe(box: Box, start: float, generated: np.random.Generator) -> Probe:
    """fun and grad around theta, with the precision that fun really has."""

    def probe(dtype: str) -> Probe:
        return Probe(box.value, box.gradient, box.theta, start, float(np.finfo(dtype).eps), generated)

    return probe("float32" if probe(box.dtype).coarse else box.dtype)


def _plan(probe: Probe, gradient: Tensors, full: bool, budget: int) -> dict[str, Directions]:
    """Every entry of small tensors, or as many directions, if the budget allows; ``ValueError`` if it never does."""
    sizes = {name: g.size for name, g in gradient.items()}
    limits = [max(sizes.values())] if full else [SMALL, RANDOM + 1]
    budget = checks.integer("budget", budget, least=1)
    for small in limits:
        needed = 60 + sum(20 + 4 * (size if size <= small else RANDOM + 1) for size in sizes.values())
        if needed <= budget:
            return {n: _directions(probe, n, gradient[n], small) for n in sizes}
    raise ValueError(f"budget must allow {needed:,} evaluations of fun, got {budget:,}")


def _directions(probe: Probe, name: str, gradient: Vector, small: int) -> Directions:
    """Unit vectors, or random signs and, in the first row, those of the gradient, where a factor shows best."""
    if gradient.size <= small:
        return Directions(gradient.size)
    signs = np.stack([probe.signs(name) for _ in range(RANDOM + 1)])
    signs[0] = np.where(gradient.ravel() > 0, 1.0, np.where(gradient.ravel() < 0, -1.0, signs[0]))
    return Directions(gradient.size, signs)


def _by_slopes(probe: Probe, gradient: Tensors, method: str, plan: Mapping[str, Directions], progress: bool) -> Judged:
    """The verdicts on entries or directions."""
    cases = [Case(probe, name, gradient[name], directions) for name, directions in plan.items()]
    total = sum(len(case.directions) for case in cases)
    with reported(total, "checking gradients", shown=progress) as reporter:
        parameters = {case.name: _examine(case, method, reporter) for case in cases}
    notes = [note for case in cases for note in [*_notes(case), *case.excuse(parameters[case.name])]]
    return Judged(parameters, _difference(cases), _methods(cases), [*notes, *_taylor_note(probe, gradient)])


def _examine(case: Case, method: str, reporter: Reporter) -> Parameter:
    case.measure(method, reporter)
    return case.judged_entries() if case.entrywise else Search(case).run()


def _by_taylor(probe: Probe, gradient: Tensors) -> Judged:
    """The verdicts on whole tensors, by the remainder along a random direction in each."""
    parameters, notes = {}, []
    for name, g in gradient.items():
        signs = probe.signs(name)
        slope = taylor(probe, gradient, {name: signs}) if np.all(np.isfinite(g)) else 0.0
        difference, kink = best_central(probe, name, signs)
        verdict = INCONCLUSIVE if kink or difference.jumps else _by_fall(slope)
        parameters[name] = replace(_unjudged(name, g), verdict=verdict, failing=0, unseen=0)
        why = "at a kink" if kink else "at a jump" if difference.jumps else REMAINDER
        notes.append(f"{name}: Taylor remainder {_falls(slope)} ({why})")
    return Judged(parameters, math.nan, METHODS["taylor"], notes)


def _by_fall(slope: float | None) -> str:
    if slope is None or FLAT < slope < STEEP:
        return INCONCLUSIVE
    return PASS if slope >= STEEP else FAIL


# The report


def _notes(case: Case) -> list[str]:
    if case.entrywise:
        return case.notes()
    risk = f"an entry that is wrong by more than a bar escapes with probability 2^-{RANDOM} at most"
    notes = [f"{case.name}: {len(case.slopes)} directions; {risk}", *case.notes()]
    if any(slope.kink for slope in case.slopes):
        notes.append(f"{case.name}: there are kinks, where wrong entries may hide; full=True looks at every entry")
    return notes


def _taylor_note(probe: Probe, gradient: Tensors) -> list[str]:
    if not all(np.all(np.isfinite(g)) for g in gradient.values()):
        return []
    slope = taylor(probe, gradient, {name: probe.signs(name) for name in probe.theta})
    return [f"Taylor remainder: {_falls(slope)}" + (f" ({REMAINDER} or at a kink)" if slope is not None else "")]


def _falls(slope: float | None) -> str:
    return "too small to be seen" if slope is None else f"falls like h^{slope:.2f}"


def _unjudged(name: str, gradient: Vector) -> Parameter:
    index = (0,) * gradient.ndim
    entry = Entry(index, float(gradient[index]), math.nan, math.inf)
    return Parameter(name, gradient.shape, INCONCLUSIVE, math.nan, math.nan, entry, 0, gradient.size, analytic=gradient)


def _difference(cases: list[Case]) -> float:
    """Over all tensors; where there are directions, in natural units, and slopes along K of them count for 1/K."""
    natural = not all(case.entrywise for case in cases)
    pairs = [case.pair(natural=natural) for case in cases]
    return difference(*(np.concatenate(column) for column in zip(*pairs, strict=True)))


def _methods(cases: list[Case]) -> str:
    names = {method: [case.name for case in cases if case.method == method] for method in METHODS}
    used = {METHODS[method]: tensors for method, tensors in names.items() if tensors}
    if len(used) == 1:
        return next(iter(used))
    return ", ".join(f"{method} ({', '.join(tensors)})" for method, tensors in used.items())


def _refused(box: Box, gradient: Tensors, notes: list[str], began: float) -> Report:
    """Nothing can be judged."""
    parameters = {name: _unjudged(name, g) for name, g in gradient.items()}
    return _report(box, Judged(parameters, math.nan, "none", []), box.dtype, notes, began)


def _report(box: Box, judged: Judged, precision: str, notes: list[str], began: float) -> Report:
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
