"""A library's own rule under vmap."""

import numpy as np
import pytest

import xpdl


@pytest.fixture
def jax():
    found = pytest.importorskip("jax")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")
    return found


def test_a_rule_that_is_wrong_under_vmap_only(jax) -> None:
    """Its batching rule forgets a factor, in the backward pass."""

    def rule(factor):
        times = jax.custom_batching.custom_vmap(lambda c, x: 2 * c * x)
        times.def_vmap(lambda size, batched, c, x: (factor * c * x, True))
        square = jax.custom_vjp(lambda x: x * x)
        square.defvjp(lambda x: (x * x, x), lambda x, c: (times(c, x),))
        return square

    x = jax.numpy.asarray(np.array([0.5, 1.5]))
    assert xpdl.check_vjp(rule(2), None, x).verdict == "PASS"
    report = xpdl.check_vjp(rule(3), None, x)
    assert (report.verdict, report.parameters["theta"].diagnosis) == (
        "FAIL",
        "under vmap another gradient than in a loop",
    )


def test_a_function_without_vmap_is_said(jax) -> None:
    def picky(x):
        if type(x).__name__ == "BatchTracer":
            raise NotImplementedError
        return x * x

    report = xpdl.check_vjp(picky, None, jax.numpy.asarray([0.5, 1.5]))
    assert report.verdict == "PASS"
    assert "not checked under vmap, which raises NotImplementedError" in report.notes
