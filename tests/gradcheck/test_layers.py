"""Layers written by hand: right ones pass, each bug fails, in the arguments that it spoils, and with its cause."""

import re

from layers import LAYERS
import pytest

from xpdl.gradcheck.function import check_gradient

BUGS = [(name, bug) for name, layer in LAYERS.items() for bug in layer.bugs]


@pytest.mark.parametrize("name", LAYERS)
def test_a_right_layer_passes(name) -> None:
    loss, dout = LAYERS[name].loss()
    report = check_gradient(loss, LAYERS[name].gradient(dout), dict(LAYERS[name].arguments))
    assert report.verdict == "PASS", str(report)


@pytest.mark.parametrize(("name", "bug"), BUGS, ids=[f"{name}: {bug.new}" for name, bug in BUGS])
def test_a_bug_is_found_where_it_is(name, bug) -> None:
    loss, dout = LAYERS[name].loss()
    report = check_gradient(loss, LAYERS[name].gradient(dout, bug), dict(LAYERS[name].arguments))
    said = {argument: found.diagnosis for argument, found in report.parameters.items() if found.verdict == "FAIL"}
    assert said.keys() == bug.says.keys(), str(report)
    for argument, expected in bug.says.items():
        assert re.search(expected, said[argument] or "") if expected else names_no_cause(said[argument]), said[argument]


def names_no_cause(text) -> bool:
    return text is None or text.startswith(("only ", "at least "))


def test_most_bugs_have_a_cause_or_a_place() -> None:
    """Of six bugs of each layer; the others change a gradient as chance would, and only the argument can be named."""
    assert all(len(layer.bugs) == 6 for layer in LAYERS.values())
    led = [bug for _, bug in BUGS if any(bug.says.values())]
    assert len(led) / len(BUGS) > 0.75
