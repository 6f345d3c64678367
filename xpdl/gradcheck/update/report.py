"""``UpdateReport``: the update rule of an optimizer, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from xpdl.gradcheck.report import PASS, Vector, finite
from xpdl.gradcheck.update.rules import EPS


@dataclass(frozen=True)
class UpdateReport:
    """The result of a check of an optimizer.

    A report is true if and only if its verdict is PASS, and ``str(report)`` is a summary of a few lines.

    Parameters
    ----------
    verdict : str
        "PASS", "FAIL" or "INCONCLUSIVE".
    rule : str or None
        The name of the update rule; None if no known rule fits.
    hyperparameters : mapping of str to float
        The hyper-parameters by name; lr is that of the first step.
    rates : tuple of float
        The learning rate of every step.
    findings : tuple of str
        One sentence each: faults first, then what is worth knowing.
    difference : float
        The largest difference between an observed step and a step of the rule, relative to the largest step.
    worst : mapping of str to float, or None
        The place of this difference: step, gradient, observed theta, and theta by the rule (reference).  None without
        a rule.
    precision : str
        The dtype of the arrays.

    Examples
    --------
    >>> import xpdl
    >>> report = xpdl.check_update(xpdl.momentum(0.1))
    >>> report.verdict, report.rule, report.findings
    ('PASS', 'momentum', ('heavy ball: v <- beta v + lr g, theta <- theta - v',))
    """

    verdict: str
    rule: str | None
    hyperparameters: Mapping[str, float]
    rates: tuple[float, ...]
    findings: tuple[str, ...]
    difference: float
    worst: Mapping[str, float] | None
    precision: str

    def __bool__(self) -> bool:
        return self.verdict == PASS

    def __str__(self) -> str:
        what = title(self.rule, self.hyperparameters) if self.rule else "no known rule"
        lines = [f"{self.verdict}  {what}", *(f"  {finding}" for finding in self.findings)]
        if self.worst is not None:
            at = "step {step:.0f}, gradient {gradient:.6g}: theta {observed:.9g}, by the rule {reference:.9g}"
            lines.append(f"  worst {at.format(**self.worst)}; {self.difference:.1e} of a step, in {self.precision}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold.

        Returns
        -------
        dict
            The fields by name; a number that is not finite is None.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.check_update(xpdl.sgd(0.5)).to_dict()["rule"]
        'sgd'
        """
        return {
            "verdict": self.verdict,
            "rule": self.rule,
            "hyperparameters": {name: finite(value) for name, value in self.hyperparameters.items()},
            "rates": list(map(finite, self.rates)),
            "findings": list(self.findings),
            "difference": finite(self.difference),
            "worst": self.worst and {name: finite(value) for name, value in self.worst.items()},
            "precision": self.precision,
        }


def title(name: str, values: Mapping[str, float]) -> str:
    """A rule and its hyper-parameters, as "adam: lr 0.001, beta1 0.9"."""
    shown = (f"{key} {value:.6g}" for key, value in values.items() if value or key not in EPS)
    return f"{name}: " + ", ".join(shown)


def entries(group: Sequence[int] | Vector) -> str:
    """ "entries 0 to 2, 5"."""
    breaks = [i for i, (a, b) in enumerate(pairwise(group), 1) if b != a + 1]
    runs = [group[i:j] for i, j in pairwise([0, *breaks, len(group)])]
    return "entries " + ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
