"""What is known after ``fit``."""

import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from xpdl.sklearn import NetworkClassifier, NetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("estimator", [NetworkClassifier, NetworkRegressor])
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY = (Y > 0).astype(int)


@pytest.mark.parametrize(
    ("ours", "theirs", "missing"),
    [(NetworkClassifier, MLPClassifier, {"max_fun"}), (NetworkRegressor, MLPRegressor, {"max_fun"})],
)
def test_parameters_and_attributes_are_those_of_scikit_learns_mlp(ours, theirs, missing) -> None:
    """The parameters also have the same defaults."""
    parameters, defaults = ours().get_params(), theirs().get_params()
    assert set(defaults) - set(parameters) == missing
    assert {name: parameters[name] for name in set(defaults) - missing} == {
        name: value for name, value in defaults.items() if name not in missing
    }
    attributes = [name for name in vars(theirs(max_iter=2).fit(X, Y)) if name.endswith("_") and name[0] != "_"]
    assert len(attributes) > 10
    fitted = ours(max_iter=2).fit(X, Y)
    assert [name for name in attributes if not hasattr(fitted, name)] == []


def test_without_early_stopping_the_last_epoch_counts(small) -> None:
    fitted = small().fit(X, Y)
    assert (fitted.validation_scores_, fitted.best_validation_score_) == (None, None)
    assert fitted.loss_ == fitted.loss_curve_[-1] == fitted.history_[-1]["loss"]
    assert fitted.best_loss_ == min(fitted.loss_curve_)


@both
def test_weights_and_biases_are_views_of_theta(estimator, small) -> None:
    fitted = small(estimator).fit(X, BINARY)
    fitted.coefs_[0][:] = 7
    assert (fitted.theta_[:20] == 7).all()
    assert [b.shape for b in fitted.intercepts_] == [(5,), (1,)]
    assert (fitted.n_layers_, fitted.n_outputs_, fitted.n_features_in_) == (3, 1, 4)


def test_before_fit_nothing_is_known() -> None:
    estimator = NetworkClassifier()
    assert not any(hasattr(estimator, name) for name in ("coefs_", "loss_", "n_layers_", "validation_scores_"))
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_outputs(small) -> None:
    multilabel = make_multilabel_classification(150, random_state=0)[1]
    found = {
        name: (fitted.out_activation_, fitted.n_outputs_, fitted.predict_proba(X).shape)
        for name, y in {"two": BINARY, "three": Y, "many": multilabel, "one": 0 * Y}.items()
        if (fitted := small().fit(X, y))
    }
    assert found == {
        "two": ("logistic", 1, (150, 2)),
        "three": ("softmax", 3, (150, 3)),
        "many": ("logistic", 5, (150, 5)),
        "one": ("softmax", 1, (150, 1)),
    }
