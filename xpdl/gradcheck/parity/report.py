"""The reports of ``check_backends``: the results of each backend, as a table and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from xpdl.gradcheck.report import FAIL, PASS, Parameter, finite

QUANTITIES = {
    "x": ("input", ("sample", "unit")),
    "z": ("pre-activation", ("sample", "unit")),
    "a": ("activation", ("sample", "unit")),
    "cost": ("output", ("sample",)),
    "dz": ("derivative of the pre-activation", ("sample", "unit")),
    "dw": ("gradient of the weights", ("input", "unit")),
    "db": ("gradient of the biases", ("unit",)),
    "da": ("derivative of the activation", ("sample", "unit")),
}
"""The meaning of each quantity, and the names of its axes."""

FORMATS = {7: " (bfloat16)", 10: " (TF32 or float16)", 23: " (float32)", 52: " (float64)"}
"""Number formats, by the bits of their mantissa."""


@dataclass(frozen=True)
class BackendResult:
    """The result of one backend.

    Parameters
    ----------
    name : str
        The backend.
    precision : str
        The dtype in which it computed.
    difference : float
        ||g - r|| / (||g|| + ||r||), g its gradient, r the one in float64; NaN if it could not compute.
    quantities : mapping of str to Parameter
        Every quantity in the order of computation, as "z2"; ``numeric`` is its float64 value from the same inputs.
    bits : mapping of str to int
        How many bits of the mantissa each matrix product keeps, by the quantity it computes.
    notes : tuple of str
        What else is worth knowing.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 2])
    >>> x, y = np.array([[0.1, -0.2], [0.3, 0.5]]), np.array([0, 1])
    >>> result = xpdl.check_backends(net, net.initialize(0), x, y, backends=["numpy"]).backends["numpy"]
    >>> result.verdict, list(result.quantities)[:3], result.bits["z1"]
    ('PASS', ['x1', 'z1', 'a1'], 23)
    """

    name: str
    precision: str
    difference: float
    quantities: Mapping[str, Parameter]
    bits: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """FAIL if a quantity diverges, or if the backend could not compute at all; else PASS."""
        return FAIL if self.diverging or not self.quantities else PASS

    @property
    def diverging(self) -> list[str]:
        """The quantities that are wrong by themselves, given their inputs, in the order of computation."""
        reduced = self.reduced
        return [name for name, found in self.quantities.items() if found.verdict == FAIL or name in reduced]

    @property
    def first(self) -> str | None:
        """The first quantity that diverges, as "z2"; None if none does."""
        return next(iter(self.diverging), None)

    @property
    def reduced(self) -> list[str]:
        """The quantities whose matrix products lose bits."""
        return [name for name, kept in self.bits.items() if kept < np.finfo(self.precision).nmant]

    @property
    def worst(self) -> float:
        """The largest error, in error bars; NaN if the backend could not compute."""
        errors = [abs(q.worst.analytic - q.worst.numeric) / q.worst.bar for q in self.quantities.values()]
        return math.inf if any(map(math.isnan, errors)) else max(errors, default=math.nan)

    @property
    def products(self) -> str:
        """The precision of the least precise matrix product, in words."""
        kept = min(self.bits.values(), default=None)
        return "" if kept is None else f"{kept}-bit mantissa{FORMATS.get(kept, '')}"

    def describe(self, name: str) -> str:
        """Describe a quantity and its worst entry.

        Parameters
        ----------
        name : str
            The quantity, as "z2".

        Returns
        -------
        str
            Its meaning and place, both values, the error bar, and how many entries are wrong.
        """
        found, entry = self.quantities[name], self.quantities[name].worst
        kind = name.rstrip("0123456789")
        what, axes = QUANTITIES[kind]
        where = f"layer {name.removeprefix(kind)}, {what}" if kind != name else what
        place = ", ".join(f"{axis} {i}" for axis, i in zip(axes, entry.index, strict=True))
        return (
            f"{name} ({where}), {place}: {self.name} {entry.analytic:.9g}, float64 {entry.numeric:.9g}, "
            f"bar {entry.bar:.1e}; {found.failing:,} of {math.prod(found.shape):,} entries wrong"
        )

    def lines(self) -> list[str]:
        """Return the lines of the report below the table.

        Returns
        -------
        list of str
            One line each: the first divergence, the others, reduced precision, notes.
        """
        said = [f"first divergence: {self.describe(self.first)}"] if self.first else []
        if self.diverging[1:]:
            said.append(f"also wrong by themselves: {', '.join(self.diverging[1:])}")
        if self.reduced:
            where = ", ".join(self.reduced)
            said.append(f"multiplies {self.precision} in reduced precision: {self.products}, in {where}")
        return [f"{self.name}: {line}" for line in (*said, *self.notes)]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold, without the arrays.

        Returns
        -------
        dict
            The fields and properties by name; a number that is not finite is None.
        """
        return {
            "verdict": self.verdict,
            "precision": self.precision,
            "difference": finite(self.difference),
            "worst": finite(self.worst),
            "first": self.first,
            "diverging": self.diverging,
            "reduced": self.reduced,
            "bits": dict(self.bits),
            "notes": list(self.notes),
            "quantities": {name: found.to_dict() for name, found in self.quantities.items()},
        }


@dataclass(frozen=True)
class BackendsReport:
    """The results of the same computation on several backends.

    A report is true if and only if all backends pass, and ``str(report)`` is a table with a line for each.

    Parameters
    ----------
    backends : mapping of str to BackendResult
        The result of each backend by its name.
    seconds : float
        How long the check took.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 2])
    >>> x, y = np.array([[0.1, -0.2], [0.3, 0.5]]), np.array([0, 1])
    >>> report = xpdl.check_backends(net, net.initialize(0), x, y, backends=["numpy"])
    >>> print(str(report).splitlines()[0])
    PASS  1 of 1 backends agree with float64 to rounding
    """

    backends: Mapping[str, BackendResult]
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """PASS if every backend passes; else FAIL."""
        return PASS if all(result.verdict == PASS for result in self.backends.values()) else FAIL

    def __bool__(self) -> bool:
        return self.verdict == PASS

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold.

        Returns
        -------
        dict
            verdict, seconds, and the result of each backend.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([2, 3, 2])
        >>> x, y = np.array([[0.1, -0.2], [0.3, 0.5]]), np.array([0, 1])
        >>> xpdl.check_backends(net, net.initialize(0), x, y, backends=["numpy"]).to_dict()["verdict"]
        'PASS'
        """
        results = {name: result.to_dict() for name, result in self.backends.items()}
        return {"verdict": self.verdict, "seconds": self.seconds, "backends": results}

    def __str__(self) -> str:
        width = max(7, *map(len, self.backends))
        passing = sum(result.verdict == PASS for result in self.backends.values())
        lines = [f"{self.verdict}  {passing} of {len(self.backends)} backends agree with float64 to rounding"]
        lines += ["", f"{'backend':<{width}}  verdict  precision  error/bar  difference  first  products"]
        for name, r in self.backends.items():
            numbers = f"{r.worst:>9.2g}  {r.difference:>10.1e}"
            row = f"{name:<{width}}  {r.verdict:<7}  {r.precision:<9}  {numbers}  {r.first or '':<5}  {r.products}"
            lines.append(row.rstrip())
        said = [line for result in self.backends.values() for line in result.lines()]
        return "\n".join([*lines, *([""] if said else []), *said])
