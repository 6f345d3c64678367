"""Reports on optimizers: a few lines, and JSON."""

import json

import numpy as np
import pytest

from xpdl import adam
from xpdl.gradcheck.update import check_update
from xpdl.gradcheck.update.report import title


def frozen(theta, grad, state):
    """An optimizer that never moves its first entry."""
    return theta - np.where(np.arange(theta.size) == 0, 0.0, 0.1) * grad, state


def divides_by_zero(theta, grad, state):
    """An optimizer whose first step is not finite."""
    return theta - 0.1 * grad / np.float64(state), state + 1


def test_the_report_reads_at_a_glance() -> None:
    report = check_update(adam())
    assert str(report).startswith("PASS  adam: lr 0.001, beta1 0.9, beta2 0.999, eps 1e-08\n")
    assert max(map(len, str(report).splitlines())) <= 120
    assert report.difference < 1e-10
    assert report.worst["observed"] == pytest.approx(report.worst["reference"], rel=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [adam(), (lambda theta: 0, divides_by_zero), (lambda theta: None, frozen)],
    ids=["right", "nan", "frozen"],
)
def test_the_report_is_json(optimizer) -> None:
    report = check_update(optimizer)
    entries = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(entries) == [
        *("verdict", "rule", "hyperparameters", "rates", "findings", "difference", "worst", "precision")
    ]
    assert entries["verdict"] == report.verdict
    assert entries == json.loads(json.dumps(check_update(optimizer).to_dict()))


def test_a_rule_that_is_not_known_has_no_worst_step() -> None:
    report = check_update((lambda theta: None, lambda theta, grad, state: (theta - np.tanh(grad), state)))
    assert str(report) == "INCONCLUSIVE  no known rule\n  no known rule takes these steps"
    assert report.to_dict()["worst"] is None


def test_an_epsilon_of_0_is_not_worth_a_word() -> None:
    assert title("adam", {"lr": 0.1, "beta1": 0.0, "eps": 1e-8, "eps_root": 0.0}) == "adam: lr 0.1, beta1 0, eps 1e-08"
