"""No numeric warning of a checker reaches its user; here every warning is an error."""

import itertools

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient

quiet = np.errstate(all="ignore")
FUNCTIONS = {  # of user code that is silent itself
    "squares": (quiet(lambda t: (t * t).sum()), quiet(lambda t: 2 * t)),
    "logarithms": (quiet(lambda t: np.log(np.abs(t)).sum()), quiet(lambda t: 1 / t)),
    "constant": (lambda t: 1.0, np.zeros_like),
}
POINTS = {
    "zeros": np.zeros(5),
    "near overflow": np.array([1e300, 1.0, -3e150]),
    "near underflow": np.array([1e-300, 1e-310, 1.0]),
    "a matrix": np.random.default_rng(0).standard_normal((3, 3)),
    "many": np.random.default_rng(0).standard_normal(300),
}
CLAIMS = {
    "right": lambda g: g,
    "nan": lambda g: g * np.nan,
    "one inf": lambda g: np.where(np.arange(g.size).reshape(g.shape) == 1, -np.inf, g),
    "overflow": lambda g: np.where(np.arange(g.size).reshape(g.shape) % 2 == 0, 1e308, -1e308),
    "underflow": lambda g: np.full_like(g, 1e-320),
    "an offset": lambda g: g + 1,
    "0": np.zeros_like,
}


@pytest.mark.parametrize(("function", "point"), list(itertools.product(FUNCTIONS, POINTS)))
@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("method", ["auto", "central", "taylor"])
def test_a_check_warns_of_nothing(function, point, claim, method) -> None:
    (fun, grad), theta = FUNCTIONS[function], POINTS[point]
    if not np.isfinite(fun(theta)):
        pytest.skip("fun must be finite at theta")
    report = check_gradient(fun, quiet(lambda t: CLAIMS[claim](grad(t))), theta, method=method)
    assert report.verdict in ("PASS", "FAIL", "INCONCLUSIVE")
    assert str(report)
