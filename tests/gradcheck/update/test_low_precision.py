"""Optimizers in float16 and bfloat16: never finite by luck, and never accused for digits that they do not have."""

import numpy as np
import pytest

from xpdl import adam, momentum, sgd
from xpdl.gradcheck.update import check_update
from xpdl.gradcheck.update.low_precision import ROUNDINGS

NAN = "a gradient of 0 in the first step gives NaN in float16"


@pytest.mark.parametrize("optimizer", [sgd(0.1), momentum(0.1), adam(0.01, eps=1e-4)])
def test_a_right_rule_passes_in_float16(optimizer) -> None:
    report = check_update(optimizer, dtype="float16", steps=10)
    assert report.verdict in ("PASS", "INCONCLUSIVE"), report
    assert "in float16 a step is off by up to" in report.findings[0]
    assert report.rule == check_update(optimizer).rule
    assert report.precision == "float16"


def test_an_epsilon_that_becomes_0_is_named() -> None:
    report = check_update(adam(0.01), dtype="float16")
    assert (report.verdict, report.rule) == ("FAIL", "adam"), report
    assert report.findings[0].startswith(NAN)
    assert "eps = 1e-08 becomes 0 there" in report.findings[0]
    assert check_update(adam(0.01, eps=1e-6), dtype="float16").verdict != "FAIL"


def test_what_is_infinite_in_its_own_precision_only_fails() -> None:
    report = check_update(sgd(3e4), dtype="float16")
    assert report.verdict == "FAIL"
    assert "in float16, and is in float64" in str(report)


def test_what_is_wrong_in_float64_stays_wrong() -> None:
    report = check_update((lambda theta: None, lambda theta, grad, state: (theta + grad, state)), dtype="float16")
    assert report.verdict == "FAIL"
    assert "uphill" in str(report)


@pytest.mark.parametrize("off", [0.25, 4.0])
def test_the_bar_is_that_of_rounding(off) -> None:
    """ROUNDINGS units of the largest step: a step that is off by a quarter of that passes, by four times that it does
    not."""

    def update(theta, grad, state):
        error = off * ROUNDINGS * 2.0**-10 if theta.dtype == np.float16 else 0.0
        return theta - theta.dtype.type(0.25) * grad * theta.dtype.type(1 + error), state

    report = check_update((lambda theta: None, update), dtype="float16")
    assert report.verdict == ("PASS" if off < 1 else "INCONCLUSIVE"), report


def test_bfloat16() -> None:
    pytest.importorskip("jax")
    report = check_update(sgd(0.25), dtype="bfloat16", backend="jax", steps=8)
    assert report.verdict == "PASS", report
    assert report.precision == "bfloat16"
