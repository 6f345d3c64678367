"""The library's own rule under its vmap, against the same rule in a loop."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.arrays import Array
from xpdl.gradcheck.function.autodiff import Record
from xpdl.gradcheck.function.blackbox import BlackBox, fetch
from xpdl.gradcheck.report import FAIL, Report
from xpdl.gradcheck.vector.rounding import Rounding

FACTORS = (1.0, 1.125, 0.75)
"""The batch: the arguments, times these factors."""


def with_batch(report: Report, fun: Callable[..., Any], box: BlackBox) -> Report:
    """The same report, but FAIL where the gradients of a batch are not those of the loop."""
    record, rounding = Record("vjp", fun, box.place(box.theta)), Rounding(report, box.theta)
    if record.home.vmap is None:
        return report
    try:
        batch = [record.home.xp.stack([leaf * factor for factor in FACTORS]) for leaf in record.arrays]
        together = _gradients(record, lambda leaves: record.home.vmap(record.run)(leaves), batch)
    except Exception as error:  # whatever a rule without vmap raises
        note = f"not checked under vmap, which raises {type(error).__name__}"
        return replace(report, notes=(*report.notes, note))
    loop = [_gradients(record, record.run, [leaf[k] for leaf in batch]) for k in range(len(FACTORS))]
    parameters = dict(report.parameters)
    for name, found, *alone in zip(record.names, together, *loop, strict=True):
        if name in parameters and not rounding.same(name, np.stack(alone), found):
            said = "under vmap another gradient than in a loop"
            parameters[name] = replace(parameters[name], verdict=FAIL, diagnosis=said)
    wrong = any(parameter.verdict == FAIL for parameter in parameters.values())
    return replace(report, parameters=parameters, verdict=FAIL if wrong else report.verdict)


def _gradients(record: Record, run: Callable[[Sequence[Array]], Sequence[Array]], leaves: Sequence[Array]) -> list[Any]:
    """The gradients of the sum of the outputs on the host; zeros where there is none."""
    outputs, backward = record.home.vjp(run, leaves)
    found = backward([record.home.xp.ones_like(output) for output in outputs])
    return [np.zeros(leaf.shape) if g is None else fetch(g) for g, leaf in zip(found, leaves, strict=True)]
