"""What both estimators do: fit, go on, and where their arrays are."""

from copy import deepcopy
import pickle
import signal

import numpy as np
import pytest

import xpdl
from xpdl import KeepBest

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils._array_api import move_estimator_to

from xpdl.sklearn import NetworkClassifier, NetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("estimator", [NetworkClassifier, NetworkRegressor])
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY = (Y > 0).astype(int)


def test_random_state_is_the_seed_or_draws_it(small) -> None:
    one, same, other = (small(random_state=state).fit(X, Y).theta_ for state in (1, np.int64(1), 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    draws = [small(random_state=np.random.RandomState(0)) for _ in range(2)]
    assert np.array_equal(*(estimator.fit(X, Y).theta_ for estimator in draws))
    assert not np.array_equal(small(random_state=None).fit(X, Y).theta_, small(random_state=None).fit(X, Y).theta_)


def test_a_tenth_is_held_out_with_both_classes_and_with_its_weights(small) -> None:
    fitted = small(early_stopping=True, learning_rate_init=0.1).fit(X, BINARY, sample_weight=BINARY)
    assert fitted.t_ == 135 * fitted.n_iter_
    assert fitted.validation_scores_[-1] == 1.0  # class 0 is not known; a third of the 15 are of it, and weigh nothing
    with pytest.raises(ValueError, match="least populated class"):
        small(early_stopping=True).fit(X, np.arange(150) == 0)


def test_ctrl_c_keeps_what_was_learned(small) -> None:
    def press(metrics, step):
        if metrics["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="interrupted"):
        fitted = small(callbacks=[press]).fit(X, Y)
    assert fitted.n_iter_ == 2
    fitted.set_params(callbacks=()).partial_fit(X, Y)
    assert len(fitted.history_) == 3


def test_validation_curves_and_callbacks(small) -> None:
    seen, keep = [], KeepBest("validation_loss")
    callbacks = [lambda metrics, step: seen.append(metrics["validation_loss"]), keep]
    fitted = small(callbacks=callbacks).fit(X, Y, X_val=X[::2], y_val=Y[::2])
    assert seen == [metrics["validation_loss"] for metrics in fitted.history_]
    assert fitted.history_[-1]["validation_accuracy"] == pytest.approx(fitted.score(X[::2], Y[::2]))
    assert fitted.theta_.tobytes() == keep.theta.tobytes()


@both
@pytest.mark.parametrize("options", [{}, {"solver": "sgd", "dropout": 0.3}, {"learning_rate": "invscaling"}])
def test_partial_fits_are_the_same_run_as_a_fit(estimator, options, small, loss_of) -> None:
    """The bits are the same: batches, masks, moments and rates continue, even after pickling."""
    expected, estimator = small(estimator, **options).fit(X, BINARY), small(estimator, **options)
    for _ in range(4):
        arguments = {"classes": [0, 1]} if isinstance(estimator, NetworkClassifier) else {}
        estimator = pickle.loads(pickle.dumps(estimator.partial_fit(X, BINARY, **arguments)))
        assert estimator.n_iter_ == 1
    assert estimator.theta_.tobytes() == expected.theta_.tobytes()
    assert loss_of(estimator.history_) == loss_of(expected.history_)
    assert estimator.t_ == expected.t_ == 4 * 150


def test_partial_fit_goes_on_after_fit(small) -> None:
    fitted = small(max_iter=3).fit(X, Y).partial_fit(X, Y)
    assert fitted.theta_.tobytes() == small(max_iter=4).fit(X, Y).theta_.tobytes()


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("options", [{"early_stopping": True}, {"callbacks": [KeepBest("loss", mode="max")]}])
def test_partial_fit_goes_on_from_the_parameters_that_predict(solver, options, small) -> None:
    """Those of the best epoch; neither the last epoch nor the velocity there counts."""
    fitted = small(solver=solver, max_iter=30, learning_rate_init=0.5, **options).fit(X, BINARY)
    best, epochs = fitted.theta_.copy(), fitted.n_iter_
    fitted.set_params(early_stopping=False, callbacks=(), learning_rate_init=1e-12).partial_fit(X, BINARY)
    np.testing.assert_allclose(fitted.theta_, best, atol=1e-9)
    assert len(fitted.history_) == epochs + 1


def test_partial_fit_goes_on_from_changed_coefficients(small) -> None:
    fitted = small().fit(X, Y)
    for values in (*fitted.coefs_, *fitted.intercepts_):
        values[...] = 0.0
    fitted.set_params(learning_rate_init=1e-12).partial_fit(X, Y)
    assert np.abs(fitted.theta_).max() < 1e-9


def test_a_callback_of_ones_own_begins_anew_in_each_fit(small) -> None:
    stop = xpdl.EarlyStopping(2, "loss")
    fitted = small(max_iter=50, tol=0, learning_rate_init=1.0, callbacks=[stop]).fit(X, Y)
    before = fitted.theta_.copy()
    assert fitted.n_iter_ < 50
    fitted.set_params(learning_rate_init=1e-3).partial_fit(X[:50], Y[:50])
    assert not np.array_equal(before, fitted.theta_)


def test_callbacks_go_on_when_the_rate_falls(small) -> None:
    """An adaptive fit is one run, whose best epoch may have had the first rate."""
    keep = KeepBest("epoch", mode="min")
    options = {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 10}
    fitted = small(callbacks=[keep], **options).fit(X, Y)
    assert fitted.n_iter_ > 3
    assert keep.metrics["epoch"] == 1
    assert np.array_equal(fitted.theta_, keep.theta)


def test_a_warm_start_keeps_the_parameters_alone(small, trained) -> None:
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
        (lambda new: new().partial_fit(X, Y), "classes must be passed on the first call"),
        (
            lambda new: new().partial_fit(X, Y, classes=[0, 1]),
            "classes that are new: .*2.*known ones are .*0 1",
        ),
        (lambda new: new(warm_start=True).fit(X, BINARY).fit(X, Y), "classes that are new"),
        (lambda new: new(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2]), "does not support early_stopping"),
        (lambda new: new(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2]), "class_weight .*'balanced'"),
        (lambda new: new().fit(X, Y).set_params(solver="sgd").partial_fit(X, Y), "does not fit: state/2 is float64"),
    ],
)
def test_what_cannot_go_on(attempt, message, small) -> None:
    with pytest.raises(ValueError, match=message):
        attempt(small)


def test_results_are_on_the_device_of_the_arguments(lib, small) -> None:
    """Labels and weights may be on the host or on the device; the numbers are those of NumPy."""
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
def test_backend_says_where_to_compute(name, small) -> None:
    """Arguments and results are NumPy arrays."""
    state = xpdl.available_backends()[name.partition(":")[0]]
    if state != "ready":
        pytest.skip(state)
    for chosen in (name, xpdl.backend(name)):
        fitted = clone(small(backend=chosen)).fit(X, Y)
        assert type(fitted.theta_) is type(fitted.predict_proba(X)) is np.ndarray
        np.testing.assert_allclose(fitted.theta_, small().fit(X, Y).theta_, rtol=1e-10)


def test_a_pickle_comes_back_where_it_was_or_to_the_host(monkeypatch, small) -> None:
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


def test_an_estimator_can_be_moved(small) -> None:
    strict = pytest.importorskip("array_api_strict")
    fitted = small().fit(X, np.array(["a", "b", "c"])[Y])
    device = strict.Device("device1")
    with sklearn.config_context(array_api_dispatch=True):
        moved = move_estimator_to(fitted, strict, device)
        found = moved.predict_proba(strict.asarray(X, device=device))
        assert found.device == device
        assert np.array_equal(move_estimator_to(moved, np, "cpu").predict(X), fitted.predict(X))


def test_processes_of_a_search_may_hold_it(small) -> None:
    assert cross_val_score(small(activation="elu", dropout=0.1, backend="numpy"), X, Y, n_jobs=2).shape == (5,)


def test_sparse_samples_are_refused(small) -> None:
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        small().fit(scipy.csr_array(X), Y)


@both
@pytest.mark.parametrize("argument", ["X", "y", "sample_weight"])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_masked_arrays_are_refused(estimator, argument, method) -> None:
    """scikit-learn would take the numbers under the mask."""
    given = {"X": X[:20], "y": Y[:20].astype(float), "sample_weight": np.ones(20)}
    model = estimator((), max_iter=1).fit(*given.values())
    given[argument] = np.ma.masked_array(given[argument], mask=np.zeros(given[argument].shape, bool))
    if method == "predict":
        given = {"X": given["X"]}
    if argument in given:
        with pytest.raises(TypeError, match=f"{argument} must hold a number in every entry, got a masked array"):
            getattr(model, method)(*given.values())
