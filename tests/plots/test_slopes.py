"""The slope plot: 2 for a right gradient, 1 for a wrong one."""

import numpy as np
import pytest

from xpdl import plots

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib.figure import Figure

THETA = np.array([0.3, -1.2, 2.0])


def fun(t):
    return np.sum(np.sin(t))


@pytest.mark.parametrize(("factor", "power"), [(1.0, 2), (1.1, 1)])
def test_the_slope_tells_right_from_wrong(factor, power) -> None:
    ax = plots.gradient_slope(fun, lambda t: factor * np.cos(t), THETA, ax=Figure().subplots())
    h, errors = ax.get_lines()[0].get_data()
    middle = (h > 1e-4) & (h < 1e-2)
    assert np.polyfit(np.log(h[middle]), np.log(errors[middle]), 1)[0] == pytest.approx(power, abs=0.1)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    low, high = ax.get_ylim()
    assert low < errors.min() < errors.max() < high


def test_steps_out_of_the_domain_are_left_out() -> None:
    def root(t):
        if np.any(t < 0):
            raise ValueError
        return np.sum(np.sqrt(t))

    ax = plots.gradient_slope(root, lambda t: 0.5 / np.sqrt(t), np.array([1.5, 1.0]), ax=Figure().subplots())
    assert 10 < len(ax.get_lines()[0].get_xdata()) <= 40
