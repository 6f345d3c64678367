"""Arguments that must keep a property: symmetric matrices, skew ones, weights whose sum is 1.

With the projection P of directions on the allowed ones, a -> fun(theta + P a) is a function without a constraint.  At
a = 0 its gradient is P grad, so each entry of a report is about P of a unit vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.arrays import namespace
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import fetch
from xpdl.gradcheck.function.probe import natural_scale
from xpdl.gradcheck.report import Parameter, Report, Vector

SAMPLE = 64
"""The most entries of a tensor whose projections are looked at."""
ROUNDING = 2.0**-20
"""P P d may differ from P d by this part, as rounding does in float32."""


class Constrained:
    """``value`` and ``gradient`` as functions of a, whose entries move theta by ``scale``, at ``zeros``."""

    def __init__(self, fun: Any, grad: Any, tangent: Any, args: Sequence[Any]) -> None:
        if not callable(tangent):
            raise TypeError(f"tangent must be a function of a direction, got {checks.shorten(tangent)}")
        self.fun, self.grad, self.tangent = fun, grad, tangent
        self.arguments = Arguments(args)
        leaves = self.arguments.variables
        self.scale = {name: float(np.median(natural_scale(fetch(leaf)))) for name, leaf in leaves.items()}
        self.zeros = self.arguments.filled({name: leaf - leaf for name, leaf in leaves.items()})
        self._check_projection()

    def projected(self, direction: Mapping[str, Any]) -> dict[str, Any]:
        """P of a direction, by name."""
        trees = self.arguments.filled(direction)
        return self.arguments.matched("tangent", self.tangent(trees[0] if len(trees) == 1 else trees))

    def value(self, *a: Any) -> Any:
        """fun(theta + P a)."""
        leaves = self._leaves(a)
        along = self.projected({name: leaf * self.scale[name] for name, leaf in leaves.items()})
        return self.fun(*self.arguments.filled({n: self._like(n, leaf) + along[n] for n, leaf in leaves.items()}))

    def gradient(self, *a: Any) -> Any:
        """P grad(theta); ``a`` only tells the precision."""
        theta = {name: self._like(name, leaf) for name, leaf in self._leaves(a).items()}
        found = self.arguments.matched("grad", self.grad(*self.arguments.filled(theta)))
        claims = {name: theta[name] * 0.0 if claim is None else claim for name, claim in found.items()}
        along = {name: claim * self.scale[name] for name, claim in self.projected(claims).items()}
        trees = self.arguments.filled(along)
        return trees[0] if len(trees) == 1 else trees

    def _leaves(self, a: Sequence[Any]) -> dict[str, Any]:
        found = self.arguments.leaves_of(a)
        return {name: found[name] for name in self.arguments.variables}

    def _like(self, name: str, other: Any) -> Any:
        """A variable of theta in the dtype of another array."""
        leaf = self.arguments.variables[name]
        return namespace(leaf).astype(leaf, other.dtype) if is_array_api_obj(leaf) else leaf

    def _check_projection(self) -> None:
        """Check that P is a linear projection along its normals: P P = P and <u, P d> = <P u, d>."""
        generator = np.random.default_rng(0)
        u, d = (self._drawn(generator) for _ in range(2))
        pu, pd = self.projected(u), self.projected(d)
        ppd = _host(self.projected(pd))
        u, d, pu, pd = (_host(leaves) for leaves in (u, d, pu, pd))
        if not any(np.any(leaf) for leaf in pd.values()):
            raise ValueError("tangent must allow a direction, got 0 for a random one")
        there, back = _dot(u, pd), _dot(pu, d)
        sizes = [float(np.sum(np.abs(u[name] * pd[name])) + np.sum(np.abs(pu[name] * d[name]))) for name in u]
        apart = max(float(np.max(np.abs(ppd[n] - pd[n])) - ROUNDING * np.max(np.abs(pd[n]))) for n in pd)
        if apart > 0 or abs(there - back) > ROUNDING * sum(sizes):
            raise ValueError("tangent must be a projection P, with P P d = P d and <u, P d> = <P u, d>, and is none")

    def _drawn(self, generator: np.random.Generator) -> dict[str, Any]:
        """A random direction in arrays like theta."""
        shapes = {name: np.shape(fetch(leaf)) for name, leaf in self.arguments.variables.items()}
        return self._directions({name: generator.standard_normal(shape) for name, shape in shapes.items()})

    def _directions(self, moving: Mapping[str, Vector]) -> dict[str, Any]:
        """A direction in arrays like theta, 0 in all tensors that do not move."""
        direction = {}
        for name, leaf in self.arguments.variables.items():
            values = moving.get(name, np.zeros(np.shape(fetch(leaf))))
            home = namespace(leaf) if is_array_api_obj(leaf) else None
            direction[name] = float(values) if home is None else leaf * 0.0 + home.asarray(values, dtype=leaf.dtype)
        return direction

    def share(self, name: str) -> float:
        """The least part of an error of one entry that its projection keeps in it, above 0."""
        shape = np.shape(fetch(self.arguments.variables[name]))
        size = int(np.prod(shape))
        kept = []
        for k in np.random.default_rng(0).permutation(size)[:SAMPLE].tolist():
            unit = np.eye(1, size, k).reshape(shape)
            kept.append(float(fetch(self.projected(self._directions({name: unit}))[name]).flat[k]))
        return min((part for part in kept if part > ROUNDING), default=1.0)

    def report(self, found: Report) -> Report:
        """The report in units of theta.  An error of one entry shows only by its part along allowed directions."""
        parameters = {
            name: replace(_in_units(p, self.scale[name]), detects=p.detects / self.share(name))
            for name, p in found.parameters.items()
        }
        note = "judged along allowed directions: an entry stands for the projection of its unit vector by tangent"
        return replace(found, parameters=parameters, notes=(note, *found.notes))


def _host(leaves: Mapping[str, Any]) -> dict[str, Vector]:
    return {name: fetch(leaf) for name, leaf in leaves.items()}


def _dot(first: Mapping[str, Vector], second: Mapping[str, Vector]) -> float:
    return float(sum(np.sum(first[name] * second[name]) for name in first))


def _in_units(parameter: Parameter, scale: float) -> Parameter:
    worst = parameter.worst
    numbers = {key: getattr(worst, key) / scale for key in ("analytic", "numeric", "bar")}
    arrays = {key: getattr(parameter, key) / scale for key in ("analytic", "numeric", "bar")}
    return replace(parameter, worst=replace(worst, **numbers), **arrays)
