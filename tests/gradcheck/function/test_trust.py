"""Trust: the complex step is verified, and a claim is looked at twice before it is called wrong."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.directional import central, complex_step
from xpdl.gradcheck.function.trust import second_look, verify

NOT_ANALYTIC = {  # name: (function that loses the imaginary part or turns it round, gradient)
    "conj": (lambda t: (np.conj(t) * t).sum(), lambda t: 2 * t),
    "conj, real": (lambda t: (np.conj(t) * t).real.sum(), lambda t: 2 * t),
    "conj, twice": (lambda t: (np.conj(t) ** 2).sum(), lambda t: 2 * t),
    "conj of one entry": (
        lambda t: (t**2).sum() + 1e-3 * np.conj(t[0]) ** 2,
        lambda t: 2 * t + 2e-3 * t * (np.arange(8) == 0),
    ),
    "abs": (lambda t: (np.abs(t) ** 2).sum(), lambda t: 2 * t),
    "abs of a half": (lambda t: (t[:4] ** 2).sum() + (np.abs(t[4:]) ** 2).sum(), lambda t: 2 * t),
    "abs, tiny": (
        lambda t: (t[:-1] ** 2).sum() + 1e-9 * np.abs(t[-1]),
        lambda t: np.r_[2 * t[:-1], 1e-9 * np.sign(t[-1])],
    ),
    "real": (lambda t: (t.real**2).sum(), lambda t: 2 * t),
    "float": (lambda t: float((t**2).sum()), lambda t: 2 * t),
    "max": (lambda t: np.max(t) ** 2, lambda t: 2 * t * (t == t.max())),
    "norm": (lambda t: np.linalg.norm(t) ** 2 + (t**2).sum(), lambda t: 4 * t),
    "raises": (lambda t: np.arctan2(t, 1).sum(), lambda t: 1 / (1 + t * t)),
    "a real buffer": (lambda t: np.multiply(t, t, out=np.empty(8)).sum(), lambda t: 2 * t),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_the_complex_step_is_verified(name, points, with_entry, assert_judged) -> None:
    fun, grad = NOT_ANALYTIC[name]
    assert_judged(fun, grad, points(40))
    place = int(np.argmax(points(40)))
    assert check_gradient(fun, with_entry(grad, place, -1), points(40)).verdict == "FAIL"


@pytest.mark.parametrize("frequency", [0.1, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("offset", [1.0, 1e4, 1e6])
def test_a_part_that_loses_the_imaginary_part_is_noticed_below_the_rounding_of_differences(
    offset, frequency, points, with_entry
) -> None:
    """1e-5 |theta| beside J = 1e6: differences do not see it, the complex step does not have it, waves hide it."""

    def fun(t):
        return offset + np.sin(frequency * t).sum() + 1e-5 * np.abs(t).sum()

    def grad(t):
        return frequency * np.cos(frequency * t) + 1e-5 * np.sign(t)

    for seed in range(10):
        report = check_gradient(fun, grad, points(seed))
        assert report.verdict == "PASS", f"seed {seed}\n{report}"
    assert check_gradient(fun, with_entry(grad, 3, 1.01), points()).verdict == "FAIL"


def number(fun):
    return lambda t: complex(fun(t)) if np.iscomplexobj(t) else float(fun(t))


@pytest.mark.parametrize(
    ("fun", "reason"),
    [
        (lambda t: (t * t).sum(), None),
        (lambda t: (np.conj(t) * t).sum(), "gives 0 where central differences give"),
        (lambda t: (t * t).sum().real, "has no imaginary part"),
        (lambda t: np.sum(t * t) + (t.real > 0.5).sum(), None),  # it jumps elsewhere
        (lambda t: np.sum(t * t) + (t.real > 1).sum(), "jumps at theta"),
    ],
)
def test_why_the_complex_step_is_not_trusted(probe, fun, reason) -> None:
    theta = np.array([1.0, -2.0, 0.25])

    def real_or_complex(t):
        answer = fun(t)
        return complex(answer) if np.iscomplexobj(answer) else float(answer)

    around = probe(real_or_complex, lambda t: 2 * t, theta)
    found = verify(around, "theta", [np.eye(3)[0], np.eye(3)[1]])
    assert found == reason if reason is None else reason in found
    assert ("theta" in around.verified) is (reason is None)


def test_a_second_look_keeps_a_wrong_claim_wrong_and_excuses_one_at_a_kink(probe) -> None:
    around = probe(number(lambda t: (t * (t.real > 0)).sum()), lambda t: (t > 0) * 1.0, np.array([0.0, 1.0]))
    assert verify(around, "theta", [np.array([1.0, 1.0])]) is None
    d = np.array([1.0, 0.0])
    for method, first in (("complex", complex_step), ("central", lambda *a: central(*a).derivative(kink=False))):
        for claim, misses in ((0.5, False), (1.5, True)):
            found = second_look(around, "theta", d, claim, first(around, "theta", d), method)
            assert found.misses(claim) is misses, (method, claim, found)


@pytest.mark.parametrize(("bars", "at_once"), [(5, False), (20, True)])
def test_a_claim_ten_bars_away_is_wrong_at_once(bars, at_once, probe, points) -> None:
    """Other steps are not tried then."""
    calls = []
    around = probe(lambda t: calls.append(0) or number(lambda t: np.exp(t).sum())(t), np.exp, points())
    d, difference = np.ones(8), central(around, "theta", np.ones(8))
    found = complex_step(around, "theta", d)
    assert verify(around, "theta", [d]) is None
    assert around.noise_of_claims == 0
    claim = difference.value + bars * (difference.bar + 8 * around.rounding_of_claims("theta", d))
    before = len(calls)
    assert second_look(around, "theta", d, claim, found, "complex").misses(claim)
    assert (len(calls) - before < 30) is at_once


# The segment over which the complex step is integrated


def test_the_segment_is_long_enough_to_show_tiny_parts() -> None:
    """2.5e-13 |theta| beside J = 100, whose rounding is 1e-14."""

    def fun(t):
        return 100 + 1e-3 * (t * t).sum() + 2.5e-13 * np.abs(t).sum()

    report = check_gradient(fun, lambda t: 2e-3 * t + 2.5e-13 * np.sign(t), np.linspace(0.8, 1.4, 8))
    assert report.verdict == "PASS", str(report)


def test_the_segment_is_short_enough_for_waves(points, with_entry) -> None:
    """Of 30 radians in a natural unit: where their integral is wrong, only differences judge an error of 1e-7."""
    for seed in range(5):
        wrong = with_entry(lambda t: 30 * np.cos(30 * t), 3, 1 + 1e-7)
        report = check_gradient(lambda t: 1e4 + np.sin(30 * t).sum(), wrong, points(seed))
        assert report.verdict == "FAIL", f"seed {seed}\n{report}"
