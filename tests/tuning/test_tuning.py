"""Tuning: the recipe step by step, studies that are resumed, shared and killed, and what the command prints."""

import math
import os
from pathlib import Path
import re
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from xpdl.tuning import RecipeSampler, Stage, plot_trials, sampler, search, space, tune  # noqa: E402
from xpdl.tuning.recipe import Known, key, next_point, oscillates  # noqa: E402
from xpdl.tuning.table import best_trial, rows  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)

LR = FloatDistribution(1e-5, 1e-1, log=True)
STAGES = [
    Stage("lr", LR, 1e-3, step=10, grid=True, halvings=2),
    Stage("units", IntDistribution(16, 512, log=True), 64, step=2),
    Stage("init", CategoricalDistribution(["he", "lecun", "xavier"]), "he"),
]
START = {"lr": 1e-3, "units": 64, "init": "he"}


def valley(point):
    """A loss with its minimum, 0, at lr = 0.004, units = 200, init = lecun."""
    distances = math.log10(point["lr"] / 0.004), math.log2(point["units"] / 200)
    return sum(d * d for d in distances) + (point["init"] != "lecun")


def suggest(trial, stages=STAGES):
    return dict(space.suggest(trial, stages))


def follow(count, loss=valley, stages=STAGES, **options):
    """A study of so many trials with the recipe."""
    study = optuna.create_study(sampler=RecipeSampler(stages), **options)
    study.optimize(lambda trial: loss(suggest(trial, stages)), n_trials=count)
    return study


def points(study):
    return [trial.params for trial in study.trials]


# The recipe


def test_the_learning_rate_comes_first_on_a_grid_of_decades_and_then_by_bisection() -> None:
    """The bracket is halved twice: factors of sqrt(10), then of its root, on both sides of the best."""
    tried = points(follow(9))
    assert [point["lr"] for point in tried] == [
        *(1e-3, 1e-4, 1e-2, 1e-5, 1e-1),
        *(0.00316, 0.0316),
        *(0.00178, 0.00562),
    ]
    assert all({**point, "lr": 1e-3} == START for point in tried)


def test_units_grow_as_long_as_that_helps_and_then_the_choices_are_compared() -> None:
    tried = points(follow(14))[9:]
    assert [point["units"] for point in tried[:3]] == [128, 256, 512]
    assert [(point["units"], point["init"]) for point in tried[3:]] == [(256, "lecun"), (256, "xavier")]
    assert {point["lr"] for point in tried} == {0.00316}


def test_what_is_left_of_the_trials_goes_around_the_best_in_smaller_steps() -> None:
    study = follow(40)
    assert study.best_params["init"] == "lecun"
    assert study.best_params["units"] == pytest.approx(200, rel=0.1)
    assert study.best_params["lr"] == pytest.approx(0.004, rel=0.1)
    assert points(study)[14] == {"lr": 0.01, "units": 256, "init": "lecun"}


def test_the_recipe_beats_random_search_on_the_valley() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=30)
    assert follow(30).best_value < study.best_value / 10


def test_both_directions_are_climbed_where_a_stage_says_so() -> None:
    gap = Stage("gap", FloatDistribution(0.001, 0.5, log=True), 0.1, step=10, directions=(-1, 1))
    tried = [point["gap"] for point in points(follow(3, lambda point: abs(point["gap"] - 0.3), [gap]))]
    assert tried == [0.1, 0.01, 0.5]
    tried = [point["gap"] for point in points(follow(4, lambda point: point["gap"], [gap]))]
    assert tried[:3] == [0.1, 0.01, 0.001]


def test_a_remedy_is_tried_as_soon_as_its_condition_is_true_and_once() -> None:
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


def test_a_remedy_is_tried_once() -> None:
    """All curves are uneven, and decay never helps: after the last stage it comes only in smaller steps."""
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


def test_values_stay_in_their_range_and_have_few_digits() -> None:
    for trial in follow(40).trials:
        for name, value in trial.params.items():
            assert trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))
            assert isinstance(value, str) or float(f"{value:.3g}") == value


# The sampler: the study is all its memory


def test_a_sampler_that_is_new_in_each_trial_does_the_same() -> None:
    study = optuna.create_study()
    for _ in range(20):
        study.sampler = RecipeSampler(STAGES)
        study.optimize(lambda trial: valley(suggest(trial)), n_trials=1)
    assert points(study) == points(follow(20))


@pytest.mark.parametrize("place", ["study.db", "study.journal"])
def test_a_study_is_resumed_from_its_file(tmp_path, place) -> None:
    """Numbers come back from a file as they went in, or points would be tried twice."""
    for _ in range(2):
        with search.storage_errors():
            storage = search.open_storage(tmp_path / place)
            study = optuna.create_study(
                storage=storage, study_name="s", sampler=RecipeSampler(STAGES), load_if_exists=True
            )
            study.optimize(lambda trial: valley(suggest(trial)), n_trials=9)
    assert points(study) == points(follow(18))


def test_trials_at_the_same_time_are_all_different() -> None:
    """None of eight is done when the next begins."""
    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    running = [study.ask() for _ in range(8)]
    chosen = [suggest(trial) for trial in running]
    assert len({key(point) for point in chosen}) == 8
    for trial, point in zip(running, chosen, strict=True):
        study.tell(trial, valley(point))
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=22)
    assert len({key(point) for point in points(study)}) == 30
    assert study.best_value < 0.3


def test_points_are_claimed_in_the_order_of_the_trials(tmp_path) -> None:
    """Whoever is first to store its parameters, and however many of them are stored."""
    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    running = [study.ask() for _ in range(4)]
    running[1].suggest_float("lr", LR.low, LR.high, log=True)
    chosen = [suggest(trial) for trial in running[::-1]][::-1]
    assert chosen == points(follow(4))


def test_a_trial_waits_for_the_claims_of_earlier_ones_but_not_for_ever(monkeypatch) -> None:
    """What was begun with another sampler, and never said what it tries, is waited for once."""
    naps = []
    monkeypatch.setattr(sampler.time, "sleep", naps.append)
    monkeypatch.setattr(sampler.time, "monotonic", lambda: float(len(naps)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
    study.ask()
    study.sampler = RecipeSampler(STAGES)
    assert suggest(study.ask()) == START
    assert len(naps) == sampler.PATIENCE
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=3)
    assert len(naps) == sampler.PATIENCE


def test_the_claim_of_a_trial_that_ended_before_it_began_is_void() -> None:
    """As by Ctrl-C while its parameters were stored."""
    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    ended = study.ask()
    ended.suggest_float("lr", LR.low, LR.high, log=True)
    study.tell(ended, state=TrialState.FAIL)
    assert suggest(study.ask()) == START


def test_what_a_trial_is_given_replaces_what_it_has_claimed() -> None:
    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    study.enqueue_trial({"lr": 0.02, "units": 100, "init": "he"})
    study.enqueue_trial({"lr": 0.03})
    study.optimize(lambda trial: valley(suggest(trial)), n_trials=8)
    assert points(study)[1] == START | {"lr": 0.03}
    assert points(study)[2:] == points(follow(6))


@pytest.mark.parametrize("end", ["pruned", "failed"])
def test_trials_without_a_value_are_bad_and_are_not_tried_again(end) -> None:
    """The best of the grid, 0.01, is pruned or fails: the search goes on around another one."""

    def loss(point):
        if point["lr"] == 1e-2:
            raise optuna.TrialPruned if end == "pruned" else ZeroDivisionError
        return valley(point)

    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    study.optimize(lambda trial: loss(suggest(trial)), n_trials=7, catch=ZeroDivisionError)
    assert [point["lr"] for point in points(study)][5:] == [0.000316, 0.00316]


def test_a_lucky_epoch_does_not_count() -> None:
    """With a value that is the lowest of the reports, the mean of the last two decides; another value counts itself."""
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


def test_a_loss_that_ends_as_nan_is_bad_and_its_point_is_not_tried_again() -> None:
    def loss(trial):
        point = suggest(trial)
        for epoch in range(3):
            trial.report(math.nan if epoch == 2 and point["lr"] == 1e-2 else valley(point), epoch)
        return valley(point)

    study = optuna.create_study(sampler=RecipeSampler(STAGES))
    study.optimize(loss, n_trials=7)
    assert [point["lr"] for point in points(study)][5:] == [0.000316, 0.00316]


def test_a_study_that_maximises_is_the_same_upside_down() -> None:
    assert points(follow(25, lambda point: -valley(point), direction="maximize")) == points(follow(25))


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=RecipeSampler(STAGES))
    with pytest.raises(ValueError, match="multi-objective"):
        study.optimize(lambda trial: suggest(trial) and (0.0, 0.0), n_trials=1)


def test_when_the_recipe_is_at_its_end_and_for_other_parameters_values_are_random() -> None:
    stage = Stage("n", IntDistribution(1, 3), 1, step=1)

    def loss(trial):
        return suggest(trial, [stage])["n"] + trial.suggest_float("other", 0, 1)

    study = optuna.create_study(sampler=RecipeSampler([stage], seed=1))
    study.optimize(loss, n_trials=12)
    assert [point["n"] for point in points(study)[:2]] == [1, 2]
    assert len({point["other"] for point in points(study)}) == 12
    assert {point["n"] for point in points(study)} == {1, 2, 3}


# The search: trials are runs of xpdl.train


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


def test_the_parameters_of_another_process_are_trained_once_more() -> None:
    """Those of the best epoch, which is not the last where labels are noise."""
    noise = {"validation": (VALIDATION[0], VALIDATION[1][::-1]), "storage": optuna.storages.InMemoryStorage()}
    first, second = (tune(NET, *FIT, trials=6, **QUICK | noise | {"epochs": 6}) for _ in range(2))
    assert len(second.study.trials) == 6
    assert list(first.best.intermediate_values.values()).index(first.best.value) < 5
    assert same(first.theta, second.theta)


@pytest.mark.parametrize("optimizer", xpdl.optimizers.OPTIMIZERS)
def test_each_optimizer_has_its_own_averages(optimizer) -> None:
    averages = {"sgd": [], "momentum": ["1-beta1"], "rmsprop": ["1-beta2"]}.get(optimizer, ["1-beta1", "1-beta2"])
    stages = space.stages(optimizer)
    assert [stage.name for stage in stages if stage.name.startswith("1-")] == averages
    assert stages[0].name == "lr"
    point = {stage.name: stage.start for stage in stages}
    for stage in stages:
        assert stage.distribution._contains(stage.distribution.to_internal_repr(stage.start)), stage
    settings = space.Settings.at(point)
    assert settings.network(NET).sizes == (2, 128, 3)
    settings.optimizer(optimizer, 80)


@pytest.mark.parametrize("chosen", ["recipe", "tpe", "random", optuna.samplers.TPESampler(seed=0)])
def test_every_sampler_of_optuna_will_do_and_goes_on_where_it_was(chosen) -> None:
    storage = optuna.storages.InMemoryStorage()
    for trials in (3, 6):
        tuned = tune(NET, *FIT, trials=trials, sampler=chosen, storage=storage, **QUICK)
    assert len({key(trial.params) for trial in tuned.study.trials}) == 6


def test_a_run_that_diverges_is_a_bad_trial_and_no_crash() -> None:
    x, y = blobs(scale=1e18)
    options = QUICK | {"validation": (x[80:], y[80:])}
    tuned = tune(xpdl.Network([2, 3]), x[:80], y[:80], trials=7, optimizer="sgd", **options)
    assert "diverged" in {row["state"] for row in rows(tuned.study)}
    assert "smaller learning rate" in next(
        trial.user_attrs["diverged"] for trial in tuned.study.trials if "diverged" in trial.user_attrs
    )


def test_a_study_in_which_every_trial_diverges_has_no_best_one() -> None:
    x, y = blobs(scale=2e37)
    tuned = tune(xpdl.Network([2, 3]), x[:80], y[:80], trials=2, **QUICK | {"validation": (x[80:], y[80:])})
    assert (tuned.best, tuned.settings, tuned.network, tuned.theta) == (None,) * 4
    assert str(tuned).splitlines()[-1] == "no trial is complete"


def test_a_trial_that_looks_bad_is_ended_early() -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
    tuned = tune(NET, *FIT, trials=8, pruner=pruner, **QUICK | {"epochs": 4})
    found = {row["trial"]: row for row in rows(tuned.study)}
    assert {row["state"] for row in found.values()} == {"complete", "pruned"}
    assert {row["epochs"] for row in found.values() if row["state"] == "complete"} == {4}
    assert {row["epochs"] for row in found.values() if row["state"] == "pruned"} <= {2, 3}
    assert all(row["loss"] > tuned.best.value for row in found.values() if row["state"] == "pruned")


def test_those_that_begin_slowly_are_not_ended_before_half_of_their_epochs() -> None:
    assert search.PRUNERS["median"](10)._n_warmup_steps == 5
    everything = tune(NET, *FIT, trials=8, pruner="none", **QUICK)
    assert {row["state"] for row in rows(everything.study)} == {"complete"}


def test_a_guess_of_ones_own_is_tried_first() -> None:
    storage = optuna.storages.InMemoryStorage()
    guess = {stage.name: stage.start for stage in space.stages("adam")} | {"lr": 0.02, "units": 50}
    optuna.create_study(storage=storage, study_name="xpdl").enqueue_trial(guess)
    tuned = tune(NET, *FIT, trials=2, storage=storage, **QUICK)
    assert points(tuned.study)[0] == guess
    assert points(tuned.study)[1] != guess


def test_what_would_mix_two_things_in_one_study_is_refused(tmp_path) -> None:
    place = {"storage": tmp_path / "s.journal", "study": "s"}
    tune(NET, *FIT, trials=2, **place, **QUICK)
    with pytest.raises(ValueError, match=r"'s' is of something else, .*: epochs is 2 there and 3 here$"):
        tune(NET, *FIT, trials=2, **place, **QUICK | {"epochs": 3})
    with pytest.raises(ValueError, match=r": x is .* there and .* here; y is"):
        tune(NET, X[1:80], Y[1:80], trials=2, **place, **QUICK)
    storage = search.open_storage(place["storage"])
    optuna.create_study(storage=storage, study_name="foreign").optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(ValueError, match="x is 'nothing' there"):
        tune(NET, *FIT, trials=2, **QUICK, **place | {"study": "foreign"})


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed only by Linux")
def test_no_connection_to_a_database_stays_open(tmp_path) -> None:
    path = tmp_path / "s.db"
    tuned = tune(NET, *FIT, trials=1, storage=path, **QUICK)
    assert len(tuned.study.trials) == 1
    opened_files = [os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
    assert str(path) not in opened_files


def test_a_database_in_memory_keeps_its_connection() -> None:
    """Its tables are gone with the connection."""
    with search.storage_errors():
        storage = search.open_storage("sqlite://")
        optuna.create_study(storage=storage, study_name="s")
        assert [study.study_name for study in storage.get_all_studies()] == ["s"]
        storage.engine.dispose()


WRONG = [
    ({"validation": None}, TypeError, r"validation must be a pair \(x, y\), got None"),
    ({"trials": 0}, ValueError, "trials must be at least 1"),
    ({"epochs": 0}, ValueError, "epochs must be at least 1"),
    ({"optimizer": "adm"}, ValueError, "did you mean 'adam'"),
    ({"sampler": "recip"}, ValueError, "did you mean 'recipe'"),
    ({"pruner": "meidan"}, ValueError, "did you mean 'median'"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"dtype": "float16"}, ValueError, "dtype must be"),
    ({"storage": "no/folder/s.db"}, OSError, "storage of the study: .*unable to open"),
    ({"storage": "nonesuch://x"}, OSError, "storage of the study: .*nonesuch"),
]


@pytest.mark.parametrize(("options", "error", "said"), WRONG)
def test_wrong_arguments_are_named(options, error, said) -> None:
    with pytest.raises(error, match=said):
        tune(NET, *FIT, **QUICK | {"trials": 1} | options)


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("optuna", "xpdl.tuning."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "xpdl\[tune\]"'):
        xpdl.tuning.tune  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        xpdl.tuning.nonesuch  # noqa: B018


# Several processes on one study, and those that are killed


WORKER = """
import sys
import numpy as np
import xpdl
data = np.load(sys.argv[1])
options = {"storage": sys.argv[2], "study": "s", "trials": int(sys.argv[3]), "epochs": int(sys.argv[4])}
tuned = xpdl.tuning.tune(
    xpdl.Network([2, 3]), data["x"][:80], data["y"][:80], validation=(data["x"][80:], data["y"][80:]),
    backend="numpy", **options
)
"""


@pytest.fixture
def worker(tmp_path):
    """worker(place, trials, epochs) -> a process that tunes on the blobs."""
    np.savez(tmp_path / "blobs.npz", x=X, y=Y)
    started = []

    def start(place, trials, epochs):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
        words = [sys.executable, "-P", "-c", WORKER, tmp_path / "blobs.npz", tmp_path / place, trials, epochs]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        started.append(subprocess.Popen([str(word) for word in words], **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def opened(path, name="s"):
    with search.storage_errors():
        return optuna.load_study(study_name=name, storage=search.open_storage(path))


@pytest.mark.parametrize("place", ["s.db", "s.journal"])
def test_two_processes_share_a_study(worker, tmp_path, place) -> None:
    """Both start at the same moment with a storage that does not exist; no point is tried twice."""
    processes = [worker(place, 14, 2) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, said, strict=True)] == [(0, "")] * 2
    lines = [line for out, _ in said for line in out.splitlines()]
    numbers = [int(re.match(r"trial (\d+): ", line).group(1)) for line in lines]
    study = opened(tmp_path / place)
    assert sorted(numbers) == list(range(len(study.trials)))
    assert len(study.trials) in (14, 15)  # both may begin the last at the same moment
    assert len({key(point) for point in points(study)}) == len(study.trials)


def test_ranks_share_a_study_and_rank_0_has_the_result_of_all(on_ranks, tmp_path, capsys) -> None:
    """Each has trials of its own; rank 0 speaks."""
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


def test_the_trial_of_a_process_that_was_killed_is_tried_again(worker, tmp_path) -> None:
    """Of SIGKILL.  Its signs of life cease, which here needs no waiting: they are set back an hour."""
    process = worker("s.db", 1, 10**6)
    path = tmp_path / "s.db"
    while not (path.exists() and _running(path)):
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')")
        database.execute("UPDATE study_user_attributes SET value_json = replace(value_json, '1000000', '2')")
    database.close()
    assert worker("s.db", 1, 2).communicate(timeout=60)[1] == ""
    killed, again = opened(path).trials
    assert (killed.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert again.params == killed.params


def _running(path):
    """Whether a trial has given a sign of life and reported an epoch."""
    try:
        with sqlite3.connect(path, timeout=10) as database:
            found = database.execute("SELECT * FROM trial_heartbeats, trial_intermediate_values").fetchone()
    except sqlite3.OperationalError:  # the tables are not there yet
        return False
    finally:
        database.close()
    return found is not None


# The picture


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
