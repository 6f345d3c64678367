"""Whether to trust the complex step of this function, and a second look at a claim before it fails."""

from collections.abc import Iterable
import math

import numpy as np

from xpdl.gradcheck.function.directional import (
    CentralDifference,
    DirectionalDerivative,
    analytic_sides,
    best_difference,
    central,
    complex_step,
    near,
)
from xpdl.gradcheck.function.probe import ROUNDINGS, SPREAD, NotAnalyticError, Probe, Tensors
from xpdl.gradcheck.report import Vector

SEGMENT = 2.0**-3
"""The complex step is integrated over this distance to both sides.  A longer one shows smaller parts, but eight nodes
must still integrate waves of 30 radians in a natural unit to rounding."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


def verify(probe: Probe, name: str, directions: Iterable[Vector]) -> str | None:
    """Why the complex step of a tensor cannot be trusted; None if it can.

    Libraries that do not mix real and complex arrays get all tensors as complex arrays.
    """
    reasons = []
    for moving in ([name], list(probe.theta)):
        probe.moving[name] = moving
        probe.verified.discard(name)
        try:
            reason = next(filter(None, (_objection(probe, name, d) for d in directions)), None)
        except NotAnalyticError as error:
            reason = str(error)
        if reason is None and probe.quantum and name not in probe.verified:
            reason = "may lose the imaginary part, and differences are too coarse to tell"
        if reason is None:
            return None
        reasons.append(reason)
    return reasons[0]


def _objection(probe: Probe, name: str, d: Vector) -> str | None:
    """A reason against the complex step along d, if there is one; at a kink, the mean of both sides must be right."""
    step, difference = complex_step(probe, name, d), central(probe, name, d)
    if step.bar > max(difference.bar, math.sqrt(probe.u) * abs(step.value)):
        return "changes with the step"
    if abs(difference.value) <= difference.bar or not near(difference, step.value, step.bar):
        difference, _ = best_difference(probe, name, d)
        if difference.jumps:
            return "jumps at theta"
        if difference.bar == math.inf:
            return "cannot be compared with differences: for real numbers it is not defined around theta"
        left, right, _ = analytic_sides(probe, name, d)
        if not near(difference, (left + right) / 2, step.bar):
            return f"gives {step.value:.6g} where central differences give {difference.value:.6g}"
    if abs(difference.value) > difference.bar:
        probe.verified.add(name)
    return None


def second_look(
    probe: Probe, name: str, d: Vector, claim: float, found: DirectionalDerivative, method: str
) -> DirectionalDerivative:
    """The derivative again, with all that speaks for a claim: noise, kinks, other methods and steps."""
    noise, missed = probe.noise_of_claims, found.misses(claim)
    if missed:
        noise += probe.rounding_of_claims(name, d)
    others = [central(probe, name, d, level) for level in ((0,) if method == "complex" else (-1, -3))]
    certain = all(other.jump <= 2 * other.side_bar and near(other, found.value, found.bar) for other in others)
    far = all(abs(claim - other.value) > 10 * (other.bar + SPREAD * noise) for other in others)
    if certain and far and found.widened(noise).misses(claim):
        return found.widened(noise)
    difference, kink = best_difference(probe, name, d)
    fallback = difference.derivative(kink=kink).widened(noise)
    if fallback.misses(claim) and not missed:  # another step shows more than the first
        fallback = fallback.widened(probe.rounding_of_claims(name, d))
    if fallback.bar == math.inf or method != "complex" or name not in probe.verified:
        return fallback
    try:
        if probe.vanishes(name, d, found.value, found.bar):  # its terms cancel, those of the claim but for rounding
            noise += ROUNDINGS / SPREAD * probe.u * probe.size
        return _second_step(probe, name, d, claim, found.widened(noise), difference) or fallback
    except NotAnalyticError:
        return fallback


def _second_step(
    probe: Probe, name: str, d: Vector, claim: float, found: DirectionalDerivative, difference: CentralDifference
) -> DirectionalDerivative | None:
    """The complex step, widened by its sides at a kink, its noise and its gap; None if differences contradict it."""
    left, right, kink = analytic_sides(probe, name, d)
    apart = max(abs(left - difference.backward), abs(right - difference.forward))
    if apart > 2 * difference.side_bar + found.bar or not (kink or near(difference, found.value, found.bar)):
        return None
    if kink:
        found = found._replace(low=min(found.value, left, right), high=max(found.value, left, right))
    if found.misses(claim):
        found = found.widened(probe.noise_of_step(name, d))
    gap = missed_part(probe, {name: d}) if found.misses(claim) else 0.0
    return found._replace(bar=found.bar + gap) if gap <= difference.bar else None


def missed_part(probe: Probe, direction: Tensors, t: float = SEGMENT) -> float:
    """|J(t) - J(-t) - integral of the complex steps between| / t; in float64, 0 if that may be rounding.

    A complex step may miss a tiny part of J, such as 1e-12 |theta|.  A short difference cannot show this part, because
    the rounding of J hides it; a long difference minus the integral can.  Integrals: Gauss-Legendre, 8 points.
    """

    def at(t: float) -> dict[str, Vector]:
        return {name: t * d for name, d in direction.items()}

    steps = [probe.imaginary_along(direction, at=probe.moved(at(t * x))) for x in NODES.tolist()]
    ahead, behind = probe.real(at(t)), probe.real(at(-t))
    gap = abs(ahead - behind - t * float(WEIGHTS @ np.array(steps)))
    rounding = probe.u * max(abs(ahead), abs(behind)) + SPREAD * probe.noise
    if not math.isfinite(gap):
        return math.inf
    return (gap + rounding) / t if gap > rounding or probe.single else 0.0
