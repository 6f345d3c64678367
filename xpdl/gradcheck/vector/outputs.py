"""The output whose derivative is wrong: halving the cotangent leads to it, as bisection does to an entry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.function.probe import Tensors
from xpdl.gradcheck.report import FAIL, Parameter, Report, Vector
from xpdl.gradcheck.vector.judging import judged

Place = tuple[str, int]
"""(name of the output, position in it)."""


def with_output(
    report: Report,
    pairings: Sequence[Pairing],
    gradient: Callable[[Pairing], Callable[..., Any]],
    args: Sequence[Any],
    seed: int,
    options: Mapping[str, Any],
) -> Report:
    """The same report, in which a failure names a pair of output and input whose derivative is wrong."""
    for pairing in pairings:
        under_test = gradient(pairing)
        found = _narrowed(pairing, lambda p=pairing, g=under_test: judged(p, g, args, seed, options))  # type: ignore[misc]
        if found:
            return replace(report, parameters=_with_pairs(report, pairing, *found))
    return report


def _narrowed(pairing: Pairing, judge: Callable[[], Report]) -> tuple[Place, Report] | None:
    """One output for which the check fails, and the report for it alone; None if none fails alone."""
    weights = pairing.weights
    places, report = [(name, k) for name, w in weights.items() for k in range(w.size)], judge()
    while report.verdict == FAIL and len(places) > 1:
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            pairing.weights = _only(weights, half)
            report = judge()
            if report.verdict == FAIL:
                places = half
                break
    return (places[0], report) if report.verdict == FAIL else None


def _only(weights: Tensors, places: Sequence[Place]) -> dict[str, Vector]:
    """The weights at these places, and 0 elsewhere."""
    kept = {name: np.zeros_like(w) for name, w in weights.items()}
    for name, k in places:
        kept[name].flat[k] = weights[name].flat[k]
    return kept


def _with_pairs(report: Report, pairing: Pairing, place: Place, alone: Report) -> dict[str, Parameter]:
    """The parameters, and for those that fail with this output alone the worst pair."""
    parameters = dict(report.parameters)
    for name, found in alone.parameters.items():
        if found.verdict == FAIL and name in parameters:
            causes = [parameters[name].diagnosis, _pair(pairing, place, found)]
            parameters[name] = replace(parameters[name], verdict=FAIL, diagnosis="; ".join(filter(None, causes)))
    return parameters


def _pair(pairing: Pairing, place: Place, found: Parameter) -> str:
    """The worst entry of the Jacobian of one output."""
    assert pairing.outputs is not None
    (name, k), weights = place, pairing.weights[place[0]]
    row, worst = np.unravel_index(k, weights.shape), found.worst
    output = f"{pairing.outputs.places[name]}{_index(row)}"
    analytic, numeric = worst.analytic / weights.flat[k], worst.numeric / weights.flat[k]
    numbers = "is wrong" if np.iscomplexobj(weights) else f"is {analytic:.7g}, and {numeric:.7g} numerically"
    if len(pairing.outputs.places) == 1 and found.name == "theta" and len(worst.index) == len(found.shape):
        return f"J{_index([*row, *worst.index])} {numbers}"
    return f"d {output} / d {found.name}{_index(worst.index)} {numbers}"


def _index(index: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, index))}]" if len(index) else ""
