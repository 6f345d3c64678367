"""A forward pass that is right for each unit vector alone may still be wrong: it must be linear."""

import numpy as np
import pytest

import xpdl

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2))


def jvp(t, x, w):
    return t[0] @ w + x @ t[1]


WRONG = {  # the tensors that fail, and a forward pass
    "absolute values": (["args[1]"], lambda t, x, w: jvp((t[0], np.abs(t[1])), x, w)),
    "a norm": (["args[0]"], lambda t, x, w: jvp((t[0] * np.linalg.norm(t[0]), t[1]), x, w)),
    "squares": (["args[0]"], lambda t, x, w: jvp((t[0] ** 2, t[1]), x, w)),
    "one of two": (["args[0]", "args[1]"], lambda t, x, w: t[0] @ w if t[0].any() else x @ t[1]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_linear_fails(what) -> None:
    names, wrong = WRONG[what]
    report = xpdl.check_jvp(np.matmul, wrong, X, W)
    assert [name for name, found in report.parameters.items() if found.verdict == "FAIL"] == names, str(report)
    assert all(report.parameters[name].diagnosis for name in names)


def test_large_tensors_too() -> None:
    x = RNG.standard_normal((100, 4))
    assert xpdl.check_jvp(np.matmul, jvp, x, W).verdict == "PASS"
    assert xpdl.check_jvp(np.matmul, WRONG["one of two"][1], x, W).verdict == "FAIL"


@pytest.mark.parametrize("size", [6, 400])
def test_a_product_that_is_0_but_for_rounding_is_not_accused(size) -> None:
    x = RNG.standard_normal((size, 5))

    def fun(x, b):
        return x + b - (x + b).mean(0)

    def forward(t, x, b):
        return fun(*t)

    assert xpdl.check_jvp(fun, forward, x, np.ones(5)).verdict != "FAIL"
    assert xpdl.check_jvp(lambda b: fun(x, b), lambda t, b: fun(0 * x, t), np.ones(5)).verdict != "FAIL"
