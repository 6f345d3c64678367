"""The sampler: the study is all its memory."""

import math

import pytest

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from optuna.distributions import FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from xpdl.tuning import RecipeSampler, Stage, sampler  # noqa: E402
from xpdl.tuning.recipe import key  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


LR = FloatDistribution(1e-5, 1e-1, log=True)
START = {"lr": 1e-3, "units": 64, "init": "he"}


def test_a_sampler_that_is_new_in_each_trial_does_the_same(valley, suggest, follow, points, stages) -> None:
    study = optuna.create_study()
    for _ in range(20):
        study.sampler = RecipeSampler(stages)
        study.optimize(lambda trial: valley(suggest(trial)), n_trials=1)
    assert points(study) == points(follow(20))


def test_trials_at_the_same_time_are_all_different(valley, suggest, points, stages) -> None:
    """Eight trials run at the same time: none is done when the next begins."""
    study = optuna.create_study(sampler=RecipeSampler(stages))
    running = [study.ask() for _ in range(8)]
    chosen = [suggest(trial) for trial in running]
    assert len({key(point) for point in chosen}) == 8
    for trial, point in zip(running, chosen, strict=True):
        study.tell(trial, valley(point))
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=22)
    assert len({key(point) for point in points(study)}) == 30
    assert study.best_value < 0.3


def test_points_are_claimed_in_the_order_of_the_trials(tmp_path, suggest, follow, points, stages) -> None:
    """It does not matter which trial stores its parameters first, or how many of them are stored."""
    study = optuna.create_study(sampler=RecipeSampler(stages))
    running = [study.ask() for _ in range(4)]
    running[1].suggest_float("lr", LR.low, LR.high, log=True)
    chosen = [suggest(trial) for trial in running[::-1]][::-1]
    assert chosen == points(follow(4))


def test_a_trial_waits_for_the_claims_of_earlier_ones_but_not_for_ever(monkeypatch, valley, suggest, stages) -> None:
    """A trial of another sampler never claims a point; it is waited for only once."""
    naps = []
    monkeypatch.setattr(sampler.time, "sleep", naps.append)
    monkeypatch.setattr(sampler.time, "monotonic", lambda: float(len(naps)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    study.ask()
    study.sampler = RecipeSampler(stages)
    assert suggest(study.ask()) == START
    assert len(naps) == sampler.PATIENCE
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=3)
    assert len(naps) == sampler.PATIENCE


def test_the_claim_of_a_trial_that_ended_before_it_began_is_void(suggest, stages) -> None:
    """Ctrl-C ended the trial while its parameters were being stored."""
    study = optuna.create_study(sampler=RecipeSampler(stages))
    ended = study.ask()
    ended.suggest_float("lr", LR.low, LR.high, log=True)
    study.tell(ended, state=TrialState.FAIL)
    assert suggest(study.ask()) == START


def test_enqueued_parameters_replace_those_of_the_claim(valley, suggest, follow, points, stages) -> None:
    study = optuna.create_study(sampler=RecipeSampler(stages))
    study.enqueue_trial({"lr": 0.02, "units": 100, "init": "he"})
    study.enqueue_trial({"lr": 0.03})
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=8)
    assert points(study)[1] == START | {"lr": 0.03}
    assert points(study)[2:] == points(follow(6))


@pytest.mark.parametrize("end", ["pruned", "failed"])
def test_trials_without_a_value_are_bad_and_are_not_tried_again(end, valley, suggest, points, stages) -> None:
    """The best point of the grid, 0.01, is pruned or fails, so the search continues around another point."""

    def loss(point):
        if point["lr"] == 1e-2:
            raise optuna.TrialPruned if end == "pruned" else ZeroDivisionError
        return valley(point)

    study = optuna.create_study(sampler=RecipeSampler(stages))
    study.optimize(lambda trial: loss(suggest(trial)), n_trials=7, catch=ZeroDivisionError)
    assert [point["lr"] for point in points(study)][5:] == [0.000316, 0.00316]


def test_a_lucky_epoch_does_not_count(suggest, points) -> None:
    """If the value is the lowest report, the mean of the last two reports counts; otherwise the value counts."""
    reports = {16: [3.0, 2.0, 2.0], 23: [3.0, 3.0, 3.0], 32: [3.0, 1.0, 4.0], 64: [3.0, 3.0, 3.0]}
    stage = Stage("units", IntDistribution(16, 64, log=True), 16, step=2)

    def study_of(value):
        def loss(trial):
            curve = reports[suggest(trial, [stage])["units"]]
            for epoch, report in enumerate(curve):
                trial.report(report, epoch)
            return value(curve)

        study = optuna.create_study(sampler=RecipeSampler([stage]))
        study.optimize(loss, n_trials=3)
        return [point["units"] for point in points(study)]

    assert study_of(min) == [16, 32, 23]
    assert study_of(lambda curve: min(curve) / 2) == [16, 32, 64]


def test_a_loss_that_ends_as_nan_is_bad_and_its_point_is_not_tried_again(valley, suggest, points, stages) -> None:
    def loss(trial):
        point = suggest(trial)
        for epoch in range(3):
            trial.report(math.nan if epoch == 2 and point["lr"] == 1e-2 else valley(point), epoch)
        return valley(point)

    study = optuna.create_study(sampler=RecipeSampler(stages))
    study.optimize(loss, n_trials=7)
    assert [point["lr"] for point in points(study)][5:] == [0.000316, 0.00316]


def test_a_study_that_maximises_tries_the_same_points(valley, follow, points) -> None:
    assert points(follow(25, lambda point: -valley(point), direction="maximize")) == points(follow(25))


def test_several_objectives_are_refused(suggest, stages) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=RecipeSampler(stages))
    with pytest.raises(ValueError, match="multi-objective"):
        study.optimize(lambda trial: suggest(trial) and (0.0, 0.0), n_trials=1)


def test_after_the_recipe_and_for_other_parameters_values_are_random(suggest, points) -> None:
    stage = Stage("n", IntDistribution(1, 3), 1, step=1)

    def loss(trial):
        return suggest(trial, [stage])["n"] + trial.suggest_float("other", 0, 1)

    study = optuna.create_study(sampler=RecipeSampler([stage], seed=1))
    study.optimize(loss, n_trials=12)
    assert [point["n"] for point in points(study)[:2]] == [1, 2]
    assert len({point["other"] for point in points(study)}) == 12
    assert {point["n"] for point in points(study)} == {1, 2, 3}
