"""A trial is a run of ``xpdl.train``; it may diverge, or end early."""

from functools import partial

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")

from xpdl.tuning import tune  # noqa: E402
from xpdl.tuning.table import rows  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


def blobs(n=120, scale=1.0):
    """Three classes of points in the plane."""
    y = np.arange(n) % 3
    return scale * (np.random.default_rng(0).normal(size=(n, 2)) + 2 * np.eye(3)[y][:, :2]), y


X, Y = blobs()
FIT, VALIDATION = (X[:80], Y[:80]), (X[80:], Y[80:])
NET = xpdl.Network([2, 3], hidden="tanh")
QUICK = {"validation": VALIDATION, "epochs": 2, "backend": "numpy", "progress": False}


def same(one, other):
    return one.tobytes() == other.tobytes()


def test_the_best_trial_of_another_process_is_trained_once_more() -> None:
    """The parameters are those of the best epoch, which is not the last one because labels are noise."""
    noise = {"validation": (VALIDATION[0], VALIDATION[1][::-1]), "storage": optuna.storages.InMemoryStorage()}
    first, second = (tune(NET, *FIT, trials=6, **QUICK | noise | {"epochs": 6}) for _ in range(2))
    assert len(second.study.trials) == 6
    assert list(first.best.intermediate_values.values()).index(first.best.value) < 5
    assert same(first.theta, second.theta)


def test_a_run_that_diverges_is_a_bad_trial_and_no_crash() -> None:
    x, y = blobs(scale=1e18)
    options = QUICK | {"validation": (x[80:], y[80:])}
    tuned = tune(xpdl.Network([2, 3]), x[:80], y[:80], trials=7, optimizer="sgd", **options)
    assert "diverged" in {row["state"] for row in rows(tuned.study)}
    assert "smaller learning rate" in next(
        trial.user_attrs["diverged"] for trial in tuned.study.trials if "diverged" in trial.user_attrs
    )


def test_a_trial_that_looks_bad_is_ended_early() -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
    tuned = tune(NET, *FIT, trials=8, pruner=pruner, **QUICK | {"epochs": 4})
    found = {row["trial"]: row for row in rows(tuned.study)}
    assert {row["state"] for row in found.values()} == {"complete", "pruned"}
    assert {row["epochs"] for row in found.values() if row["state"] == "complete"} == {4}
    assert {row["epochs"] for row in found.values() if row["state"] == "pruned"} <= {2, 3}
    assert all(row["loss"] > tuned.best.value for row in found.values() if row["state"] == "pruned")


def scaled_squares(factor, s, y):
    return factor * np.sum((s - y) ** 2, axis=-1)


def test_a_study_is_of_one_loss() -> None:
    """A loss of the user's own may consist of any functions."""
    options = QUICK | {"validation": (VALIDATION[0], VALIDATION[0]), "storage": optuna.storages.InMemoryStorage()}

    def search(factor):
        loss = xpdl.Loss(partial(scaled_squares, factor), lambda s, p, y: 2 * factor * (s - y))
        return tune(xpdl.Network([2, 2], hidden="tanh", output=loss), FIT[0], FIT[0], trials=1, **options)

    assert search(0.5).best.value == search(0.5).best.value
    with pytest.raises(ValueError, match=r"output is .*, 0\.5\).* there and .*, 0\.7\).* here"):
        search(0.7)


def test_an_activation_for_each_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="net must have one activation for any number of hidden layers"):
        tune(xpdl.Network([2, 4, 4, 3], hidden=["relu", "tanh"]), *FIT, trials=1, **QUICK)
