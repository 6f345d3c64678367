"""Entries at a kink must be right together, not only one by one."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.together import contradictions


def tied(t):
    return (t == t.max()) * 1.0


def pooled(t):
    """Max-pooling, 2 x 2, of a ReLU."""
    return np.maximum(t, 0).reshape(2, 2, 2, 2).max(axis=(1, 3))


WEIGHTS = np.array([[1.0, -2.0], [0.5, 3.0]])
TIES = np.array([2.0, 2, 2, 2, 1])
IMAGE = np.array([[-1.0, -2, 3, 3], [-3, -1, 1, 3], [1, 2, 0.5, 0.5], [2, 0.1, 0.5, 0.5]])


def each_maximum(t):
    """The bug: every entry that equals the maximum gets all of the derivative."""
    relu = np.maximum(t, 0).reshape(2, 2, 2, 2)
    mask = relu == relu.max(axis=(1, 3), keepdims=True)
    return (mask * WEIGHTS[:, None, :, None]).reshape(4, 4) * (t > 0)


def first_maximum(t):
    answer = np.zeros((4, 4))
    for i, j in np.ndindex(2, 2):
        block = np.maximum(t, 0)[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        k, m = np.unravel_index(block.argmax(), (2, 2))
        answer[2 * i + k, 2 * j + m] = WEIGHTS[i, j]
    return answer * (t > 0)


CASES = {  # name: (fun, claims, theta, verdict)
    "max, 1 each": (np.max, tied, TIES, "FAIL"),
    "max, 0 each": (np.max, np.zeros_like, TIES, "FAIL"),
    "max, 1/2 each": (np.max, lambda t: tied(t) / 2, TIES, "FAIL"),
    "max, shared": (np.max, lambda t: tied(t) / tied(t).sum(), TIES, "PASS"),
    "max, the first": (np.max, lambda t: np.eye(5)[0], TIES, "PASS"),
    "max, unequal": (np.max, lambda t: np.array([0.1, 0.2, 0.3, 0.4, 0]), TIES, "PASS"),
    "min, 1 each": (np.min, lambda t: (t == t.min()) * 1.0, -TIES, "FAIL"),
    "min, shared": (np.min, lambda t: (t == t.min()) / 4, -TIES, "PASS"),
    "norm, ones": (np.linalg.norm, np.ones_like, np.zeros(4), "FAIL"),
    "norm, 0": (np.linalg.norm, np.zeros_like, np.zeros(4), "PASS"),
    "norm, a unit vector": (np.linalg.norm, lambda t: np.full(4, 0.5), np.zeros(4), "PASS"),
    "abs, any choice": (lambda t: np.abs(t).sum(), lambda t: np.array([1, -1, 0.5, 0]), np.zeros(4), "PASS"),
    "abs of both signs": (
        lambda t: np.abs(t[:2]).sum() - np.abs(t[2:]).sum(),
        lambda t: np.array([1, -1, 1.0, -1]),
        np.zeros(4),
        "PASS",
    ),
    "pooling, each": (lambda t: (WEIGHTS * pooled(t)).sum(), each_maximum, IMAGE, "FAIL"),
    "pooling, the first": (lambda t: (WEIGHTS * pooled(t)).sum(), first_maximum, IMAGE, "PASS"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("name", CASES)
def test_one_choice_of_derivatives_must_explain_all_entries(name, method, seed) -> None:
    fun, grad, theta, verdict = CASES[name]
    report = check_gradient(fun, grad, theta, method=method, seed=seed)
    assert report.verdict == verdict, str(report)


def test_ties_across_tensors_are_found() -> None:
    theta = {"a": np.array([2.0, 1.0]), "b": np.array([2.0])}
    for claim, verdict in ((1.0, "FAIL"), (0.5, "PASS")):
        report = check_gradient(
            lambda p: max(p["a"].max(), p["b"].max()),
            lambda p, claim=claim: {"a": claim * np.array([1.0, 0]), "b": claim * np.ones(1)},
            theta,
        )
        assert report.verdict == verdict, str(report)
    assert "together" in check_gradient(np.max, tied, TIES).parameters["theta"].diagnosis


@pytest.mark.parametrize("seed", range(20))
def test_networks_full_of_zeros_are_not_accused_together(seed) -> None:
    """Every unit at its kink: relu'(0) = 0, 1 or 1/2, which backpropagation multiplies with weights of both signs.

    Some entries fail by themselves, as they are not between their one-sided derivatives.
    """
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal((6, 3)), rng.standard_normal((2, 6))
    at_0 = [0.0, 1.0, 0.5][seed % 3]

    def fun(w):
        return (v.T * np.maximum(x @ w, 0)).sum()

    def grad(w):
        z = x @ w
        return x.T @ (v.T * np.where(z == 0, at_0, z > 0))

    report = check_gradient(fun, grad, np.zeros((3, 2)), seed=seed)
    assert "together" not in str(report), str(report)
    assert report.verdict == "PASS" or at_0 != 0.5, str(report)


def test_without_a_kink_nothing_is_looked_for(probe) -> None:
    calls = []

    def fun(t):
        calls.append(0)
        return float((t * t).sum())

    around = probe(fun, None, np.ones(50))
    assert around.noise < 1e-10
    before = len(calls)
    assert contradictions(around, {"theta": 2 * np.ones(50)}) == []
    assert len(calls) == before + 8


# What is looked at


@pytest.mark.parametrize(("longer", "verdict"), [(1.012, "PASS"), (1.03, "FAIL")])
def test_a_claim_is_wrong_if_it_is_outside_by_2_percent_of_a_half_of_the_range(longer, verdict) -> None:
    """At 0 a norm has any vector of a length of up to 1; the range along it is from -1 to 1."""
    report = check_gradient(np.linalg.norm, lambda t: np.full(4, longer / 2), np.zeros(4))
    assert report.verdict == verdict, str(report)


def test_random_directions_show_what_the_sum_and_the_claim_do_not() -> None:
    """The 21st of them is the first that does."""
    slopes = np.array([[1, 1, 1, 1, 1, 0], [0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 1], [0, 1, 0, 0, 0, 0]])
    claims = np.array([0.38, 1, 0.46, 0.48, 0.72, 0.18])
    report = check_gradient(lambda t: np.max(slopes @ t), lambda t: claims, np.zeros(6))
    assert report.verdict == "FAIL", str(report)


@pytest.fixture
def asked(probe):
    """asked(fun, claims, theta) -> (the contradictions, the number of evaluations)."""

    def asked(fun, claims, theta):
        calls = []
        around = probe(lambda t: calls.append(0) or float(fun(t)), None, theta)
        return contradictions(around, {"theta": claims}), len(calls)

    return asked


def test_pairs_that_depend_on_each_other_are_found_among_few_entries_only(asked) -> None:
    """Each of the tied entries is a maximum of two; one pair claims too much."""
    for pairs, named in ((12, 2), (13, 26)):
        claims = np.full(2 * pairs, 0.5)
        claims[:2] = 0.9
        (found,), _ = asked(lambda t: t.reshape(-1, 2).max(1).sum(), claims, np.ones(2 * pairs))
        assert len(found.places) == named


def test_a_pair_is_found_among_up_to_1024_entries(asked) -> None:
    """In larger tensors no entry is looked at by itself."""
    for n, most in ((1024, 6000), (1025, 1000)):
        claims = np.r_[0.9, 0.9, np.ones(n - 2)]
        (found,), calls = asked(lambda t: t[:2].max() + t[2:].sum(), claims, np.ones(n))
        assert (len(found.places), calls < most) == (2 if n == 1024 else n, True)


def test_right_claims_at_a_kink_take_few_evaluations(asked) -> None:
    found, calls = asked(np.max, np.full(4, 0.25), np.ones(4))
    assert found == []
    assert calls < 500


@pytest.mark.parametrize(("kink", "verdict"), [(1.5e-6, "PASS"), (4e-6, "FAIL")])
def test_a_kink_of_a_millionth_of_the_derivative_may_be_curvature(kink, verdict) -> None:
    report = check_gradient(lambda t: float(t.sum() + kink * t.max()), lambda t: np.full(2, 1 + kink), np.ones(2))
    assert report.verdict == verdict, str(report)
    assert verdict == "FAIL" or report.detects < 1e-5
