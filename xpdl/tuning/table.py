"""The trials of a study, as lines of text."""

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from xpdl.checks import one_line

FORMATS = {"loss": ".4f", "accuracy": ".4f", "seconds": ".1f"}
"""How the columns are formatted; other numbers have four digits."""

LONGEST = 40
"""Characters of a name in a study that others have written."""

MARKS = ("diverged", "interrupted")
"""Attributes of a trial that are shown instead of its state, because they are more exact."""


def best_trial(study: Study) -> FrozenTrial | None:
    """Return the complete trial with the lowest loss, the first of equals; None if no trial is complete."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(complete, key=lambda trial: trial.value, default=None)


def row(trial: FrozenTrial) -> dict[str, Any]:
    """Return number, state, lowest validation loss, its accuracy, epochs, seconds and parameters of a trial."""
    return {
        "trial": trial.number,
        "state": next((mark for mark in MARKS if mark in trial.user_attrs), trial.state.name.lower()),
        "loss": min(trial.intermediate_values.values(), default=None),
        "accuracy": trial.user_attrs.get("accuracy"),
        "epochs": len(trial.intermediate_values),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        **trial.params,
    }


def rows(study: Study) -> list[dict[str, Any]]:
    """Return the rows of all trials: complete ones first, then by loss."""
    found = [row(trial) for trial in study.get_trials(deepcopy=False)]
    return sorted(found, key=lambda row: (row["state"] != "complete", row["loss"] is None, row["loss"] or 0.0))


def table(study: Study) -> str:
    """Return all trials as a table with a header; "-" marks an empty cell."""
    found = rows(study)
    names = list({name: None for row in found for name in row})
    cells = [
        [one_line(name, LONGEST) for name in names],
        *([_shown(name, row.get(name)) for name in names] for row in found),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in cells)


def line(study: Study, trial: FrozenTrial) -> str:
    """Return a line about a trial that has just ended, and about the best so far."""
    found, best = row(trial), best_trial(study)
    loss = f"{found['state']}, loss {_shown('loss', found['loss'])}"
    so_far = "" if best is None else f" (best {best.value:.4f}, trial {best.number})"
    return f"trial {trial.number}: {loss}{so_far}; {_listed(trial.params)}; {_shown('seconds', found['seconds'])} s"


def _listed(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{one_line(name, LONGEST)} {_shown(name, value)}" for name, value in parameters.items())


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return format(value, FORMATS.get(name, ".4g")) if isinstance(value, float) else one_line(value, LONGEST)
