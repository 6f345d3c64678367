"""Training by the rules of scikit-learn: batches, a run that diverges, a callback that ends it."""

import math

import numpy as np
import pytest

from xpdl import StopTraining

sklearn = pytest.importorskip("sklearn", minversion="1.9", reason="the estimators need scikit-learn 1.9")
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from xpdl.sklearn import NetworkRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
BINARY = (Y > 0).astype(int)


def test_batches_epochs_and_order(small) -> None:
    sizes = []

    def spy(metrics, step):
        sizes.append(step)

    for n, batch_size, steps in ((150, "auto", 1), (150, 32, 5), (40, 500, 1)):
        small(max_iter=2, batch_size=batch_size, callbacks=[spy]).fit(X[:n], BINARY[:n])
        assert sizes[-2:] == [steps, 2 * steps]
    thetas = {shuffle: small(shuffle=shuffle).fit(X, Y).theta_ for shuffle in (True, False)}
    assert not np.array_equal(*thetas.values())


def test_a_run_that_diverges_is_an_error_unless_the_best_epoch_was_kept(small) -> None:
    options = {"solver": "sgd", "momentum": 0.0, "activation": "identity", "learning_rate_init": 0.3, "max_iter": 50}
    y = X @ X[0]
    with pytest.raises(ValueError, match=r"non-finite parameter weights.*the cost in step \d+ of epoch"):
        small(NetworkRegressor, **options).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="NaN or infinity.*the best epoch before it is kept"):
        fitted = small(NetworkRegressor, **options, early_stopping=True).fit(X, y)
    assert math.isnan(fitted.validation_scores_[-1])
    assert math.isnan(fitted.loss_)
    assert np.all(np.isfinite(fitted.predict(X)))


def test_a_callback_may_end_the_training(small) -> None:
    def enough(metrics, step):
        raise StopTraining("enough")

    assert small(callbacks=[enough]).fit(X, Y).n_iter_ == 1
