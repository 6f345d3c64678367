"""Causes: a common mistake is named, and what it leaves right is not taken for it."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.causes import diagnose
from xpdl.gradcheck.function.directional import DirectionalDerivative

SLIGHTLY = 1 + 1e-6


SQUARE = np.random.default_rng(32).standard_normal((30, 30))


MISTAKES = {  # diagnosis: what it does to the gradient
    "-1 x the numeric gradient: the sign is wrong": lambda g: -g,
    "2 x the numeric gradient: counted twice": lambda g: 2 * g,
    "30 x the numeric gradient: the length of axis 0 is 30": lambda g: 30 * g,
    "1.000001 x the numeric gradient": lambda g: SLIGHTLY * g,
    "the transpose of the numeric gradient": lambda g: g.T,
    "the numeric gradient in reverse order": lambda g: g[::-1, ::-1],
    "the numeric gradient + 0.25 in every entry": lambda g: g + 0.25,
    "all zero": lambda g: 0 * g,
    "not finite": lambda g: np.where(g > 1, np.nan, g),
}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("diagnosis", MISTAKES)
def test_common_mistakes_are_diagnosed(diagnosis, full) -> None:
    theta = SQUARE[:9, :9] if full else SQUARE
    cause = diagnosis.replace("30", "9") if full else diagnosis
    weights = np.arange(theta.size).reshape(theta.shape) / theta.size
    grad = lambda t: MISTAKES[diagnosis](weights + 3 * t * t) * (9 / 30 if full and "30" in diagnosis else 1)  # noqa: E731
    report = check_gradient(lambda t: (weights * t).sum() + (t**3).sum(), grad, theta)
    assert report.verdict == "FAIL", str(report)
    assert report.parameters["theta"].diagnosis == cause


def test_a_factor_is_told_from_1_and_is_not_that_of_nothing(points, scaled) -> None:

    def fun(theta):
        return (theta * theta).sum()

    def grad(theta):
        return 2 * theta

    for factor, text in ((1 + 1e-9, "1 + 1.0e-09 times"), (1 - 3e-8, "1 - 3.0e-08 times")):
        parameter = check_gradient(fun, scaled(grad, factor), points()).parameters["theta"]
        assert parameter.diagnosis == f"{text} the numeric gradient"
    optimize = pytest.importorskip("scipy.optimize")
    parameter = check_gradient(optimize.rosen, lambda t: optimize.rosen_der(t) + 1e-7, np.ones(6)).parameters["theta"]
    assert parameter.verdict == "FAIL"
    assert parameter.diagnosis.endswith("in every entry"), parameter.diagnosis
    assert float(parameter.diagnosis.split()[4]) == pytest.approx(1e-7, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda g: 2 * g, "2 x the numeric gradient: counted twice"),
        (lambda g: g / 6, "0.1666667 x the numeric gradient: 1 / 6, the number of entries is 6"),
        (lambda g: g / 3, "0.3333333 x the numeric gradient: 1 / 3, the length of axis 1 is 3"),
        (lambda g: g - 0.5, "the numeric gradient + -0.5 in every entry"),
        (lambda g: g * np.arange(6).reshape(2, 3), None),
    ],
)
def test_a_cause_fits_if_the_gradient_without_it_does(change, cause) -> None:
    numeric = np.array([[1.0, -2.0, 0.7], [3.0, 5.0, -0.3]])
    derivatives = [DirectionalDerivative(value, 1e-9, value, value) for value in numeric.ravel().tolist()]
    assert diagnose(change(numeric), np.ones(6), lambda natural: natural, derivatives) == cause


def test_nothing_has_no_factor() -> None:
    derivatives = [DirectionalDerivative(value, 1.0, value, value) for value in (0.5, -0.5)]
    found = diagnose(np.array([50.0, -50.0]), np.ones(2), lambda natural: natural, derivatives)
    assert found is None or "x the numeric gradient" not in found
