"""Solvers are optimizers, and learning rates."""

import numpy as np
import pytest

import xpdl

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from xpdl.sklearn import NetworkClassifier, solvers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({}, xpdl.adam(1e-3)),
        ({"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}, xpdl.adam(1e-3, beta1=0.8, beta2=0.99, eps=1e-6)),
        ({"solver": "sgd", "learning_rate_init": 0.1}, xpdl.momentum(0.1, beta=0.9, nesterov=True)),
        ({"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False}, xpdl.momentum(1e-3, beta=0.5)),
        ({"solver": "rmsprop", "epsilon": 1e-5}, xpdl.rmsprop(1e-3, eps=1e-5)),
        ({"solver": xpdl.adamw(0.01)}, xpdl.adamw(0.01)),
    ],
)
def test_a_solver_is_an_optimizer(options, optimizer, small, trained, loss_of) -> None:
    fitted = small(**options).fit(X, Y)
    net = xpdl.Network([4, 5, 3], init="xavier", l2=1e-4)
    result = trained(net, optimizer=optimizer)
    assert fitted.theta_.tobytes() == result.theta.tobytes()
    assert fitted.network_ == net
    assert loss_of(fitted.history_) == loss_of(result.history)


def rates(steps, **options):
    """The rates of some steps of each optimizer, for epochs of 10 samples in 2 steps."""
    seen = []
    names = {"sgd": lambda p, lr: seen.append([float(lr(np.float64(t))) if callable(lr) else lr for t in steps])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "SOLVERS", names)
        list(solvers.optimizers(NetworkClassifier(solver="sgd", **options), 10, 2))
    return seen


def test_learning_rates() -> None:
    assert rates([0, 5], learning_rate_init=0.1) == [[0.1, 0.1]]
    (found,) = rates([0, 1, 2, 5], learning_rate="invscaling", learning_rate_init=0.1, power_t=0.25)
    assert found == pytest.approx([0.1, 0.1, 0.1 / 11**0.25, 0.1 / 21**0.25])
    found = rates([0], learning_rate="adaptive", learning_rate_init=1e-5)
    assert np.ravel(found) == pytest.approx([1e-5, 2e-6, 4e-7])


@pytest.mark.parametrize("solver", solvers.SOLVERS)
def test_an_adaptive_rate_is_lowered_each_time_the_loss_is_flat(solver, monkeypatch, small) -> None:
    """The same run continues with a fifth of the rate until the rate is very small."""
    used, make = [], solvers.SOLVERS[solver]
    monkeypatch.setitem(solvers.SOLVERS, solver, lambda p, lr: used.append(lr) or make(p, lr))
    fitted = small(
        solver=solver, learning_rate="adaptive", learning_rate_init=1e-4, tol=1.0, n_iter_no_change=2, max_iter=100
    ).fit(X, Y)
    assert used == pytest.approx([1e-4, 2e-5, 4e-6, 8e-7])
    assert [metrics["epoch"] for metrics in fitted.history_] == list(range(1, fitted.n_iter_ + 1))
    assert fitted.n_iter_ == 4 + 3 * 3
