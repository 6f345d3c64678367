"""One report for several cotangents."""

import numpy as np

import xpdl
from xpdl.gradcheck.vector.judging import combined


def test_a_report_that_fails_is_chosen() -> None:
    right, wrong = (xpdl.check_gradient(np.sum, lambda t, c=c: c * np.ones(2), np.ones(2)) for c in (1, 2))
    for reports in ([right, wrong], [wrong, right], [wrong, wrong]):
        assert combined(reports).verdict == "FAIL"
        assert combined(reports).evaluations == sum(report.evaluations for report in reports)
    assert combined([right, right]).verdict == "PASS"
