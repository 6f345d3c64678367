"""When a fit stops, and what it prints."""

import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from xpdl.sklearn import NetworkClassifier, NetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


def test_the_loss_must_fall_by_tol(small) -> None:
    """The first epoch is the best; then the run waits n_iter_no_change epochs, and one more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert small(tol=100.0, n_iter_no_change=3, max_iter=50).fit(X, Y).n_iter_ == 5
    with pytest.warns(ConvergenceWarning, match="still falling after 6 epochs, which is max_iter"):
        assert small(tol=100.0, n_iter_no_change=np.inf, max_iter=6).fit(X, Y).n_iter_ == 6


@pytest.mark.parametrize(
    ("estimator", "y", "score"), [(NetworkClassifier, Y, accuracy_score), (NetworkRegressor, X @ X[0], r2_score)]
)
def test_early_stopping_keeps_the_best_epoch(estimator, y, score, small) -> None:
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


def test_verbose_prints_each_epoch(capsys, small) -> None:
    small(verbose=True, early_stopping=True, max_iter=2).fit(X, Y)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Iteration 1, loss = ")
    assert "validation score = " in second
    small(max_iter=2).fit(X, Y)
    assert capsys.readouterr().out == ""


def test_a_loss_that_rises_is_not_still_falling(small) -> None:
    options = {"solver": "sgd", "learning_rate_init": 1.0, "momentum": 0.99, "n_iter_no_change": np.inf}
    with pytest.warns(ConvergenceWarning) as caught:
        fitted = small(activation="identity", max_iter=5, alpha=1e3, **options).fit(X, Y)
    assert fitted.loss_ > min(fitted.loss_curve_)
    (message,) = [str(warning.message) for warning in caught]
    lowest = min(fitted.loss_curve_)
    where = fitted.loss_curve_.index(lowest) + 1
    assert message.startswith("the loss was not flat after 5 epochs, which is max_iter: it was ")
    assert message.endswith(f"and {lowest:.4g} in epoch {where}")


def test_the_score_that_was_watched_is_named(small) -> None:
    with pytest.warns(ConvergenceWarning, match="validation score was"):
        small(max_iter=2, early_stopping=True, n_iter_no_change=np.inf).fit(X, Y)
