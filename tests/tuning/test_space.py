"""The space that is searched."""

import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")

from xpdl.tuning import space  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


NET = xpdl.Network([2, 3], hidden="tanh")


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
