"""The errors of the linear model."""

import numpy as np

from xpdl.gradcheck.function.slope import slope


def test_the_error_of_a_square_is_the_square_of_the_step() -> None:
    found = slope(lambda t: float(np.sum(t * t)), lambda t: 2 * t, [np.array([1.0, 2.0, -4.0])], 0)
    assert np.array_equal(found.steps, 2.0 ** -np.arange(1, 41))
    assert np.allclose(found.errors[:10], (1 + 4 + 16) * found.steps[:10] ** 2, rtol=1e-6)


def test_where_fun_raises_there_is_no_number() -> None:
    def fun(t):
        if t[0] != 1:
            raise ValueError
        return 1.0

    assert np.isnan(slope(fun, lambda t: t, [np.ones(1)], 0).errors).all()


def test_a_direction_has_signs() -> None:
    """(t + u)^2 has an error of 4 h^2 along equal signs, and none along others."""
    found = [
        slope(lambda t: float(t.sum()) ** 2, lambda t: 2 * t.sum() + 0 * t, [np.ones(2)], seed) for seed in range(8)
    ]
    assert {round(errors[0] / steps[0] ** 2) for steps, errors in found} == {0, 4}
