"""A backward and a forward pass of one function, held against each other: <c, J t> is <J' c, t>."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.gradcheck.function.blackbox import enter
from xpdl.gradcheck.function.pairing import Pairing
from xpdl.gradcheck.report import Report, worst_verdict
from xpdl.gradcheck.vector.jvp import Forward, check_jvp
from xpdl.randomness import Stream, generator


def with_forward(
    report: Report,
    pairing: Pairing,
    gradient: Callable[[Pairing], Callable[..., Any]],
    jvp: Callable[..., Any],
    args: Sequence[Any],
    seed: int,
    options: Mapping[str, Any],
) -> Report:
    """One report on both passes, with a line for their product."""
    forward = check_jvp(pairing.fun, jvp, *args, seed=seed, **options)
    tangents = {f"{name} forward": replace(p, name=f"{name} forward") for name, p in forward.parameters.items()}
    return replace(
        report,
        verdict=worst_verdict([report.verdict, forward.verdict]),
        parameters={**report.parameters, **tangents},
        evaluations=report.evaluations + forward.evaluations,
        seconds=report.seconds + forward.seconds,
        notes=(*report.notes, _product(pairing, gradient(pairing), jvp, args, seed, options.get("dtype"))),
    )


def _product(
    pairing: Pairing, gradient: Callable[..., Any], jvp: Callable[..., Any], args: Sequence[Any], seed: int, dtype: Any
) -> str:
    """Both sides of <c, J t> = <J' c, t>, for a random tangent t."""
    box, _, _ = enter(pairing, gradient, args, dtype, conjugate=pairing.conjugate)
    drawn = generator(seed, Stream.DATA, step=2)
    tangents = {name: drawn.standard_normal(tensor.shape) for name, tensor in box.theta.items()}
    ahead, found = float(Forward(box, pairing, jvp).along(tangents)), box.gradient()
    back = float(sum(np.sum(found[name] * t) for name, t in tangents.items()))
    return f"forward against reverse: <c, J t> = {ahead:.9g}, <J' c, t> = {back:.9g}"
