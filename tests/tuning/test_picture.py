"""The picture of a study."""

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")

from xpdl.tuning import plot_trials, space, tune  # noqa: E402
from xpdl.tuning.table import best_trial, rows  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


def blobs(n=120, scale=1.0):
    """Three classes of points in the plane."""
    y = np.arange(n) % 3
    return scale * (np.random.default_rng(0).normal(size=(n, 2)) + 2 * np.eye(3)[y][:, :2]), y


X, Y = blobs()
FIT, VALIDATION = (X[:80], Y[:80]), (X[80:], Y[80:])
NET = xpdl.Network([2, 3], hidden="tanh")
QUICK = {"validation": VALIDATION, "epochs": 2, "backend": "numpy", "progress": False}


def test_the_picture_shows_the_losses_by_trial_and_by_parameter() -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    tuned = tune(NET, *FIT, trials=9, **QUICK)
    top, *others = plot_trials(tuned.study).axes
    assert (top.get_xlabel(), top.get_ylabel(), top.get_yscale()) == ("trial", "validation loss", "log")
    assert [axes.get_xlabel() for axes in others] == [stage.name for stage in space.stages("adam")]
    assert {text.get_text() for text in top.get_legend().get_texts()} >= {"complete", "best", "best so far"}
    losses = [row["loss"] for row in rows(tuned.study)]
    drawn = sorted(y for dots in top.collections[:-1] for _, y in dots.get_offsets())
    assert drawn == pytest.approx(sorted(losses))
    best = best_trial(tuned.study)
    assert top.collections[-1].get_offsets()[0].tolist() == pytest.approx([best.number, best.value])
    assert others[0].get_xscale() == "log"
    assert others[0].collections[-1].get_offsets()[0][0] == pytest.approx(best.params["lr"])
