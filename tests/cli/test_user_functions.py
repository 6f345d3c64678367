"""xpdl check file.py:fun file.py:grad: functions of the user, at random arguments or saved ones."""

import os
import re

import numpy as np
import pytest

LAYERS = """
import numpy as np
from beside import two

def loss(w):
    return np.sum(np.tanh(w) ** two)

def loss_grad(w):
    return 2 * np.tanh(w) * (1 - np.tanh(w) ** 2)

def wrong_grad(w):
    return loss_grad(w) * 1.5

def dense(x, w):
    return x @ w

def backward(dz, x, w):
    return dz @ w.T, x.T @ dz

def tangent(tangents, x, w):
    return tangents[0] @ w + x @ tangents[1]

def of_dict(p):
    return np.sum(p["a"] * p["b"])

def of_dict_grad(p):
    return {"a": p["b"], "b": p["a"]}

def broken(w):
    return nothing_here

_hidden = loss
"""


@pytest.fixture(autouse=True)
def files(folder):
    (folder / "layers.py").write_text(LAYERS)
    (folder / "beside.py").write_text("two = 2\n")
    (folder / "empty.py").write_text("")
    (folder / "raises.py").write_text("x = 1\nx / 0\n")
    np.save(folder / "w.npy", np.array([0.5, 1.0]))
    np.savez(folder / "ab.npz", a=np.array([0.5, 1.0]), b=np.array([2.0, 3.0]))


@pytest.mark.parametrize(
    ("flags", "code", "rows"),
    [
        ("layers.py:loss layers.py:loss_grad --shape 3 4", 0, ["theta 3x4 +PASS"]),
        ("layers.py:loss layers.py:loss_grad --shape 3 --dtype float32", 0, ["theta 3 +PASS"]),
        ("layers.py:loss layers.py:loss_grad --at w.npy", 0, [r"theta 2 +PASS .* \[\d\] +"]),
        ("layers.py:loss layers.py:wrong_grad --shape 3 4 --method central", 1, ["theta 3x4 +FAIL", "1.5 x the num"]),
        ("layers.py:of_dict layers.py:of_dict_grad --at ab.npz", 0, ["a 2 +PASS", "b 2 +PASS"]),
        ("layers.py:dense layers.py:backward --vjp --shape 3x4 4x2", 0, [r"args\[0\] 3x4 +PASS", r"args\[1\] 4x2"]),
        ("layers.py:dense layers.py:tangent --jvp --shape 3x4 4x2", 0, [r"args\[0\] 3x4 +PASS", r"args\[1\] 4x2"]),
    ],
)
def test_a_report_and_an_exit_code(run, flags, code, rows) -> None:
    found, out, err = run(f"check {flags}")
    assert (found, err) == (code, "")
    assert [row for row in rows if not re.search(row, out, re.MULTILINE)] == []


def test_the_seed_draws_the_arguments(run) -> None:
    def numbers(seed):
        return run(f"check layers.py:loss layers.py:loss_grad --shape 3 --seed {seed}")[1]

    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)


BAD = {
    "check layers.py:los layers.py:loss_grad --shape 3": "layers.py has no function 'los'; it has backward, broken, d",
    "check empty.py:loss layers.py:loss_grad --shape 3": "empty.py has no function 'loss'; it has none",
    "check nothere.py:loss layers.py:loss_grad --shape 3": "nothere.py is no file",
    "check raises.py:loss layers.py:loss_grad --shape 3": r"ZeroDivisionError: .* \(line 2 of raises.py\)",
    "check layers.py:broken layers.py:loss_grad --shape 3": r"NameError: .*nothing_here.* \(line \d+ of layers.py\)",
    "check layers.py:loss --shape 3": "the derivative of layers.py:loss is missing: xpdl check layers.py:loss file",
    "check layers.py:loss loss_grad --shape 3": "a function is named file.py:name, got 'loss_grad'",
    "check layers.py:loss layers.py:loss_grad": "by --shape .* or by --at",
    "check layers.py:loss layers.py:loss_grad --shape 3 --at w.npy": "by --shape .* or by --at",
    "check layers.py:loss layers.py:loss_grad --shape 3,4": r"shape must be whole numbers, .* got '3,4'",
    "check layers.py:loss layers.py:loss_grad --at nothere.npy": "nothere.npy",
    "check layers.py:dense layers.py:backward --vjp --jvp --shape 3x4 4x2": "--vjp and --jvp exclude each other",
    "check layers.py:dense layers.py:backward --vjp --shape 3x4 5x2": r"ValueError: matmul.* \(line \d+ of layers.py\)",
    "check model.safetensors layers.py:loss": r"model.safetensors is no function: file.py:name names one",
}


def test_arrays_come_from_whole_regular_files_only(refused, folder) -> None:
    (folder / "cut.npy").write_bytes((folder / "w.npy").read_bytes()[:-1])
    with (folder / "huge.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
        np.lib.format.write_array_header_1_0(file, header)
    for name in ("cut", "huge"):
        refused(f"check layers.py:loss layers.py:loss_grad --at {name}.npy", f"{name}.npy")
    if os.name == "posix":
        os.mkfifo(folder / "pipe.npy")
        refused("check layers.py:loss layers.py:loss_grad --at pipe.npy", "pipe or a device")


@pytest.mark.parametrize("command", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, command) -> None:
    refused(command, BAD[command])
