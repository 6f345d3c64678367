"""What the tests of the estimators share: scikit-learn takes arrays of any library, and a small estimator.

Each test module skips itself without scikit-learn, so nothing here imports it at once.
"""

import pytest

import xpdl


@pytest.fixture(autouse=True)
def dispatching(monkeypatch):
    """Let scikit-learn take arrays of other libraries."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@pytest.fixture
def small():
    """small(estimator, **options) -> an estimator that learns in no time."""
    from xpdl.sklearn import NetworkClassifier

    def small(estimator=NetworkClassifier, **options):
        return estimator(**{"hidden_layer_sizes": (5,), "max_iter": 4, "batch_size": 32, "random_state": 3, **options})

    return small


@pytest.fixture
def trained():
    """trained(net, **options) -> the run that a small classifier should be."""
    from sklearn.datasets import load_iris
    from sklearn.preprocessing import StandardScaler

    x, y = load_iris(return_X_y=True)
    x = StandardScaler().fit_transform(x)

    def trained(net, **options):
        same = {"epochs": 4, "batch_size": 32, "seed": 3, "dtype": "float64", "backend": "numpy", "progress": False}
        return xpdl.train(net, x, y, **same, **options)

    return trained


@pytest.fixture
def loss_of():
    """loss_of(history) -> the loss of each epoch."""
    return lambda history: [metrics["loss"] for metrics in history]
