"""The output whose derivative is wrong, found by halving the cotangent."""

import numpy as np
import pytest

import xpdl


@pytest.mark.parametrize("output", [0, 7, 99])
def test_one_output_of_a_hundred_is_found_in_a_few_checks(output) -> None:
    a = np.random.default_rng(0).standard_normal((100, 5))
    calls = 0

    def vjp(c, t):
        nonlocal calls
        calls += 1
        wrong = a.copy()
        wrong[output] *= -1
        return c @ wrong

    report = xpdl.check_vjp(lambda t: a @ t, vjp, np.ones(5))
    assert f"J[{output}, " in report.parameters["theta"].diagnosis
    assert calls < 15 * 10, "2 log2(100) checks and two more, of some calls each"


def test_several_wrong_outputs_leave_the_verdict(layer) -> None:
    report = xpdl.check_vjp(layer.forward, lambda c, *args: layer.backward(2 * c, *args), *layer.point)
    assert all(p.verdict == "FAIL" for p in report.parameters.values())
    assert all("2 x the numeric gradient" in p.diagnosis for p in report.parameters.values())
