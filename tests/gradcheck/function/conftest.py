"""What the tests of black boxes share: points, wrong gradients, and the two verdicts that a gradient must get."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.probe import Probe

SLIGHTLY = 1 + 1e-6


@pytest.fixture
def points():
    """points(seed, n) -> n random numbers."""
    return lambda seed=0, n=8: np.random.default_rng(seed).standard_normal(n)


def _scaled(grad, factor):
    def wrong(theta):
        answer = grad(theta)
        return {name: factor * g for name, g in answer.items()} if isinstance(answer, dict) else factor * answer

    return wrong


@pytest.fixture
def scaled():
    """scaled(grad, factor) -> a gradient that is wrong by a factor."""
    return _scaled


@pytest.fixture
def with_entry():
    """with_entry(grad, place, factor) -> a gradient with one wrong entry."""

    def with_entry(grad, place, factor):
        def wrong(theta):
            answer = np.array(grad(theta))
            answer.flat[place] *= factor
            return answer

        return wrong

    return with_entry


@pytest.fixture
def assert_judged():
    """assert_judged(fun, grad, theta): the gradient passes as it is, and fails when it is scaled by 1 + 1e-6."""

    def assert_judged(fun, grad, theta, **options):
        right = check_gradient(fun, grad, theta, **options)
        assert right.verdict == "PASS", f"{options}\n{right}"
        wrong = check_gradient(fun, _scaled(grad, SLIGHTLY), theta, **options)
        assert wrong.verdict == "FAIL", f"{options}\n{wrong}"

    return assert_judged


@pytest.fixture
def probe():
    """probe(fun, grad, theta) -> fun around theta, without a box around it; no probe asks for the gradient."""

    def probe(fun, grad, theta, dtype="float64"):
        return Probe(
            value=lambda tensors: fun(tensors["theta"]),
            theta={"theta": theta},
            start=fun(theta),
            u=float(np.finfo(dtype).eps),
            generator=np.random.default_rng(0),
        )

    return probe
