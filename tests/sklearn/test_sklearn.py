"""The estimators: scikit-learn's checks, what their parameters mean, and where their arrays lie."""

from copy import deepcopy
import math
import pickle
import signal
import warnings

import numpy as np
import pytest

import xpdl
from xpdl import KeepBest, StopTraining, train
from xpdl.arrays import namespace

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")

from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._array_api import move_estimator_to
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpdl.sklearn import NetworkClassifier, NetworkRegressor, solvers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("estimator", [NetworkClassifier, NetworkRegressor])

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY = (Y > 0).astype(int)


@pytest.fixture(autouse=True)
def dispatching(monkeypatch):
    """scikit-learn takes arrays of other libraries if this is set."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def small(estimator=NetworkClassifier, **options):
    """An estimator that learns in no time."""
    return estimator(**{"hidden_layer_sizes": (5,), "max_iter": 4, "batch_size": 32, "random_state": 3, **options})


def trained(net, **options):
    """What a small classifier should be."""
    same = {"epochs": 4, "batch_size": 32, "seed": 3, "dtype": "float64", "backend": "numpy", "progress": False}
    return train(net, X, Y, **same, **options)


def loss_of(history):
    return [metrics["loss"] for metrics in history]


# --- scikit-learn's checks


@parametrize_with_checks([NetworkClassifier(), NetworkRegressor()])
def test_scikit_learns_checks(estimator, check) -> None:
    """With those of the Array API; none is expected to fail."""
    cupy = xpdl.available_backends()["cupy"]
    if "cupy" in str(check) and cupy != "ready":
        pytest.skip(cupy)
    check(estimator)


# --- the names are those of scikit-learn


@pytest.mark.parametrize(
    ("ours", "theirs", "missing"),
    [(NetworkClassifier, MLPClassifier, {"max_fun"}), (NetworkRegressor, MLPRegressor, {"max_fun"})],
)
def test_parameters_and_attributes_are_those_of_scikit_learns_mlp(ours, theirs, missing) -> None:
    """And parameters have the same defaults."""
    parameters, defaults = ours().get_params(), theirs().get_params()
    assert set(defaults) - set(parameters) == missing
    assert {name: parameters[name] for name in set(defaults) - missing} == {
        name: value for name, value in defaults.items() if name not in missing
    }
    attributes = [name for name in vars(theirs(max_iter=2).fit(X, Y)) if name.endswith("_") and name[0] != "_"]
    assert len(attributes) > 10
    fitted = ours(max_iter=2).fit(X, Y)
    assert [name for name in attributes if not hasattr(fitted, name)] == []


# --- an estimator is xpdl.train


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
def test_a_solver_is_an_optimizer(options, optimizer) -> None:
    fitted = small(**options).fit(X, Y)
    net = xpdl.Network([4, 5, 3], init="xavier", l2=1e-4)
    result = trained(net, optimizer=optimizer)
    assert fitted.theta_.tobytes() == result.theta.tobytes()
    assert fitted.network_ == net
    assert loss_of(fitted.history_) == loss_of(result.history)


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
def test_parameters_of_the_network(options, expected) -> None:
    net = small(**options).fit(X, Y).network_
    assert {name: getattr(net, name) for name in expected} == expected


def test_an_activation_of_your_own() -> None:
    square = xpdl.Activation(lambda z: z * z, lambda da, z, a: 2 * z * da)
    assert clone(small(activation=square)).fit(X, Y).network_.activation.forward(3.0) == 9.0


def log_cosh(s, y):
    xp = namespace(s)
    return xp.sum(xp.log(xp.cosh(s - y)), axis=-1)


def log_cosh_slope(s, p, y):
    return namespace(s).tanh(s - y)


def test_a_loss_of_your_own_for_values() -> None:
    """It can be cloned, pickled and searched as any parameter; early stopping looks at its cost."""
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


def test_losses_of_values_have_their_names() -> None:
    fits = [small(NetworkRegressor, loss=loss).fit(X, Y).theta_ for loss in ("squared_error", "linear")]
    np.testing.assert_array_equal(*fits)
    for loss in ("softmax", "absolut", None):
        with pytest.raises(ValueError, match="The 'loss' parameter of NetworkRegressor must be"):
            small(NetworkRegressor, loss=loss).fit(X, Y)


@pytest.mark.parametrize(("name", "y", "outputs"), [("softmax", Y, 3), ("softmax", BINARY, 2), ("binary", BINARY, 1)])
def test_a_loss_of_your_own_for_classes(name, y, outputs) -> None:
    """As many outputs as it needs to tell the classes apart."""
    named = getattr(xpdl.losses, name)
    twice = named._replace(cost=lambda s, y: 2 * named.cost(s, y), derivative=lambda s, p, y: 2 * (p - y))
    fitted = clone(small(loss=twice, max_iter=60)).fit(X, np.array(["a", "b", "c"])[y])
    assert fitted.network_.sizes == (4, 5, outputs)
    assert fitted.out_activation_ == {"softmax": "softmax", "binary": "logistic"}[name]
    assert fitted.score(X, np.array(["a", "b", "c"])[y]) > 0.6
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1.0)


def test_batches_epochs_and_order() -> None:
    sizes = []

    def spy(metrics, step):
        sizes.append(step)

    for n, batch_size, steps in ((150, "auto", 1), (150, 32, 5), (40, 500, 1)):
        small(max_iter=2, batch_size=batch_size, callbacks=[spy]).fit(X[:n], BINARY[:n])
        assert sizes[-2:] == [steps, 2 * steps]
    thetas = {shuffle: small(shuffle=shuffle).fit(X, Y).theta_ for shuffle in (True, False)}
    assert not np.array_equal(*thetas.values())


def test_random_state_is_the_seed_or_draws_it() -> None:
    one, same, other = (small(random_state=state).fit(X, Y).theta_ for state in (1, np.int64(1), 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    draws = [small(random_state=np.random.RandomState(0)) for _ in range(2)]
    assert np.array_equal(*(estimator.fit(X, Y).theta_ for estimator in draws))
    assert not np.array_equal(small(random_state=None).fit(X, Y).theta_, small(random_state=None).fit(X, Y).theta_)


# --- learning rates


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
def test_an_adaptive_rate_is_lowered_each_time_the_loss_is_flat(solver, monkeypatch) -> None:
    """The run goes on with a fifth of it, as one run, until it is very small."""
    used, make = [], solvers.SOLVERS[solver]
    monkeypatch.setitem(solvers.SOLVERS, solver, lambda p, lr: used.append(lr) or make(p, lr))
    fitted = small(
        solver=solver, learning_rate="adaptive", learning_rate_init=1e-4, tol=1.0, n_iter_no_change=2, max_iter=100
    ).fit(X, Y)
    assert used == pytest.approx([1e-4, 2e-5, 4e-6, 8e-7])
    assert [metrics["epoch"] for metrics in fitted.history_] == list(range(1, fitted.n_iter_ + 1))
    assert fitted.n_iter_ == 4 + 3 * 3


# --- when to stop


def test_the_loss_must_fall_by_tol() -> None:
    """The first epoch is the best so far; then so many are waited for, and one more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert small(tol=100.0, n_iter_no_change=3, max_iter=50).fit(X, Y).n_iter_ == 5
    with pytest.warns(ConvergenceWarning, match="still falling after 6 epochs, which is max_iter"):
        assert small(tol=100.0, n_iter_no_change=np.inf, max_iter=6).fit(X, Y).n_iter_ == 6


@pytest.mark.parametrize(
    ("estimator", "y", "score"), [(NetworkClassifier, Y, accuracy_score), (NetworkRegressor, X @ X[0], r2_score)]
)
def test_early_stopping_keeps_the_best_epoch(estimator, y, score) -> None:
    options = {"early_stopping": True, "max_iter": 60, "learning_rate_init": 0.1, "n_iter_no_change": 5, "tol": 0.0}
    x, x_val, y, y_val = train_test_split(X, y, random_state=0)
    weight = np.linspace(0, 2, len(y_val))
    fitted = small(estimator, **options).fit(x, y, X_val=x_val, y_val=y_val, sample_weight_val=weight)
    assert fitted.n_iter_ < 60
    assert len(fitted.validation_scores_) == fitted.n_iter_
    assert fitted.best_validation_score_ == max(fitted.validation_scores_) > 0.9
    expected = score(y_val, fitted.predict(x_val), sample_weight=weight)
    assert fitted.best_validation_score_ == pytest.approx(expected, rel=1e-12)
    assert fitted.best_loss_ is None


def test_without_early_stopping_the_last_epoch_counts() -> None:
    fitted = small().fit(X, Y)
    assert (fitted.validation_scores_, fitted.best_validation_score_) == (None, None)
    assert fitted.loss_ == fitted.loss_curve_[-1] == fitted.history_[-1]["loss"]
    assert fitted.best_loss_ == min(fitted.loss_curve_)


def test_a_tenth_is_held_out_with_both_classes_and_with_its_weights() -> None:
    fitted = small(early_stopping=True, learning_rate_init=0.1).fit(X, BINARY, sample_weight=BINARY)
    assert fitted.t_ == 135 * fitted.n_iter_
    assert fitted.validation_scores_[-1] == 1.0  # class 0 is not known; a third of the 15 are of it, and weigh nothing
    with pytest.raises(ValueError, match="least populated class"):
        small(early_stopping=True).fit(X, np.arange(150) == 0)


def test_a_run_that_diverges_is_an_error_unless_the_best_epoch_was_kept() -> None:
    options = {"solver": "sgd", "momentum": 0.0, "activation": "identity", "learning_rate_init": 0.3, "max_iter": 50}
    y = X @ X[0]
    with pytest.raises(ValueError, match=r"non-finite parameter weights.*the cost in step \d+ of epoch"):
        small(NetworkRegressor, **options).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="NaN or infinity.*the best epoch before it is kept"):
        fitted = small(NetworkRegressor, **options, early_stopping=True).fit(X, y)
    assert math.isnan(fitted.validation_scores_[-1])
    assert math.isnan(fitted.loss_)
    assert np.all(np.isfinite(fitted.predict(X)))


def test_ctrl_c_keeps_what_was_learned() -> None:
    def press(metrics, step):
        if metrics["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted"):
        fitted = small(callbacks=[press]).fit(X, Y)
    assert fitted.n_iter_ == 2
    fitted.set_params(callbacks=()).partial_fit(X, Y)
    assert len(fitted.history_) == 3


# --- what is seen of a run


def test_validation_curves_and_callbacks() -> None:
    seen, keep = [], KeepBest("validation_loss")
    callbacks = [lambda metrics, step: seen.append(metrics["validation_loss"]), keep]
    fitted = small(callbacks=callbacks).fit(X, Y, X_val=X[::2], y_val=Y[::2])
    assert seen == [metrics["validation_loss"] for metrics in fitted.history_]
    assert fitted.history_[-1]["validation_accuracy"] == pytest.approx(fitted.score(X[::2], Y[::2]))
    assert fitted.theta_.tobytes() == keep.theta.tobytes()


def test_a_callback_may_end_the_training() -> None:
    def enough(metrics, step):
        raise StopTraining("enough")

    assert small(callbacks=[enough]).fit(X, Y).n_iter_ == 1


def test_verbose_prints_each_epoch(capsys) -> None:
    small(verbose=True, early_stopping=True, max_iter=2).fit(X, Y)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Iteration 1, loss = ")
    assert "validation score = " in second
    small(max_iter=2).fit(X, Y)
    assert capsys.readouterr().out == ""


@both
def test_weights_and_biases_are_views_of_theta(estimator) -> None:
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


# --- what y may be


def test_outputs() -> None:
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


@pytest.mark.parametrize("labels", [["b", "a", "c"], [3, 1, 2], [2.0, 1.0, -1.0], [True, False]])
def test_labels_come_back_as_they_are(labels) -> None:
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


def test_several_values_of_a_sample() -> None:
    x, y = make_regression(n_samples=100, n_features=5, n_targets=3, random_state=0)
    y /= 100
    fitted = NetworkRegressor(max_iter=300, learning_rate_init=0.02, random_state=0).fit(x, y)
    assert fitted.predict(x).shape == (100, 3)
    assert fitted.score(x, y) > 0.95
    early = small(NetworkRegressor, early_stopping=True).fit(x, y, X_val=x, y_val=y)
    expected = r2_score(y, early.predict(x), multioutput="variance_weighted")
    assert early.best_validation_score_ == pytest.approx(expected)


def test_the_logarithm_of_probabilities() -> None:
    fitted = small().fit(X, Y)
    assert np.array_equal(fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)))


# --- weights


def test_class_weights_are_weights_of_samples() -> None:
    weight = np.array([1.0, 3.0, 0.5])
    theta = small(class_weight=dict(enumerate(weight))).fit(X, Y).theta_
    assert np.array_equal(theta, small().fit(X, Y, sample_weight=weight[Y]).theta_)
    theta = small(class_weight={0: 2, 1: 1, 2: 1}).fit(X, Y, sample_weight=1.0 + Y).theta_
    assert np.array_equal(theta, small().fit(X, Y, sample_weight=np.array([2.0, 2, 3])[Y]).theta_)


def test_balanced_classes_weigh_the_same() -> None:
    few = np.r_[0:50, 50:55, 100:150]
    theta = small(class_weight="balanced").fit(X[few], Y[few]).theta_
    expected = small().fit(X[few], Y[few], sample_weight=(105 / (3 * np.array([50, 5, 50])))[Y[few]]).theta_
    assert np.array_equal(theta, expected)


# --- going on


@both
@pytest.mark.parametrize("options", [{}, {"solver": "sgd", "dropout": 0.3}, {"learning_rate": "invscaling"}])
def test_epochs_one_at_a_time_are_the_same_run(estimator, options) -> None:
    """Bit for bit: batches, masks, moments and rates go on, and after a pickle too."""
    expected, estimator = small(estimator, **options).fit(X, BINARY), small(estimator, **options)
    for _ in range(4):
        arguments = {"classes": [0, 1]} if isinstance(estimator, NetworkClassifier) else {}
        estimator = pickle.loads(pickle.dumps(estimator.partial_fit(X, BINARY, **arguments)))
        assert estimator.n_iter_ == 1
    assert estimator.theta_.tobytes() == expected.theta_.tobytes()
    assert loss_of(estimator.history_) == loss_of(expected.history_)
    assert estimator.t_ == expected.t_ == 4 * 150


def test_partial_fit_goes_on_after_fit() -> None:
    fitted = small(max_iter=3).fit(X, Y).partial_fit(X, Y)
    assert fitted.theta_.tobytes() == small(max_iter=4).fit(X, Y).theta_.tobytes()


def test_a_warm_start_keeps_the_parameters_alone() -> None:
    fitted = small(warm_start=True).fit(X, Y)
    expected = trained(fitted.network_, theta=fitted.theta_)
    fitted.fit(X, Y)
    assert fitted.theta_.tobytes() == expected.theta.tobytes()
    assert (fitted.n_iter_, len(fitted.loss_curve_), fitted.t_) == (4, 8, 8 * 150)
    fitted.set_params(warm_start=False).fit(X, Y)
    assert (fitted.n_iter_, len(fitted.loss_curve_), fitted.t_) == (4, 4, 4 * 150)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: small().partial_fit(X, Y), "classes must be passed on the first call"),
        (lambda: small().partial_fit(X, Y, classes=[0, 1]), "classes that were not there before: .*2.*known are .*0 1"),
        (lambda: small(warm_start=True).fit(X, BINARY).fit(X, Y), "classes that were not there before"),
        (lambda: small(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2]), "does not support early_stopping"),
        (lambda: small(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2]), "class_weight .*'balanced'"),
        (lambda: small().fit(X, Y).set_params(solver="sgd").partial_fit(X, Y), "does not fit: state/2 is float64"),
    ],
)
def test_what_cannot_go_on(attempt, message) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()


# --- devices


def test_arrays_of_a_device_come_back_there(lib) -> None:
    """With labels and weights on the host, or there as well; the numbers are those of NumPy."""
    if not lib.backend.eager and lib.jitted:
        pytest.skip("the estimator is not jitted")
    weight = 1.0 + Y
    expected = small(max_iter=3).fit(X.astype(lib.dtype), Y, sample_weight=weight)
    x = lib.put(X)
    with sklearn.config_context(array_api_dispatch=True):
        for y, w in ((Y, weight), (lib.put(Y), lib.put(weight))):
            fitted = small(max_iter=3).fit(x, y, sample_weight=w)
            lib.close(fitted.theta_, expected.theta_, scale=100)
            for method in ("predict_proba", "predict_log_proba", "predict"):
                found = getattr(fitted, method)(x)
                assert type(found) is type(x)
                assert xpdl.backends.backend_of(found).device == xpdl.backends.backend_of(x).device
                lib.close(found, getattr(expected, method)(X.astype(lib.dtype)), scale=100)
        words = small(max_iter=3).fit(x, np.array(["a", "b", "c"])[Y])
        assert set(words.predict(x)) <= {"a", "b", "c"}
        values = small(NetworkRegressor).fit(x, x[:, 0])
        assert type(values.predict(x)) is type(x)


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict:device1", "cupy"])
def test_backend_says_where_to_compute(name) -> None:
    """NumPy goes in and comes out."""
    state = xpdl.available_backends()[name.partition(":")[0]]
    if state != "ready":
        pytest.skip(state)
    for chosen in (name, xpdl.backend(name)):
        fitted = clone(small(backend=chosen)).fit(X, Y)
        assert type(fitted.theta_) is type(fitted.predict_proba(X)) is np.ndarray
        np.testing.assert_allclose(fitted.theta_, small().fit(X, Y).theta_, rtol=1e-10)


def test_a_pickle_comes_back_where_it_was_or_to_the_host(monkeypatch) -> None:
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        fitted = small().fit(strict.asarray(X, device=device), strict.asarray(Y, device=device))
        content = pickle.dumps(fitted)
        assert pickle.loads(content).theta_.device == deepcopy(fitted).theta_.device == device
        expected = move_estimator_to(fitted, np, "cpu")
        monkeypatch.setattr("xpdl.sklearn.base.backend", lambda name: xpdl.backend("torch:cuda:99"))
        loaded = pickle.loads(content)
        assert np.array_equal(loaded.predict_proba(X), expected.predict_proba(X))
        loaded.partial_fit(X, Y)


def test_an_estimator_can_be_moved() -> None:
    strict = pytest.importorskip("array_api_strict")
    fitted = small().fit(X, np.array(["a", "b", "c"])[Y])
    device = strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        moved = move_estimator_to(fitted, strict, device)
        found = moved.predict_proba(strict.asarray(X, device=device))
        assert found.device == device
        assert np.array_equal(move_estimator_to(moved, np, "cpu").predict(X), fitted.predict(X))


# --- with the rest of scikit-learn


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


def test_processes_of_a_search_may_hold_it() -> None:
    assert cross_val_score(small(activation="elu", dropout=0.1, backend="numpy"), X, Y, n_jobs=2).shape == (5,)


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


def test_sparse_samples_are_refused() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        small().fit(scipy.csr_array(X), Y)
