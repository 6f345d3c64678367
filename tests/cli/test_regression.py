"""Regressions are trained on standardised targets, and predict them as they were."""

import numpy as np
import pytest

from xpdl import Network
from xpdl.cli.regression import fit_of, standardised
from xpdl.data import Dataset
from xpdl.data.coding import Coding

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.stack([1e5 + 3e4 * X[:, 0], X[:, 1] - 7], axis=1)


@pytest.mark.parametrize("y", [Y, Y[:, 0]])
def test_targets_are_standardised_and_theta_undoes_it(y) -> None:
    net = Network([3, 4, y.reshape(40, -1).shape[1]], output="linear")
    part, undone, note = standardised(net, Dataset(X, y, X[:5], y[:5], coding=Coding()))
    scaled = part.y.reshape(40, -1)
    np.testing.assert_allclose(
        (scaled.mean(axis=0), scaled.std(axis=0)), ([0] * scaled.shape[1], [1] * scaled.shape[1]), atol=1e-9
    )
    np.testing.assert_array_equal(part.y_test, part.y[:5])
    theta = net.initialize(0, "float64")
    shift, scale = y.reshape(40, -1).mean(axis=0), y.reshape(40, -1).std(axis=0)
    expected = net.predict(theta, X) * scale + shift
    np.testing.assert_allclose(net.predict(undone(net, theta), X), expected, rtol=1e-9)
    assert "predicts them as they were" in note


def test_classes_own_data_and_other_losses_stay_as_they_are() -> None:
    theta = np.ones(3)
    for output, data in (
        ("linear", Dataset(X, Y)),
        ("poisson", Dataset(X, np.abs(Y), coding=Coding())),
        ("softmax", Dataset(X, np.arange(40) % 2, coding=Coding((0, 1)))),
    ):
        part, undone, note = standardised(Network([3, 2], output=output), data)
        assert part is data
        assert undone(None, theta) is theta
        assert note == ""


def test_a_fit_is_measured_by_rmse_and_r2() -> None:
    y = np.array([1.0, 2, 3, 4])
    assert fit_of(y, y[:, None]) == {"RMSE": 0.0, "R2": 1.0}
    assert fit_of(y, np.full(4, 2.5)) == {"RMSE": pytest.approx(np.sqrt(1.25)), "R2": 0.0}
    assert fit_of(np.ones(3), np.zeros(3)) == {"RMSE": 1.0}
