"""xpdl check: the report of the gradient check, its exit code, and the demonstration."""

import re

import pytest

import xpdl

TABLE = r"(PASS|FAIL|INCONCLUSIVE) +difference (\S+), (complex step|central differences) in (float\d\d)"


@pytest.mark.parametrize(
    ("flags", "method", "tensors"),
    [
        ("", "complex step", ["W1 2x4", "W2 4x1", "b1 4", "b2 1"]),
        ("--data spiral --sizes 2 3 5 3 --method central", "central differences", ["W1 2x3", "W3 5x3", "b3 3"]),
        ("--data classes.npz --activation gelu --dropout 0.5 --l2 0.1", "complex step", ["W1 3x4", "b2 3"]),
        ("--data values.npz --samples 5 --dtype float32 --backend array_api_strict", "complex step", ["W2 4x2"]),
        ("model.safetensors --data classes.npz", "complex step", ["W1 3x4", "W2 4x3"]),
    ],
)
def test_check_prints_the_report(run, flags, method, tensors) -> None:
    code, out, err = run(f"check {flags}")
    assert (code, err) == (0, "")
    assert re.match(TABLE, out).group(1, 3) == ("PASS", method)
    assert [row for row in tensors if not re.search(rf"^{row} +PASS", out, re.MULTILINE)] == []


def test_the_exit_code_is_1_if_the_gradient_is_wrong(run, monkeypatch) -> None:
    tanh = xpdl.activations.ACTIVATIONS["tanh"]
    wrong = xpdl.Activation(tanh.forward, lambda da, z, a: da * (1 - a))
    monkeypatch.setitem(xpdl.activations.ACTIVATIONS, "tanh", wrong)
    code, out, err = run("check --activation tanh")
    assert (code, err) == (1, "")
    assert re.search("^W1 2x4 +FAIL", out, re.MULTILINE)
    assert re.search("^W2 4x1 +PASS", out, re.MULTILINE)


def test_the_demo_plants_a_bug_and_names_it(run) -> None:
    code, out, err = run("check --demo")
    assert (code, err) == (0, "")
    assert [verdict for verdict, *_ in re.findall(TABLE, out)] == ["FAIL", "PASS"]
    assert "db2 is 300 x the numeric gradient: n = 300; the mean over samples is missing" in out
    before, after = map(float, re.search(r"cost (\S+) before and (\S+) after", out).groups())
    assert after < before


BAD = {
    # command: what the line on stderr must say
    "check nothere.safetensors": "nothere.safetensors",
    "check model.safetensors --sizes 3 4 3": "--sizes describes a new network, but model.safetensors already holds one",
    "check model.safetensors --activation tanh": "--activation describes a new network",
    "check junk.safetensors": "junk.safetensors is not an xpdl model",
    "check model.safetensors --data wide.npz": r"x must have shape \(n, 3\).* got shape \(6, 4\)",
    "check --data classes.npz --sizes 3": "sizes must hold at least an input and an output size",
    "check --data classes.npz --sizes 2 4 3": "inputs must scale 2 features, .* got 3",
    "check --data classes.npz --samples 0": "samples must be at least 1, got 0",
    "check --data classes.npz --method simplex": "method must be .*'simplex'",
    "check --data classes.npz --dtype float16": "dtype must be float32 or float64, got 'float16'",
}


@pytest.mark.parametrize("command", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, command) -> None:
    refused(command, BAD[command])
