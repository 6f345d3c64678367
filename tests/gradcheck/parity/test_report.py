"""Reports on backends: a table, a truth value, JSON, and what diverges first in words."""

import json
import math

import numpy as np

from xpdl.gradcheck.parity import check_backends
from xpdl.gradcheck.parity.report import QUANTITIES, BackendResult, BackendsReport
from xpdl.gradcheck.report import judge


def test_a_report_is_a_table_a_truth_value_and_json(small, faulty) -> None:
    def fault(given, right, call):
        if call == 1:
            right[17, 4] = -0.5
        return right

    arguments, _ = small()
    report = check_backends(*arguments, backends=["numpy", faulty("matmul", fault)])
    assert (report.verdict, bool(report)) == ("FAIL", False)
    lines = str(report).splitlines()
    assert lines[0] == "FAIL  1 of 2 backends agree with float64 to rounding"
    assert lines[2].split() == ["backend", "verdict", "precision", "error/bar", "difference", "first", "products"]
    assert lines[3].split()[:3] == ["numpy", "PASS", "float32"]
    assert lines[4].split()[5] == "z2"
    assert (
        "faulty: first divergence: z2 (layer 2, pre-activation), sample 17, unit 4: faulty -0.5, float64 " in lines[6]
    )
    assert lines[6].endswith("; 1 of 100 entries wrong")
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["verdict"] == "FAIL"
    found = document["backends"]["faulty"]
    assert (found["first"], found["diverging"], found["reduced"]) == ("z2", ["z2"], [])
    assert found["quantities"]["z2"]["worst"]["index"] == [17, 4]
    assert list(found["quantities"])[:4] == ["x1", "z1", "a1", "x2"]


def result(**bits):
    """A result with a wrong z1 and a right a1."""
    wrong = judge("z1", np.array([[1.0, 2.0]]), np.array([[1.0, 2.5]]), np.full((1, 2), 0.1))
    right = judge("a1", np.ones((1, 2)), np.ones((1, 2)), np.full((1, 2), 0.1))
    return BackendResult("mine", "float32", 0.25, {"z1": wrong, "a1": right}, bits)


def test_what_diverges_is_wrong_or_loses_bits() -> None:
    assert (result().diverging, result().first, result().verdict) == (["z1"], "z1", "FAIL")
    assert result(z1=23, a1=10).diverging == ["z1", "a1"]
    assert result(a1=10).reduced == ["a1"]
    assert result(a1=10).products == "10-bit mantissa (TF32 or float16)"
    assert result().worst == 5.0


def test_a_quantity_is_described_by_layer_sample_and_unit() -> None:
    assert result().describe("z1") == (
        "z1 (layer 1, pre-activation), sample 0, unit 1: mine 2, float64 2.5, bar 1.0e-01; 1 of 2 entries wrong"
    )
    assert all(len(axes) in (1, 2) for _, axes in QUANTITIES.values())


def test_a_backend_that_could_not_compute_has_failed() -> None:
    failed = BackendResult("mine", "float32", math.nan, {}, {}, ("cannot compute this",))
    assert (failed.verdict, failed.first, failed.products) == ("FAIL", None, "")
    assert math.isnan(failed.worst)
    report = BackendsReport({"mine": failed})
    assert (bool(report), report.verdict) == (False, "FAIL")
    assert str(report).endswith("\nmine: cannot compute this")
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["backends"]["mine"]["difference"] is None
