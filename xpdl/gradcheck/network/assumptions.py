"""Test what ``check_network`` assumes of an activation and a loss.

The activation must work entry by entry, and the loss row by row.  For the complex step, both must be analytic in each
of their branches: then the complex step lies between the difference quotients to both sides.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from xpdl.activations import Activation
from xpdl.arrays import Array, namespace
from xpdl.backends.base import to_numpy
from xpdl.gradcheck.network.perturbation import (
    Point,
    complex_derivative,
    difference_derivative,
    difference_step,
    eps,
    sign_vectors,
)
from xpdl.gradcheck.problem import Problem
from xpdl.gradcheck.report import Vector

MIXING = 1e-10
"""A change of f(z) that is larger than this times (|f(z)| + max |z|) is not due to rounding."""


def check_entry_by_entry(problem: Problem, zs: Sequence[Array]) -> None:
    """Raise ``ValueError`` if an entry of f(z) changes with other entries of z, in other units or other samples."""
    if isinstance(problem.net.hidden, str):
        return
    for l, (f, z) in enumerate(zip(problem.net.activations, zs, strict=True), start=1):
        mixed = _mixed(partial(_forward, f, problem), to_numpy(z))
        if mixed:
            sample, unit = mixed[0]
            raise ValueError(
                f"hidden must work entry by entry, a[i, j] = f(z[i, j]), got a function whose value for layer {l}, "
                f"unit {unit}, sample {sample} changes with other units or samples; check_gradient checks any function"
            )


def _forward(f: Activation, problem: Problem, z: Vector) -> Vector:
    """f(z) on the backend of the problem."""
    return to_numpy(f.forward(problem.home.asarray(z)))


def _mixed(f: Callable[[Vector], Vector], z: Vector) -> list[list[int]]:
    """The entries of f(z), z (n, n_l), that change with other entries of z.

    A random half of the entries of z takes values of other entries, for which f is defined.  The other half of f(z)
    must not change.  Then the halves change roles.
    """
    rng = np.random.default_rng(0)
    half, others, before = rng.random(z.shape) < 0.5, rng.choice(z.ravel(), z.shape), f(z)
    mixed = np.zeros(z.shape, bool)
    for moved in (half, ~half):
        with np.errstate(invalid="ignore"):
            change = np.abs(f(np.where(moved, others, z)) - before)
        mixed |= ~moved & (change > MIXING * (np.abs(before) + np.max(np.abs(z))))
    return [[int(i) for i in place] for place in np.argwhere(mixed)]


def check_row_by_row(problem: Problem, z: Vector, y: Vector) -> None:
    """Raise ``ValueError`` if the loss does not give a finite cost for each sample, independent of other samples."""
    head, home = problem.net.head, problem.home

    def cost(z: Vector) -> Vector:
        return to_numpy(head.value(home.asarray(z), home.asarray(y)))

    before = cost(z)
    if not np.isfinite(before).all():
        raise ValueError("theta must give finite costs for x and y to be checked, got NaN or infinity")
    if isinstance(problem.net.output, str):  # tests show the rest of these
        return
    if before.shape != z.shape[:1] or cost(z[None]).shape != (1, *z.shape[:1]):
        raise ValueError(
            f"output must have a cost (..., n) for logits (..., n, k), got shape {before.shape} for {z.shape}"
        )
    moved = np.arange(len(z)) % 2 == 0
    for rows in (moved, ~moved):
        change = np.abs(cost(np.where(rows[:, None], np.roll(z, 1, axis=1) + 1, z)) - before)[~rows]
        if np.any(change > MIXING * (np.abs(before[~rows]) + np.max(np.abs(z)))):
            raise ValueError("output must give the cost of each sample alone, got one that changes with other samples")


def not_analytic(f: Callable[[Array], Array], zs: Sequence[Array], what: str = "activation") -> str | None:
    """Why the complex step of f, which works entry by entry, cannot be trusted at zs; None if it can."""
    for z in zs:
        try:
            fprime = complex_derivative(f).at(z)
        except Exception as error:
            return f"the {what} cannot be computed for complex z: {error}"
        xp = namespace(z)
        backward, forward = difference_derivative(f).beside(z, z)
        slack = xp.minimum(64 * difference_step(z), 0.25) * (1 + xp.abs(backward) + xp.abs(forward))
        slack += 8 * eps(z) * xp.abs(f(z)) / difference_step(z)
        within = (fprime >= xp.minimum(backward, forward) - slack) & (fprime <= xp.maximum(backward, forward) + slack)
        if not bool(xp.all(within)):
            return f"the {what} is not analytic: its complex step differs from its differences"
    return None


def cost_not_analytic(at: Point) -> str | None:
    """Why the complex step of the cost cannot be trusted; the logits are moved along several directions to see it."""
    if isinstance(at.net.output, str):  # tests show that it can
        return None
    xp, z = namespace(at.y), at.layers[-1].z
    largest = xp.max(xp.abs(z), axis=1)
    for signs in sign_vectors(z):

        def cost(t: Array, signs: Array = signs) -> Array:
            return at.costs(z + xp.expand_dims(t - largest, axis=1) * signs)

        if fault := not_analytic(cost, [largest], "loss"):
            return fault
    return None
