"""What backends made of the same computation, as a table and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from xpdl.gradcheck.report import FAIL, PASS, Parameter, finite

MEANINGS = {
    "x": ("input", ("sample", "unit")),
    "z": ("pre-activation", ("sample", "unit")),
    "a": ("activation", ("sample", "unit")),
    "cost": ("output", ("sample",)),
    "dz": ("derivative of the pre-activation", ("sample", "unit")),
    "dw": ("gradient of the weights", ("input", "unit")),
    "db": ("gradient of the biases", ("unit",)),
    "da": ("derivative of the activation", ("sample", "unit")),
}
"""What a quantity is, and its axes."""

FORMATS = {7: " (bfloat16)", 10: " (TF32 or float16)", 23: " (float32)", 52: " (float64)"}
"""Number formats by the bits of their mantissa."""


@dataclass(frozen=True)
class BackendResult:
    """What one backend computed.

    precision   the dtype it was to compute in
    difference  ||g - r|| / (||g|| + ||r||) of its gradient g and the one in float64 r; NaN if it could not compute
    quantities  a ``Parameter`` for each, in the order of computation; ``numeric`` is the value in float64
    bits        bits of the mantissa that each matrix product keeps, by the quantity it gives
    notes       what else is worth knowing
    """

    name: str
    precision: str
    difference: float
    quantities: Mapping[str, Parameter]
    bits: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """FAIL if anything diverges, or if the backend could not compute at all."""
        return FAIL if self.diverging or not self.quantities else PASS

    @property
    def diverging(self) -> list[str]:
        """What is wrong by itself, not just because something before it is, in the order of computation."""
        reduced = self.reduced
        return [name for name, found in self.quantities.items() if found.verdict == FAIL or name in reduced]

    @property
    def first(self) -> str | None:
        """What diverges first, as "z2"."""
        return next(iter(self.diverging), None)

    @property
    def reduced(self) -> list[str]:
        """The quantities whose matrix products lose bits."""
        return [name for name, kept in self.bits.items() if kept < np.finfo(self.precision).nmant]

    @property
    def worst(self) -> float:
        """The largest error, in bars; NaN if it could not compute."""
        off = [abs(q.worst.analytic - q.worst.numeric) / q.worst.bar for q in self.quantities.values()]
        return math.inf if any(map(math.isnan, off)) else max(off, default=math.nan)

    @property
    def products(self) -> str:
        """The least precise matrix product, in words."""
        kept = min(self.bits.values(), default=None)
        return "" if kept is None else f"{kept}-bit mantissa{FORMATS.get(kept, '')}"

    def describe(self, name: str) -> str:
        """A quantity and its worst entry, in words."""
        found, entry = self.quantities[name], self.quantities[name].worst
        kind = name.rstrip("0123456789")
        what, axes = MEANINGS[kind]
        where = f"layer {name.removeprefix(kind)}, {what}" if kind != name else what
        place = ", ".join(f"{axis} {i}" for axis, i in zip(axes, entry.index, strict=True))
        return (
            f"{name} ({where}), {place}: {self.name} {entry.analytic:.9g}, float64 {entry.numeric:.9g}, "
            f"bar {entry.bar:.1e}; {found.failing:,} of {math.prod(found.shape):,} entries wrong"
        )

    def lines(self) -> list[str]:
        """What there is to say beside the table, a line each."""
        said = [f"first divergence: {self.describe(self.first)}"] if self.first else []
        if self.diverging[1:]:
            said.append(f"wrong by themselves too: {', '.join(self.diverging[1:])}")
        if self.reduced:
            where = ", ".join(self.reduced)
            said.append(f"multiplies {self.precision} in reduced precision: {self.products}, in {where}")
        return [f"{self.name}: {line}" for line in (*said, *self.notes)]

    def to_dict(self) -> dict[str, Any]:
        """The numbers without the arrays, for JSON."""
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
    """What several backends made of the same computation; true if and only if all pass, and ``str`` is a table."""

    backends: Mapping[str, BackendResult]
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """PASS if every backend passes, else FAIL."""
        return PASS if all(result.verdict == PASS for result in self.backends.values()) else FAIL

    def __bool__(self) -> bool:
        return self.verdict == PASS

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-serialisable values; a number that is not finite is None."""
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
