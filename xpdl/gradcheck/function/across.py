"""One function on several backends: each gradient against the reference, and against the others, with times."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
import time
from typing import Any

import numpy as np

from xpdl.backends import Backend, backend as connect
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import fetch
from xpdl.gradcheck.report import Report, worst_verdict

Check = Callable[[Callable[..., Any], Callable[..., Any], Sequence[Any]], Report]
"""(fun, grad, args) -> the report on one backend."""


def across(
    check: Check, fun: Callable[..., Any], grad: Callable[..., Any], args: Sequence[Any], names: Sequence[str]
) -> Report:
    """One report on all backends."""
    reports, gradients, notes = {}, {}, []
    for name in names:
        home = connect(name)
        moved = _moved(home, args)
        with home.activate():
            reports[name] = check(fun, grad, moved)
            gradients[name], seconds = _timed(home, grad, moved)
        notes.append(f"{name}: {1e3 * seconds:.3g} ms for a gradient")
    notes += [f"{a} against {b}: {_apart(gradients[a], gradients[b]):.1e}" for a, b in combinations(names, 2)]
    return _joined(reports, notes)


def _moved(home: Backend, args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with their arrays on another backend."""
    arguments = Arguments(args)
    return arguments.filled({name: home.asarray(array, copy=True) for name, array in arguments.arrays.items()})


def _timed(home: Backend, grad: Callable[..., Any], args: Sequence[Any]) -> tuple[dict[str, Any], float]:
    """The gradient by name, and the seconds of a second call."""
    for _ in range(2):
        began = time.perf_counter()
        found = grad(*args)
        home.synchronize()
    return Arguments(args).matched("grad", found), time.perf_counter() - began


def _apart(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference of two gradients, relative to the largest entry of its tensor."""
    pairs = [(fetch(first[name]), fetch(second[name])) for name in first if first[name] is not None]
    return max((float(np.max(np.abs(a - b)) / (np.max(np.abs(a)) or 1.0)) for a, b in pairs), default=0.0)


def _joined(reports: dict[str, Report], notes: list[str]) -> Report:
    """All reports as one, whose tensors are called after their backends, too."""
    parameters = {
        f"{name} on {home}": replace(parameter, name=f"{name} on {home}")
        for home, report in reports.items()
        for name, parameter in report.parameters.items()
    }
    said = [f"{home}: {note}" for home, report in reports.items() for note in report.notes]
    parts = list(reports.values())
    return replace(
        parts[0],
        verdict=worst_verdict(report.verdict for report in parts),
        difference=max(report.difference for report in parts),
        parameters=parameters,
        evaluations=sum(report.evaluations for report in parts),
        seconds=sum(report.seconds for report in parts),
        notes=(*notes, *said),
    )
