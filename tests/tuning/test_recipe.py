"""The recipe, step by step."""

import pytest

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from optuna.distributions import FloatDistribution, IntDistribution  # noqa: E402

from xpdl.tuning import RecipeSampler, Stage  # noqa: E402
from xpdl.tuning.recipe import Known, key, next_point, oscillates  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


START = {"lr": 1e-3, "units": 64, "init": "he"}


def test_the_learning_rate_comes_first_on_a_grid_of_decades_and_then_by_bisection(follow, points) -> None:
    """The bracket is halved twice: factors of sqrt(10), then of its root, on both sides of the best."""
    tried = points(follow(9))
    assert [point["lr"] for point in tried] == [
        *(1e-3, 1e-4, 1e-2, 1e-5, 1e-1),
        *(0.00316, 0.0316),
        *(0.00178, 0.00562),
    ]
    assert all({**point, "lr": 1e-3} == START for point in tried)


def test_units_grow_as_long_as_that_helps_and_then_the_choices_are_compared(follow, points) -> None:
    tried = points(follow(14))[9:]
    assert [point["units"] for point in tried[:3]] == [128, 256, 512]
    assert [(point["units"], point["init"]) for point in tried[3:]] == [(256, "lecun"), (256, "xavier")]
    assert {point["lr"] for point in tried} == {0.00316}


def test_the_remaining_trials_search_around_the_best_in_smaller_steps(follow, points) -> None:
    study = follow(40)
    assert study.best_params["init"] == "lecun"
    assert study.best_params["units"] == pytest.approx(200, rel=0.1)
    assert study.best_params["lr"] == pytest.approx(0.004, rel=0.1)
    assert points(study)[14] == {"lr": 0.01, "units": 256, "init": "lecun"}


def test_the_recipe_beats_random_search_on_the_valley(valley, suggest, follow) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=30)
    assert follow(30).best_value < study.best_value / 10


def test_a_stage_may_climb_in_both_directions(follow, points) -> None:
    gap = Stage("gap", FloatDistribution(0.001, 0.5, log=True), 0.1, step=10, directions=(-1, 1))
    tried = [point["gap"] for point in points(follow(3, lambda point: abs(point["gap"] - 0.3), [gap]))]
    assert tried == [0.1, 0.01, 0.5]
    tried = [point["gap"] for point in points(follow(4, lambda point: point["gap"], [gap]))]
    assert tried[:3] == [0.1, 0.01, 0.001]


def test_a_remedy_is_tried_as_soon_as_its_condition_is_true() -> None:
    decay = Stage("decay", FloatDistribution(0.2, 1.0), 1.0, step=0.2, directions=(-1,), when=oscillates)
    stages = [Stage("units", IntDistribution(16, 64, log=True), 16, step=2), decay]
    even, uneven = [3.0, 2.0, 1.5], [3.0, 2.0, 2.1]
    start, grown = {"units": 16, "decay": 1.0}, {"units": 32, "decay": 1.0}
    known = Known({key(start): 2.0}, {key(start): even})
    assert next_point(stages, known) == grown
    known.losses[key(grown)] = 3.0
    assert next_point(stages, known)["decay"] == 1.0, "an even curve needs no decay"
    known.losses[key(grown)], known.curves[key(grown)] = 1.0, uneven
    known.losses[key({"units": 64, "decay": 1.0})] = 2.0
    assert next_point(stages, known) == {"units": 32, "decay": 0.8}


def test_a_remedy_is_tried_once(suggest, points) -> None:
    """All curves oscillate, and decay never helps: it is tried once, and after the last stage only in smaller steps."""
    decay = Stage("decay", FloatDistribution(0.2, 1.0), 1.0, step=0.2, directions=(-1,), when=oscillates)
    stages = [Stage("units", IntDistribution(16, 32, log=True), 16, step=2), decay]
    stages.append(Stage("layers", IntDistribution(1, 2), 1, step=1))

    def loss(trial):
        point = suggest(trial, stages)
        for epoch, report in enumerate([3.0, 1.0, 1.0, 0.5]):
            trial.report(report, epoch)
        return 30 - point["decay"] - point["units"] / 32 - point["layers"] / 2

    study = optuna.create_study(sampler=RecipeSampler(stages))
    study.optimize(loss, n_trials=6)
    assert [tuple(point.values()) for point in points(study)] == [
        (16, 1.0, 1),
        (32, 1.0, 1),
        (32, 0.8, 1),
        (32, 1.0, 2),
        (23, 1.0, 2),
        (32, 0.9, 2),
    ]


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([], False),
        ([1.0], False),
        ([3.0, 1.0], False),
        ([1.0, 3.0], True),
        ([4.0, 2.0, 1.0, 0.5], False),
        ([4.0, 3.0, 3.0], False),
        ([4.0, 2.0, 2.1], True),
        ([4.0, 3.5, 2.0], True),
    ],
)
def test_a_loss_oscillates_if_it_falls_unevenly(curve, expected) -> None:
    assert oscillates(curve) is expected


def test_values_stay_in_their_range_and_have_few_digits(follow) -> None:
    for trial in follow(40).trials:
        for name, value in trial.params.items():
            assert trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))
            assert isinstance(value, str) or float(f"{value:.3g}") == value
