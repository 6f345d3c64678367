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
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)), rtol=1e-12)


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


def test_log_probabilities_are_right_and_finite(small) -> None:
    for y in (BINARY, Y):
        fitted = small(max_iter=50).fit(X, y)
        np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), fitted.predict_proba(X), atol=1e-12)
        fitted.theta_ *= 1000
        log_p = fitted.predict_log_proba(X)
        assert np.isfinite(log_p).all()
        assert log_p.min() < -1000
        assert np.array_equal(fitted.classes_[log_p.argmax(axis=1)], fitted.predict(X))


def test_log_probabilities_of_a_loss_of_ones_own(small) -> None:
    own = xpdl.losses.binary._replace(log_response=None)
    fitted, known = (small(loss=loss).fit(X, BINARY) for loss in (own, "log_loss"))
    np.testing.assert_allclose(fitted.predict_log_proba(X), known.predict_log_proba(X), atol=1e-9)


def test_decision_function_is_the_logits(small) -> None:
    two, three = small(max_iter=50).fit(X, BINARY), small(max_iter=50).fit(X, Y)
    z = two.decision_function(X)
    assert z.shape == (150,)
    assert np.array_equal(z > 0, two.predict(X) == 1)
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), two.predict_proba(X)[:, 1])
    z = three.decision_function(X)
    assert z.shape == (150, 3)
    assert np.array_equal(z.argmax(axis=1), three.predict(X))
    pair = small(loss=xpdl.losses.softmax, max_iter=50).fit(X, BINARY)
    assert np.array_equal(pair.decision_function(X) > 0, pair.predict(X) == 1)
    many = small().fit(X, np.stack([BINARY, Y == 1], axis=1).astype(int))
    assert many.decision_function(X).shape == many.predict_log_proba(X).shape == (150, 2)


@pytest.mark.parametrize(
    "loss", ["poisson", "absolute", "absolute_error", xpdl.losses.huber(0.5), xpdl.losses.quantile(0.9)]
)
def test_regressors_have_losses(loss, small) -> None:
    y = np.rint(np.exp(X[:, 0])) if loss == "poisson" else X @ X[0]
    fitted = small(NetworkRegressor, loss=loss, max_iter=100, learning_rate_init=0.02).fit(X, y)
    assert fitted.loss_ < fitted.loss_curve_[0]
    values = fitted.predict(X)
    assert values.shape == (150,)
    if loss == "poisson":
        assert values.min() > 0
        assert fitted.out_activation_ == "exp"


def test_an_activation_for_each_layer(small) -> None:
    fitted = small(hidden_layer_sizes=(5, 4), activation=["logistic", "elu"]).fit(X, Y)
    assert fitted.network_.hidden == ("sigmoid", "elu")
    assert clone(fitted).activation == ["logistic", "elu"]


def test_inputs_are_scaled_by_the_network(small) -> None:
    scaling = xpdl.Scaling.fit(X * 9 + 100)
    fitted = small(inputs=scaling).fit(X * 9 + 100, Y)
    expected = small().fit((X * 9 + 100 - np.array(scaling.shift)) * np.array(scaling.scale), Y)
    np.testing.assert_allclose(fitted.theta_, expected.theta_, rtol=1e-9)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X * 9 + 100), fitted.predict(X * 9 + 100))
    assert fitted.network_.inputs == scaling


def test_images_that_nothing_scales_get_a_warning(small) -> None:
    x = np.random.default_rng(0).integers(0, 256, (150, 20)).astype("uint8")
    with pytest.warns(UserWarning, match=r"x holds whole numbers.*inputs=xpdl\.Scaling\.images"):
        fitted = small().fit(x, Y)
    with pytest.warns(UserWarning, match="X holds whole numbers"):
        fitted.predict(x)
    scaled = small(inputs=xpdl.Scaling.images).fit(x, Y)
    assert np.array_equal(scaled.predict(x), scaled.predict(x.astype(float)))


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        (
            {"activation": ["relu", "tanh"]},
            {},
            "activation must be one activation or one for each of 1 hidden layers, got 2",
        ),
        ({"activation": ["rely"]}, {}, "activation must be one of"),
        ({"loss": xpdl.losses.linear}, {}, "loss must tell 3 classes apart"),
        ({}, {"y_val": Y}, "y_val needs X_val"),
        ({}, {"sample_weight_val": np.ones(150)}, "sample_weight_val needs X_val"),
        ({}, {"X_val": X}, "X_val needs y_val"),
        ({"inputs": xpdl.Scaling([1.0, 2.0])}, {}, "inputs must scale 4 features"),
        ({"dropout": [0.1, 0.2]}, {}, "dropout must be one number or one for each of 1 hidden layers"),
    ],
)
def test_messages_speak_of_the_parameters_of_the_estimator(options, given, message, small) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        small(**options).fit(X, Y, **given)


def test_a_run_that_goes_on_with_another_shape_says_what_must_be_the_same(small) -> None:
    for changed in ({"hidden_layer_sizes": (7,)}, {"solver": "sgd"}):
        with pytest.raises(ValueError, match="partial_fit needs the solver and the hidden_layer_sizes of the last fit"):
            small().fit(X, Y).set_params(**changed).partial_fit(X, Y)
    with pytest.raises(ValueError, match="warm_start and partial_fit need the hidden_layer_sizes"):
        small(warm_start=True).fit(X, Y).set_params(hidden_layer_sizes=(7,)).fit(X, Y)


def test_poisson_refuses_negative_counts(small) -> None:
    with pytest.raises(ValueError, match=r"y must be at least 0"):
        small(NetworkRegressor, loss="poisson").fit(X, X[:, 0])
