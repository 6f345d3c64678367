"""The demonstration: a network learns with a bug in its gradient, and the check names the bug."""

import re

import pytest

from xpdl.gradcheck import demo


def test_the_network_learns_with_the_bug_and_the_check_names_it(capsys, monkeypatch) -> None:
    monkeypatch.setattr(demo, "STEPS", 300)
    assert demo.run_demo() == 0
    told = capsys.readouterr().out
    before, after = map(float, re.search(r"cost ([\d.]+) before and ([\d.]+) after 300 steps", told).groups())
    assert after < before
    wrong, right = told.split("With that db divided by n:")
    assert "\nFAIL  difference" in wrong
    assert re.search(r"db2 is 300 x the numeric gradient: n = 300; the mean over samples is missing", wrong)
    assert "\nPASS  difference" in right


@pytest.mark.parametrize("verdicts", [("PASS", "PASS"), ("FAIL", "FAIL"), ("INCONCLUSIVE", "PASS")])
def test_other_verdicts_are_an_error(verdicts, capsys, monkeypatch) -> None:
    class Report:
        def __init__(self, verdict):
            self.verdict = verdict

        def print(self):
            pass

    reports = map(Report, verdicts)
    monkeypatch.setattr(demo, "STEPS", 1)
    monkeypatch.setattr(demo, "check_network", lambda *arguments: next(reports))
    assert demo.run_demo() == 1
