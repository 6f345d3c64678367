"""The estimators in scikit-learn: its checks, labels, weights of classes, and searches."""

import pickle

import numpy as np
import pytest

import xpdl
from xpdl import train
from xpdl.arrays import namespace

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpdl.sklearn import NetworkClassifier, NetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY = (Y > 0).astype(int)


@parametrize_with_checks([NetworkClassifier(), NetworkRegressor()])
def test_scikit_learns_checks(estimator, check) -> None:
    """All checks of scikit-learn must pass, also those of the Array API."""
    cupy = xpdl.available_backends()["cupy"]
    if "cupy" in str(check) and cupy != "ready":
        pytest.skip(cupy)
    check(estimator)


def log_cosh(s, y):
    xp = namespace(s)
    return xp.sum(xp.log(xp.cosh(s - y)), axis=-1)


def log_cosh_slope(s, p, y):
    return namespace(s).tanh(s - y)


def test_a_loss_of_your_own_for_values(small) -> None:
    """The loss can be cloned, pickled and searched like any parameter; early stopping uses its cost."""
    loss = xpdl.Loss(log_cosh, log_cosh_slope)
    estimator = small(NetworkRegressor, loss=loss, max_iter=30, early_stopping=True)
    fitted = clone(estimator).fit(X, X[:, 0])
    assert fitted.network_.output == loss
    assert fitted.out_activation_ == "identity"
    assert fitted.validation_scores_ == [-metrics["validation_loss"] for metrics in fitted.history_]
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(X), fitted.predict(X))
    net = xpdl.Network([4, 5, 1], output=loss, l2=1e-4, init="xavier")
    other = train(net, X, X[:, 0], epochs=4, batch_size=32, seed=3, dtype="float64", backend="numpy", progress=False)
    np.testing.assert_array_equal(small(NetworkRegressor, loss=loss).fit(X, X[:, 0]).theta_, other.theta)


def test_losses_of_values_have_their_names(small) -> None:
    fits = [small(NetworkRegressor, loss=loss).fit(X, Y).theta_ for loss in ("squared_error", "linear")]
    np.testing.assert_array_equal(*fits)
    for loss in ("softmax", "absolut", None):
        with pytest.raises(ValueError, match="The 'loss' parameter of NetworkRegressor must be"):
            small(NetworkRegressor, loss=loss).fit(X, Y)


@pytest.mark.parametrize(("name", "y", "outputs"), [("softmax", Y, 3), ("softmax", BINARY, 2), ("binary", BINARY, 1)])
def test_a_loss_of_your_own_for_classes(name, y, outputs, small) -> None:
    """The network has as many outputs as the loss needs to tell the classes apart."""
    named = getattr(xpdl.losses, name)
    twice = named._replace(cost=lambda s, y: 2 * named.cost(s, y), derivative=lambda s, p, y: 2 * (p - y))
    fitted = clone(small(loss=twice, max_iter=60)).fit(X, np.array(["a", "b", "c"])[y])
    assert fitted.network_.sizes == (4, 5, outputs)
    assert fitted.out_activation_ == {"softmax": "softmax", "binary": "logistic"}[name]
    assert fitted.score(X, np.array(["a", "b", "c"])[y]) > 0.6
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_loss_that_does_not_tell_the_classes_apart_is_refused(early_stopping, small) -> None:
    losses = [(xpdl.Loss(log_cosh, log_cosh_slope), BINARY, 2), (xpdl.losses.binary, Y, 3)]
    for loss, y, n in losses:
        with pytest.raises(ValueError, match=rf"loss must tell {n} classes apart, got Loss\("):
            small(loss=loss, early_stopping=early_stopping).fit(X, y)


@pytest.mark.parametrize("labels", [["b", "a", "c"], [3, 1, 2], [2.0, 1.0, -1.0], [True, False]])
def test_labels_come_back_as_they_are(labels, small) -> None:
    labels = np.array(labels)
    y = labels[Y % len(labels)]
    fitted = small(max_iter=100, learning_rate_init=0.05).fit(X, y)
    assert fitted.predict(X).dtype == y.dtype
    assert fitted.score(X, y) > 0.6
    assert fitted.classes_.tolist() == sorted(labels.tolist())
    assert np.array_equal(fitted.predict(X), fitted.classes_[fitted.predict_proba(X).argmax(axis=1)])


def test_several_labels_of_a_sample() -> None:
    x, y = make_multilabel_classification(n_samples=100, n_features=10, random_state=0)
    fitted = NetworkClassifier(max_iter=300, learning_rate_init=0.02, random_state=0).fit(x, y)
    assert fitted.score(x, y) > 0.95
    assert np.array_equal(fitted.predict(x), fitted.predict_proba(x) > 0.5)


def test_several_values_of_a_sample(small) -> None:
    x, y = make_regression(n_samples=100, n_features=5, n_targets=3, random_state=0)
    y /= 100
    fitted = NetworkRegressor(max_iter=300, learning_rate_init=0.02, random_state=0).fit(x, y)
    assert fitted.predict(x).shape == (100, 3)
    assert fitted.score(x, y) > 0.95
    early = small(NetworkRegressor, early_stopping=True).fit(x, y, X_val=x, y_val=y)
    expected = r2_score(y, early.predict(x), multioutput="variance_weighted")
    assert early.best_validation_score_ == pytest.approx(expected)


def test_the_logarithm_of_probabilities(small) -> None:
    fitted = small().fit(X, Y)
    assert np.array_equal(fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)))


def test_class_weights_are_weights_of_samples(small) -> None:
    weight = np.array([1.0, 3.0, 0.5])
    theta = small(class_weight=dict(enumerate(weight))).fit(X, Y).theta_
    assert np.array_equal(theta, small().fit(X, Y, sample_weight=weight[Y]).theta_)
    theta = small(class_weight={0: 2, 1: 1, 2: 1}).fit(X, Y, sample_weight=1.0 + Y).theta_
    assert np.array_equal(theta, small().fit(X, Y, sample_weight=np.array([2.0, 2, 3])[Y]).theta_)


def test_balanced_classes_weigh_the_same(small) -> None:
    few = np.r_[0:50, 50:55, 100:150]
    theta = small(class_weight="balanced").fit(X[few], Y[few]).theta_
    expected = small().fit(X[few], Y[few], sample_weight=(105 / (3 * np.array([50, 5, 50])))[Y[few]]).theta_
    assert np.array_equal(theta, expected)


def search(network, x, y, **options):
    """A search for the learning rate."""
    model = Pipeline([("scale", StandardScaler()), ("network", network(max_iter=30, random_state=0, **options))])
    return GridSearchCV(model, {"network__learning_rate_init": [1e-4, 1e-3, 1e-2]}, cv=3).fit(x, y)


def test_a_search_on_digits_finds_what_mlp_classifier_finds() -> None:
    """``python -m benchmarks.sklearn_digits`` compares them with several seeds."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, stratify=y, random_state=0)
    theirs = search(MLPClassifier, x, y).score(x_test, y_test)
    ours = search(NetworkClassifier, x, y).score(x_test, y_test)
    dropping = search(NetworkClassifier, x, y, dropout=0.2).score(x_test, y_test)
    print(f"MLPClassifier {theirs:.4f}, NetworkClassifier {ours:.4f}, with dropout {dropping:.4f}")
    assert ours >= theirs - 0.005
    assert dropping >= theirs > 0.95


def test_a_fitted_estimator_with_objects_as_parameters_is_pickled(small) -> None:
    objects = {
        "solver": xpdl.adamw(xpdl.schedules.cosine(1e-2, 100)),
        "activation": xpdl.activations.elu(0.5),
        "backend": xpdl.backend("numpy"),
        "callbacks": [xpdl.KeepBest("loss")],
    }
    x, y = np.eye(6), np.arange(6) % 3
    fitted = small(**objects).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(x), fitted.predict_proba(x))
    assert again.partial_fit(x, y).theta_.tobytes() == fitted.partial_fit(x, y).theta_.tobytes()
