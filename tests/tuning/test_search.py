"""The search: trials are runs of ``xpdl.train``, alone or shared by ranks."""

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")

from xpdl.tuning import search, space, tune  # noqa: E402
from xpdl.tuning.recipe import key  # noqa: E402
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


def same(one, other):
    return one.tobytes() == other.tobytes()


def test_the_best_trial_is_a_run_that_can_be_repeated() -> None:
    tuned = tune(NET, *FIT, trials=12, optimizer="momentum", seed=3, **QUICK)
    assert tuned.best.value == min(trial.value for trial in tuned.study.trials if trial.value is not None)
    chosen, settings = tuned.best.params, tuned.settings
    assert tuned.network.sizes == (2, *[chosen["units"]] * chosen["layers"], 3)
    assert (tuned.network.hidden, settings.lr, settings.beta1) == ("tanh", chosen["lr"], 1 - chosen["1-beta1"])
    steps = -(-80 // settings.batch_size)
    optimizer = xpdl.momentum(xpdl.schedules.exponential(settings.lr, settings.decay, every=steps), beta=settings.beta1)
    keep = xpdl.KeepBest()
    options = {"optimizer": optimizer, "batch_size": settings.batch_size, "seed": 3, "callbacks": [keep]}
    result = xpdl.train(tuned.network, *FIT, **options, **QUICK)
    assert same(result.theta, tuned.theta)
    assert keep.metrics["validation_loss"] == tuned.best.value
    assert tuned.signal == 0


@pytest.mark.parametrize("chosen", ["recipe", "tpe", "random", optuna.samplers.TPESampler(seed=0)])
def test_a_study_goes_on_with_any_sampler_of_optuna(chosen) -> None:
    storage = optuna.storages.InMemoryStorage()
    for trials in (3, 6):
        tuned = tune(NET, *FIT, trials=trials, sampler=chosen, storage=storage, **QUICK)
    assert len({key(trial.params) for trial in tuned.study.trials}) == 6


def test_a_study_in_which_every_trial_diverges_has_no_best_one() -> None:
    x, y = blobs(scale=2e37)
    tuned = tune(xpdl.Network([2, 3]), x[:80], y[:80], trials=2, **QUICK | {"validation": (x[80:], y[80:])})
    assert (tuned.best, tuned.settings, tuned.network, tuned.theta) == (None,) * 4
    assert str(tuned).splitlines()[-1] == "no trial is complete"


def test_no_trial_is_pruned_before_half_of_its_epochs() -> None:
    assert search.PRUNERS["median"](10)._n_warmup_steps == 5
    everything = tune(NET, *FIT, trials=8, pruner="none", **QUICK)
    assert {row["state"] for row in rows(everything.study)} == {"complete"}


def test_a_point_that_the_user_enqueues_is_tried_first(points) -> None:
    storage = optuna.storages.InMemoryStorage()
    guess = {stage.name: stage.start for stage in space.stages("adam")} | {"lr": 0.02, "units": 50}
    optuna.create_study(storage=storage, study_name="xpdl").enqueue_trial(guess)
    tuned = tune(NET, *FIT, trials=2, storage=storage, **QUICK)
    assert points(tuned.study)[0] == guess
    assert points(tuned.study)[1] != guess


def test_a_study_of_other_samples_or_options_is_refused(tmp_path) -> None:
    place = {"storage": tmp_path / "s.journal", "study": "s"}
    tune(NET, *FIT, trials=2, **place, **QUICK)
    with pytest.raises(ValueError, match=r"'s' differs from this one, .*: epochs is 2 there and 3 here$"):
        tune(NET, *FIT, trials=2, **place, **QUICK | {"epochs": 3})
    with pytest.raises(ValueError, match=r": x is .* there and .* here; y is"):
        tune(NET, X[1:80], Y[1:80], trials=2, **place, **QUICK)
    storage = search.open_storage(place["storage"])
    optuna.create_study(storage=storage, study_name="foreign").optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(ValueError, match="x is 'nothing' there"):
        tune(NET, *FIT, trials=2, **QUICK, **place | {"study": "foreign"})


WRONG = [
    ({"validation": None}, TypeError, r"validation must be a pair \(x, y\), got None"),
    ({"trials": 0}, ValueError, "trials must be at least 1"),
    ({"epochs": 0}, ValueError, "epochs must be at least 1"),
    ({"optimizer": "adm"}, ValueError, "did you mean 'adam'"),
    ({"sampler": "recip"}, ValueError, "did you mean 'recipe'"),
    ({"pruner": "meidan"}, ValueError, "did you mean 'median'"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"dtype": "float16"}, ValueError, "dtype must be"),
    ({"storage": "no/folder/s.db"}, OSError, "storage must be a file in a directory that exists, got 'no/folder/s.db'"),
    ({"storage": "nonesuch://x"}, OSError, "storage of the study: .*nonesuch"),
]


@pytest.mark.parametrize(("options", "error", "said"), WRONG)
def test_wrong_arguments_are_named(options, error, said) -> None:
    with pytest.raises(error, match=said):
        tune(NET, *FIT, **QUICK | {"trials": 1} | options)


def test_ranks_share_a_study_and_rank_0_has_the_result_of_all(on_ranks, tmp_path, capsys, points, opened) -> None:
    """Each rank runs its own trials; only rank 0 prints."""
    options = QUICK | {"trials": 9, "storage": tmp_path / "s.journal", "progress": True}
    first, other, another = on_ranks(3, lambda ranks: tune(NET, *FIT, communicator=ranks, **options))
    study = opened(tmp_path / "s.journal", "xpdl")
    assert 9 <= len(study.trials) <= 11
    assert len({key(point) for point in points(study)}) == len(study.trials)
    assert first.best.number == other.best.number == another.best.number == best_trial(study).number
    assert first.theta is not None
    assert other.theta is None or another.theta is None, "only rank 0 trains what it has not"
    assert len(capsys.readouterr().out.splitlines()) < len(study.trials)
    with pytest.raises(ValueError, match="storage must be a file or a database that all ranks share, got None"):
        on_ranks(2, lambda ranks: tune(NET, *FIT, communicator=ranks, **QUICK))
