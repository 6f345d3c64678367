"""Arguments that must keep a property: fun raises, or means nothing, off the allowed directions."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.constrained import Constrained

RNG = np.random.default_rng(0)
SQUARE = RNG.standard_normal((4, 4))
POSITIVE = SQUARE @ SQUARE.T + np.eye(4)


def symmetric(d):
    return (d + d.T) / 2


def skew(d):
    return (d - d.T) / 2


def level(d):
    return d - d.mean()


def log_det(a):
    if not np.array_equal(a, a.T):
        raise ValueError("not symmetric")
    return np.log(np.linalg.det(a))


def entropy(p):
    if not abs(p.sum() - 1) < 1e-12:
        raise ValueError("the sum is not 1")
    return -np.sum(p * np.log(p))


def rotation(w):
    """A function of a rotation, by Cayley's formula; skew matrices only."""
    if not np.array_equal(w, -w.T):
        raise ValueError("not skew")
    return np.sum(np.linalg.solve(np.eye(4) + w, np.eye(4) - w) * SQUARE)


def rotation_grad(w):
    inverse = np.linalg.inv(np.eye(4) + w)
    q = inverse @ (np.eye(4) - w)
    return -inverse.T @ SQUARE @ (np.eye(4) + q).T


CASES = {
    "symmetric": (log_det, np.linalg.inv, POSITIVE, symmetric),
    "simplex": (entropy, lambda p: -np.log(p) - 1, np.array([0.1, 0.2, 0.3, 0.4]), level),
    "skew": (rotation, rotation_grad, skew(SQUARE), skew),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_right_and_wrong_gradients_of_constrained_arguments(name, size) -> None:
    """The gradient and its projection are both right; a wrong entry, a factor and another function's are not."""
    fun, grad, theta, tangent = CASES[name]
    if size != 1 and name == "simplex":
        pytest.skip("the sum is 1")
    theta = theta * size
    normal = theta - tangent(theta) + RNG.standard_normal(theta.shape)
    normal -= tangent(normal)
    for right in (grad, lambda t: tangent(grad(t)), lambda t: grad(t) + normal):
        assert check_gradient(fun, right, theta, tangent=tangent).verdict == "PASS"

    def one_wrong(t):
        wrong = np.array(tangent(grad(t)))
        wrong.flat[1] *= 1.001
        return wrong

    for wrong in (lambda t: 1.001 * grad(t), one_wrong):
        report = check_gradient(fun, wrong, theta, tangent=tangent)
        assert report.verdict == "FAIL", str(report)


def test_numbers_are_those_of_theta() -> None:
    theta = 1e-3 * POSITIVE
    report = check_gradient(log_det, lambda a: 2 * np.linalg.inv(a), theta, tangent=symmetric)
    worst = report.parameters["theta"].worst
    assert worst.numeric == pytest.approx(np.linalg.inv(theta)[worst.index], rel=1e-6)
    assert worst.analytic == pytest.approx(2 * np.linalg.inv(theta)[worst.index], rel=1e-6)
    assert report.parameters["theta"].diagnosis.startswith("2 x the numeric gradient: counted twice")


def test_several_arguments_get_their_directions_as_a_tuple() -> None:
    def tangent(direction):
        a, b = direction
        return symmetric(a), b

    def fun(a, b):
        return log_det(a) * np.sum(b * b)

    def grad(a, b):
        return np.linalg.inv(a) * np.sum(b * b), 2 * b * log_det(a)

    assert check_gradient(fun, grad, POSITIVE, np.ones(3), tangent=tangent).verdict == "PASS"
    report = check_gradient(fun, lambda a, b: (grad(a, b)[0], b), POSITIVE, np.ones(3), tangent=tangent)
    assert [name for name, p in report.parameters.items() if p.verdict == "FAIL"] == ["args[1]"]


def test_a_large_tensor_is_moved_along_allowed_directions_too() -> None:
    p = RNG.uniform(1, 2, 400)
    p /= p.sum()
    assert check_gradient(entropy, lambda p: -np.log(p), p, tangent=level).verdict == "PASS"
    assert check_gradient(entropy, lambda p: -np.log(p) * 1.01, p, tangent=level).verdict == "FAIL"


@pytest.mark.parametrize(
    ("tangent", "error", "message"),
    [
        (3, TypeError, "tangent must be a function of a direction, got 3"),
        (lambda d: 2 * d, ValueError, "tangent must be a projection P"),
        (lambda d: d + 1, ValueError, "tangent must be a projection P"),
        (np.tril, ValueError, None),
        (lambda d: 0 * d, ValueError, "tangent must allow a direction, got 0 for a random one"),
        (lambda d: d @ np.diag([1.0, 0, 0, 0]) @ np.ones((4, 4)), ValueError, "tangent must be a projection P"),
    ],
)
def test_what_is_no_projection_is_refused(tangent, error, message) -> None:
    if message is None:  # a projection: lower triangles
        fun, grad = (lambda a: np.sum(np.tril(a) ** 2)), (lambda a: 2 * a)
        assert check_gradient(fun, grad, np.tril(SQUARE), tangent=tangent).verdict == "PASS"
        return
    with pytest.raises(error, match=message):
        check_gradient(log_det, np.linalg.inv, POSITIVE, tangent=tangent)


@pytest.mark.parametrize("name", CASES)
def test_twice_what_is_detected_fails_in_every_entry(name) -> None:
    """The projection keeps half of an error above the diagonal of a symmetric matrix."""
    fun, grad, theta, tangent = CASES[name]
    report = check_gradient(fun, grad, theta, tangent=tangent, prove=True)
    assert report.detects < 1e-5
    claims = np.abs(tangent(grad(theta)))
    for k in np.flatnonzero(claims > 1e-9):
        for sign in (1, -1):
            error = sign * 2 * report.detects * claims.flat[k] * (np.arange(theta.size) == k).reshape(theta.shape)
            wrong = check_gradient(fun, lambda t, e=error: grad(t) + e, theta, tangent=tangent)
            assert wrong.verdict == "FAIL", f"{k}: {error}\n{report}\n{wrong}"


@pytest.mark.parametrize("options", [{"order": 2}, {"backends": ["numpy"]}])
def test_what_is_not_done_along_allowed_directions_is_refused(options) -> None:
    with pytest.raises(ValueError, match="tangent is not possible together with order=2 or backends"):
        check_gradient(log_det, np.linalg.inv, POSITIVE, tangent=symmetric, **options)


def test_what_a_projection_keeps_of_an_error() -> None:
    def share(tangent, theta):
        return Constrained(np.sum, np.ones_like, tangent, [theta]).share("theta")

    assert share(symmetric, np.eye(3)) == share(skew, 0 * np.eye(3)) == 0.5
    assert share(level, np.ones(4)) == pytest.approx(0.75)
    assert share(lambda d: d, np.ones(4)) == 1


@pytest.mark.parametrize(("error", "accepted"), [(5e-7, True), (2e-6, False)])
def test_a_projection_may_be_rounded_as_in_float32(error, accepted) -> None:
    def near(d):
        return (1 + error) * (d + d.T) / 2

    def check():
        return check_gradient(lambda a: (a * a).sum(), lambda a: 2 * a, np.eye(3) + 1, tangent=near, rtol=1e-3)

    if accepted:
        assert check().verdict == "PASS"
    else:
        with pytest.raises(ValueError, match="must be a projection"):
            check()


def test_one_argument_may_stay_while_another_moves() -> None:
    report = check_gradient(
        lambda a, b: (a * a).sum() + b.sum(),
        lambda a, b: (2 * a, 1 + b),
        np.ones(2),
        np.ones(3),
        tangent=lambda d: (d[0], 0 * d[1]),
    )
    assert report.verdict == "PASS", str(report)


def test_64_projections_of_units_are_looked_at() -> None:
    calls = []
    constrained = Constrained(np.sum, np.ones_like, lambda d: calls.append(0) or d - d.mean(), [np.ones(100)])
    before = len(calls)
    assert constrained.share("theta") == pytest.approx(0.99)
    assert len(calls) - before == 64
