"""Reports: how verdicts follow from bars, the table, the JSON."""

import io
import json
import math

import numpy as np
import pytest

from xpdl.gradcheck.report import (
    COLOURS,
    FAIL,
    INCONCLUSIVE,
    PASS,
    Report,
    difference,
    judge,
    ratio,
    worst_verdict,
)

RULES = [  # analytic, numeric, bar, verdict
    (1.0, 1.0, 1e-9, PASS),
    (1.0, 1.0 + 1e-9, 2e-9, PASS),
    (1.0, 1.0 + 1e-9, 1e-10, FAIL),
    (-1.0, 1.0, 1e-9, FAIL),
    (0.0, 1.0, 1e-9, FAIL),
    (0.0, 1e-10, 1e-9, INCONCLUSIVE),
    (1e-10, -1e-10, 1e-9, INCONCLUSIVE),
    (1e-300, 1e-300, 1e-301, PASS),
    (1e-300, 2e-300, 1e-301, FAIL),
    (1e300, 1e300, 1e290, PASS),
    (0.0, 0.0, 1e-9, PASS),
    (0.0, 0.0, 0.0, PASS),
    (1.0, 5.0, math.inf, INCONCLUSIVE),
    (1.0, math.nan, 1.0, FAIL),
    (math.nan, 1.0, 1.0, FAIL),
    (math.nan, 1.0, math.inf, FAIL),
    (math.inf, 1.0, math.inf, FAIL),
    (math.inf, math.inf, math.inf, FAIL),
    (1.0, 1.0, math.nan, FAIL),
]


@pytest.mark.parametrize(("analytic", "numeric", "bar", "verdict"), RULES)
def test_a_verdict_is_derived_from_the_bar(analytic, numeric, bar, verdict) -> None:
    assert judge("w", np.array([analytic]), np.array([numeric]), np.array([bar])).verdict == verdict


def test_one_wrong_entry_fails_a_tensor_and_one_that_is_seen_saves_it() -> None:
    ones, bar = np.ones(4), np.full(4, 1e-9)
    assert judge("w", ones, ones + np.array([0, 0, 1e-6, 0]), bar).verdict == FAIL
    assert judge("w", ones * [1e-10, 0, 0, 1], ones * [0, 1e-10, 0, 1], bar).verdict == PASS
    mixed = judge("w", ones * [1e-10, 0, 0, 0], ones * [0, 1e-10, 0, 0], bar)
    assert (mixed.verdict, mixed.unseen, mixed.failing) == (PASS, 2, 0)  # two are exactly 0


@pytest.mark.parametrize(("analytic", "verdict"), [(0.0, PASS), (0.3, PASS), (1.0, PASS), (1.1, FAIL), (-0.1, FAIL)])
def test_between_one_sided_derivatives_everything_is_right(analytic, verdict) -> None:
    between = (np.array([0.0]), np.array([1.0]))
    parameter = judge("b", np.array([analytic]), np.array([0.5]), np.array([1e-3]), between=between)
    assert parameter.verdict == verdict


def test_the_entries_that_fail_are_marked() -> None:
    """Entries between the one-sided derivatives of a kink are not marked."""
    analytic, numeric = np.array([[1.0, 2.0], [3.0, np.nan]]), np.array([[1.0, 2.5], [3.5, 4.0]])
    parameter = judge("w", analytic, numeric, np.full((2, 2), 1e-3), between=(numeric - [[0, 0], [1, 0]], numeric))
    assert parameter.fails.tolist() == [[False, True], [False, True]]
    assert parameter.failing == 2


def test_the_worst_entry_is_the_most_bars_off() -> None:
    analytic, numeric = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.5], [3.0, 4.001]])
    parameter = judge("w", analytic, numeric, np.array([[1, 1.0], [1, 1e-6]]))
    assert parameter.worst.index == (1, 1)
    assert (parameter.worst.analytic, parameter.worst.numeric, parameter.worst.bar) == (4.0, 4.001, 1e-6)


def test_a_report_is_as_bad_as_its_worst_tensor() -> None:
    assert worst_verdict([]) == PASS
    assert worst_verdict([PASS, INCONCLUSIVE]) == INCONCLUSIVE
    assert worst_verdict([FAIL, INCONCLUSIVE, PASS]) == FAIL


DETECTS = [  # analytic, numeric, bar, low, high, what is detected
    ([1.0, 2.0], [1.0, 2.0], [1e-3, 1e-3], None, None, 1e-3),
    ([1.0, 2.0], [1.0, 2.0], [1e-3, 8e-3], None, None, 4e-3),
    ([1.0, 2.0], [1.0, 4.0], [1e-3, 1e-3], None, None, 1e-3),  # the wrong entry counts as if it were right
    ([1.0, 0.0], [1.0, 0.0], [1e-3, 1e-2], None, None, 1e-2),  # relative to the largest
    ([1e-3, 1.0], [1e-3, 1.0], [1e-2, 1e-2], None, None, 1e-2),
    ([1e-1, 1.0], [1e-1, 1.0], [1e-2, 1e-2], None, None, 1e-1),
    ([1.0, 4.0], [0.5, 4.0], [0.0, 0.0], [0, 4], [1, 4], 2.0),  # at a kink: from 1 to 0, relative to 0.5
    ([0.0, 4.0], [0.0, 4.0], [0.1, 0.0], [-1, 4], [1, 4], 1.1 / 4),
    ([1.0, 4.0], [1.0, 4.0], [0.0, math.inf], None, None, math.inf),
    ([0.0, 0.0], [0.0, 0.0], [1e-9, 0.0], None, None, None),
    ([1.0, 2.0], [1.0, 2.0], [3.0, 3.0], None, None, None),
]


@pytest.mark.parametrize(("analytic", "numeric", "bar", "low", "high", "expected"), DETECTS)
def test_what_is_detected_reaches_beyond_the_bar_of_every_entry(analytic, numeric, bar, low, high, expected) -> None:
    between = None if low is None else (np.array(low, float), np.array(high, float))
    found = judge("w", np.array(analytic), np.array(numeric), np.array(bar), between=between).detects
    assert math.isnan(found) if expected is None else found == pytest.approx(expected)


def test_a_report_detects_what_its_weakest_tensor_does() -> None:
    assert report().detects == pytest.approx(2e-9)
    assert math.isnan(Report(PASS, 0.0, {}, "complex step", "float64").detects)


def test_differences_and_ratios_neither_overflow_nor_underflow() -> None:
    g, n = np.array([1.0, 2.0]), np.array([2.0, 4.0])
    for size in (1e-300, 1.0, 1e300):
        assert difference(size * g, size * n) == pytest.approx(1 / 3)
        assert ratio(size * g, size * n) == pytest.approx(0.5)
    assert difference(0 * g, 0 * n) == 0
    assert math.isnan(difference(g, n * math.inf))
    assert math.isnan(ratio(g, 0 * n))


def report(verdict=FAIL, **options):
    """A report of two tensors."""
    w = judge("W1", np.ones((2, 3)), np.ones((2, 3)) * [1, 1, 0.5], np.full((2, 3), 1e-9), diagnosis="dW1 has a cause")
    b = judge("b1", np.zeros(3), np.zeros(3), np.zeros(3))
    given = {"evaluations": 12.0, "seconds": 0.5, "notes": ("a note",)} | options
    return Report(verdict, 0.25, {"W1": w, "b1": b}, "complex step", "float64", **given)


@pytest.mark.parametrize(("verdict", "truth"), [(PASS, True), (FAIL, False), (INCONCLUSIVE, False)])
def test_only_a_pass_is_true(verdict, truth) -> None:
    assert bool(report(verdict)) is truth


def test_to_dict_is_stable_json() -> None:
    document = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert document == {
        "verdict": "FAIL",
        "difference": 0.25,
        "detects": 2e-9,
        "method": "complex step",
        "precision": "float64",
        "evaluations": 12.0,
        "seconds": 0.5,
        "notes": ["a note"],
        "parameters": {
            "W1": {
                "shape": [2, 3],
                "verdict": "FAIL",
                "difference": pytest.approx(0.5**0.5 / (6**0.5 + 4.5**0.5)),
                "ratio": pytest.approx(5 / 4.5),
                "worst": {"index": [0, 2], "analytic": 1.0, "numeric": 0.5, "bar": 1e-9},
                "failing": 2,
                "unseen": 0,
                "diagnosis": "dW1 has a cause",
                "detects": 2e-9,
            },
            "b1": {
                "shape": [3],
                "verdict": "PASS",
                "difference": 0.0,
                "ratio": None,
                "worst": {"index": [0], "analytic": 0.0, "numeric": 0.0, "bar": 0.0},
                "failing": 0,
                "unseen": 0,
                "diagnosis": None,
                "detects": None,
            },
        },
    }


def test_the_table_has_a_line_for_each_tensor_then_causes_and_notes() -> None:
    lines = str(report()).split("\n")
    assert lines == [
        "FAIL  difference 2.5e-01, complex step in float64, detects 2.0e-09",
        "",
        "parameter  verdict       difference  detects  worst entry       analytic       numeric  wrong entries",
        "W1 2x3     FAIL             1.5e-01  2.0e-09  [0, 2]                    1           0.5  2",
        "b1 3       PASS             0.0e+00           [0]                       0             0",
        "",
        "W1: dW1 has a cause",
        "a note",
    ]


class Terminal(io.StringIO):
    """What looks like a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [(Terminal, {}, True), (Terminal, {"NO_COLOR": "1"}, False), (io.StringIO, {}, False)],
)
def test_colour_is_for_terminals(monkeypatch, stream, environment, coloured) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    monkeypatch.setattr("sys.stdout", out)
    report().print()
    text = out.getvalue()
    assert ("\033" in text) is coloured
    if coloured:
        assert f"\033[{COLOURS[FAIL]}mFAIL\033[0m" in text
        assert text.replace("\033[0m", "").replace("\033[31m", "").replace("\033[32m", "") == f"{report()}\n"
    else:
        assert text == f"{report()}\n"
