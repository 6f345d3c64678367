"""Parameters: what they mean to the network, and which are wrong."""

import numpy as np
import pytest

import xpdl

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from xpdl.sklearn import NetworkClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"activation": "logistic"}, {"hidden": "sigmoid"}),
        ({"activation": "gelu"}, {"hidden": "gelu"}),
        ({"alpha": 0.3}, {"l2": 0.3}),
        ({"init": "he"}, {"init": "he"}),
        ({"init": 0.1}, {"init": 0.1}),
        ({"dropout": 0.25}, {"dropout": 0.25}),
        ({"hidden_layer_sizes": (5, 6), "dropout": (0.1, 0.2)}, {"sizes": (4, 5, 6, 3), "dropout": (0.1, 0.2)}),
        ({"hidden_layer_sizes": 7}, {"sizes": (4, 7, 3)}),
        ({"hidden_layer_sizes": np.array([7, 2])}, {"sizes": (4, 7, 2, 3)}),
        ({"hidden_layer_sizes": ()}, {"sizes": (4, 3)}),
    ],
)
def test_parameters_of_the_network(options, expected, small) -> None:
    net = small(**options).fit(X, Y).network_
    assert {name: getattr(net, name) for name in expected} == expected


def test_an_activation_of_your_own(small) -> None:
    square = xpdl.Activation(lambda z: z * z, lambda da, z, a: 2 * z * da)
    assert clone(small(activation=square)).fit(X, Y).network_.activations[0].forward(3.0) == 9.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rel"}, "'activation' parameter of NetworkClassifier must be a str among .*relu.*Got 'rel'"),
        ({"solver": "lbfgs"}, "'solver' parameter .* must be a str among .*adam.* or an instance of .*Optimizer"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"momentum": 1.0}, "'momentum' parameter"),
        ({"callbacks": print}, "'callbacks' parameter"),
        ({"class_weight": "balance"}, "'class_weight' parameter"),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must be finite and in \[0, 1\), got 1.5"),
        ({"init": "glorot"}, "init must be one of he, lecun, xavier, got 'glorot'"),
        ({"backend": "cuda"}, "backend must be one of .*numpy.*got 'cuda'"),
    ],
)
def test_parameters_that_are_wrong(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkClassifier(**options).fit(X, Y)
