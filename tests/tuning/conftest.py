"""What the tests of tuning share: a recipe for a loss whose minimum is known, and what is read from a study.

Each test module skips itself without Optuna, so nothing here imports it at once.
"""

import math

import pytest


@pytest.fixture
def stages():
    """A recipe of three stages: a learning rate, units, and an initialiser."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    from xpdl.tuning import Stage

    return [
        Stage("lr", FloatDistribution(1e-5, 1e-1, log=True), 1e-3, step=10, grid=True, halvings=2),
        Stage("units", IntDistribution(16, 512, log=True), 64, step=2),
        Stage("init", CategoricalDistribution(["he", "lecun", "xavier"]), "he"),
    ]


@pytest.fixture
def valley():
    """valley(point) -> a loss with its minimum, 0, at lr = 0.004, units = 200, init = lecun."""

    def valley(point):
        distances = math.log10(point["lr"] / 0.004), math.log2(point["units"] / 200)
        return sum(d * d for d in distances) + (point["init"] != "lecun")

    return valley


@pytest.fixture
def suggest(stages):
    """suggest(trial) -> the point that the trial is given, of these stages or of others."""
    from xpdl.tuning import space

    return lambda trial, stages=stages: dict(space.suggest(trial, stages))


@pytest.fixture
def follow(stages, valley, suggest):
    """follow(count) -> a study of so many trials with the recipe."""
    import optuna

    from xpdl.tuning import RecipeSampler

    def follow(count, loss=valley, stages=stages, **options):
        study = optuna.create_study(sampler=RecipeSampler(stages), **options)
        study.optimize(lambda trial: loss(suggest(trial, stages)), n_trials=count)
        return study

    return follow


@pytest.fixture
def points():
    """points(study) -> the parameters of each trial."""
    return lambda study: [trial.params for trial in study.trials]


@pytest.fixture
def opened():
    """opened(path, name) -> the study of this name in a file."""
    import optuna

    from xpdl.tuning import search

    def opened(path, name="s"):
        with search.storage_errors():
            return optuna.load_study(study_name=name, storage=search.open_storage(path))

    return opened
