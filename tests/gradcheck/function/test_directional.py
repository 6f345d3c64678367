"""Directional derivatives: their error bars hold, and kinks and jumps are told from smooth functions."""

import math

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.directional import (
    CentralDifference,
    DirectionalDerivative,
    _jumps,
    analytic_sides,
    best_central,
    best_difference,
    central,
    complex_step,
    near,
    taylor_order,
)


def step(theta):
    return (theta > 0) * 1.0


def relu(theta):
    return np.maximum(theta - 1, 0).sum()


def fourth_power(theta):
    return (theta**4).sum()


def its_gradient(theta):
    return 4 * theta**3


def leaping(theta):
    return np.where(theta > 0, theta + 1, theta).sum()


LEAPS = {  # name: (function that jumps where theta is 0, gradient elsewhere)
    "up on one side": (leaping, np.ones_like),
    "on both sides": (lambda t: (np.sign(t) + t * t).sum(), lambda t: 2 * t),
    "down": (lambda t: (np.cos(t) - (t >= 0)).sum(), lambda t: -np.sin(t)),
}


@pytest.mark.parametrize("n", [3, 400])
@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("name", LEAPS)
def test_nothing_passes_where_the_function_jumps(name, method, n, points) -> None:
    fun, grad = LEAPS[name]
    theta = np.r_[points(70, n - 3), 1.0, 0.0, -1.0]
    for value in (None, 1e6, 7.0, -3.0):

        def given(t, value=value):
            return grad(t) if value is None else np.where(t == 0, value, grad(t))

        report = check_gradient(fun, given, theta, method=method, full=n < 400)
        assert report.verdict == "INCONCLUSIVE", f"{value}\n{report}"
        assert any("fun jumps at theta" in note and f"[{n - 2}]" in note for note in report.notes), str(report)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("value", [1e6, 7.0, -3.0])
def test_a_step_and_a_small_jump_excuse_nothing(value, method) -> None:
    theta = np.array([0.0, 1.0, -1.0])
    steps = check_gradient(lambda t: 1.0 * (t > 0).sum(), lambda t: np.array([value, 0, 0]), theta, method=method)
    assert steps.verdict == "INCONCLUSIVE", str(steps)
    for size in 10.0 ** np.arange(-15, -2):
        report = check_gradient(
            lambda t, size=size: np.where(t > 0, t + size, t).sum(),
            lambda t: np.array([value, 1, 1]),
            theta,
            method=method,
        )
        assert report.verdict != "PASS", f"{size}\n{report}"


def test_a_jump_excuses_no_other_entry(points, with_entry) -> None:
    for theta, full in ((np.array([1.0, 0.0, -1.0]), False), (np.r_[points(70, 397), 1.0, 0.0, -1.0], True)):
        place = theta.size - 1
        parameter = check_gradient(leaping, with_entry(np.ones_like, place, 1.1), theta, full=full).parameters["theta"]
        assert (parameter.verdict, parameter.worst.index, parameter.failing) == ("FAIL", (place,), 1)


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("distance", [0.0, 1e-16, 1e-13, 1e-11, 1e-9, 1e-8, 1e-7, 1e-5])
def test_a_kink_nearby_is_no_jump(distance, method) -> None:
    for sign in (-1, 1):
        theta = np.array([sign * distance, 1.0, -1.0])
        report = check_gradient(
            lambda t: (np.where(t > 0, t, 0) + t + 0.1 * t * t).sum(),
            lambda t: step(t) + 1 + 0.2 * t,
            theta,
            method=method,
        )
        assert report.verdict == "PASS", str(report)
        assert not any("jump" in note for note in report.notes), str(report)


def test_the_taylor_remainder_is_a_second_opinion(points, scaled) -> None:
    fun, grad = fourth_power, its_gradient
    orders = [
        float(check_gradient(fun, g, points()).notes[-1].partition("h^")[2].split()[0])
        for g in (grad, scaled(grad, 1.1))
    ]
    assert orders == pytest.approx([2, 1], abs=0.05)


@pytest.mark.parametrize("n", [8, 3000])
def test_the_taylor_remainder_judges_whole_tensors(n, points, scaled) -> None:
    fun, grad = fourth_power, its_gradient
    for factor, verdict in ((1.0, "PASS"), (1.1, "FAIL"), (-1.0, "FAIL"), (np.nan, "FAIL")):
        report = check_gradient(fun, scaled(grad, factor), points(71, n), method="taylor")
        assert (report.verdict, report.method) == (verdict, "Taylor remainder"), str(report)
        assert report.evaluations < 150
    mixed = check_gradient(
        lambda p: (p["a"] ** 2).sum() + (p["b"] ** 3).sum(),
        lambda p: {"a": 2 * p["a"], "b": 2 * p["b"] ** 2},
        {"a": points(), "b": points(1)},
        method="taylor",
    )
    assert [p.verdict for p in mixed.parameters.values()] == ["PASS", "FAIL"], str(mixed)


def test_the_taylor_remainder_is_not_always_visible(points) -> None:
    cases = {
        "at a kink": (lambda t: np.abs(t).sum(), np.sign, np.zeros(3)),
        "at a jump": (leaping, lambda t: np.array([1e6, 1.0, 1.0]), np.array([0.0, 1.0, -1.0])),
        "too small to be seen": (np.sum, np.ones_like, points()),
    }
    for why, case in cases.items():
        report = check_gradient(*case, method="taylor")
        assert report.verdict == "INCONCLUSIVE", str(report)
        assert why in report.notes[0], str(report)


# Derivatives by themselves


def python_number(fun):
    return lambda t: complex(fun(t)) if np.iscomplexobj(t) else float(fun(t))


def test_bars_hold_in_random_directions(probe, points) -> None:
    fun = python_number(lambda t: np.exp(t).sum())
    around = probe(fun, np.exp, points())
    for _ in range(20):
        d = around.signs("theta")
        exact = float(np.sum(np.exp(points()) * around.scale["theta"] * d))
        for found, least in (
            (complex_step(around, "theta", d), 1e-9),
            (central(around, "theta", d).derivative(kink=False), 1e-5),
            (best_central(around, "theta", d)[0].derivative(kink=False), 1e-5),
        ):
            assert abs(found.value - exact) <= found.bar < least * max(1, abs(exact))


def test_a_kink_has_its_one_sided_derivatives(probe) -> None:
    around = probe(python_number(lambda t: np.maximum(t.real, 0).sum() + 3 * t.sum()), step, np.array([0.0, 1.0]))
    d = np.array([1.0, 0.0])
    difference, kink = best_central(around, "theta", d)
    found = difference.derivative(kink=kink)
    assert kink
    assert (found.low, found.high) == pytest.approx((3, 4), abs=1e-6)
    assert found.kink
    assert not found.misses(3.5)
    assert found.misses(4.1)


def test_the_complex_step_has_sides_at_a_kink(probe) -> None:
    around = probe(python_number(lambda t: (t * (t.real > 0)).sum()), step, np.zeros(1))
    assert analytic_sides(around, "theta", np.ones(1)) == (0, 1, True)
    down = probe(python_number(lambda t: -(t * (t.real > 0)).sum()), step, np.zeros(1))
    assert analytic_sides(down, "theta", np.ones(1)) == (0, -1, True)
    smooth = probe(python_number(lambda t: (t * t).sum()), step, np.zeros(1))
    assert analytic_sides(smooth, "theta", np.ones(1))[2] is False


def test_a_jump_has_no_derivative(probe) -> None:
    around = probe(python_number(lambda t: t.sum() + (t.real > 0).sum()), step, np.zeros(1))
    difference, kink = best_central(around, "theta", np.ones(1))
    assert difference.jumps
    assert not kink
    assert difference.derivative(kink=False).bars(1e9) == 0


def test_distances_are_measured_in_bars() -> None:
    found = DirectionalDerivative(2.0, 0.5, 2.0, 2.0)
    assert [found.bars(claim) for claim in (2.0, 3.0, math.nan)] == [0, 2, math.inf]
    assert found._replace(bar=0.0).bars(3.0) == math.inf
    assert [found.misses(claim) for claim in (2.5, 2.6, math.nan, math.inf)] == [False, True, True, True]
    assert found.widened(1.0).bar == 8.5


def test_a_finer_difference_contradicts_a_wider_one() -> None:
    wide = CentralDifference(1.0, 0.1, 1.0, 1.0, 0.1, 0.0, 0.0)
    fine = CentralDifference(1.5, 0.1, 1.5, 1.5, 0.1, 0.0, 0.2)
    assert wide.contradicted(fine) == 0.7
    assert wide.contradicted(fine._replace(value=1.1)) == 0
    assert wide.at_least(0.3).bar == wide.at_least(0.3).side_bar == 0.3
    assert near(wide, 1.15, 0.05)
    assert not near(wide, 1.25, 0.05)


def test_the_order_of_the_remainder(probe, points) -> None:
    around = probe(python_number(fourth_power), its_gradient, points())
    for factor, order in ((1.0, 2.0), (1.1, 1.0)):
        gradient = {"theta": factor * its_gradient(points())}
        assert taylor_order(around, gradient, {"theta": around.signs("theta")}) == pytest.approx(order, abs=0.05)
    linear = probe(python_number(np.sum), np.ones_like, points())
    assert taylor_order(linear, {"theta": np.ones(8)}, {"theta": np.ones(8)}) is None


@pytest.mark.parametrize(("times", "order"), [(3, 2.0), (1 / 3, None)])
def test_three_remainders_of_more_than_100_roundings_are_needed(times, order, probe) -> None:
    """The third one, h^2 at h = 2^-6, is three times as large as 100 roundings, or a third of them."""
    size = times * 100 * 2.0**-52 * 2.0**12
    around = probe(lambda t: 1 + size * (t @ t).item(), None, np.zeros(1))
    found = taylor_order(around, {"theta": np.zeros(1)}, {"theta": np.ones(1)})
    assert found == (order and pytest.approx(order, abs=0.02))


# The distances at which differences are taken


def test_the_shortest_step_tells_a_kink_from_one_nearby() -> None:
    """At a distance of 2^-28 nothing excuses a claim of 1/2 for 1."""
    report = check_gradient(relu, lambda t: 0.5 + 0 * t, np.ones(1) + 2.0**-28, method="central")
    assert report.verdict == "FAIL", str(report)


def test_the_longest_step_shows_a_slope_of_1_beside_1e8(probe) -> None:
    line, _ = best_central(probe(lambda t: 1e8 + t.sum().item(), None, np.array([0.7])), "theta", np.ones(1))
    assert line.bar < 4e-5


@pytest.mark.parametrize(("distance", "at_kink"), [(2.0**-40, True), (2.0**-38, False)])
def test_theta_is_at_a_kink_if_it_is_nearer_than_2_39(probe, distance, at_kink) -> None:
    around = probe(python_number(lambda t: (t * (t.real > 1)).sum()), None, np.array([1 - distance]))
    assert analytic_sides(around, "theta", np.ones(1))[2] is at_kink


@pytest.mark.parametrize(("width", "verdict"), [(3e-4, "PASS"), (5e-5, "INCONCLUSIVE")])
def test_a_function_must_be_defined_farther_than_a_tolerance_lets_slip(width, verdict) -> None:
    def fun(t):
        return float(t @ t) if abs(t[0] - t[1]) < width else np.nan

    report = check_gradient(fun, lambda t: 2 * t, np.ones(2))
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize(("error", "verdict"), [(2e-9, "PASS"), (1e-8, "FAIL")])
def test_differences_are_no_more_exact_than_code_that_iterates_to_a_tolerance(error, verdict) -> None:
    report = check_gradient(lambda t: float(t @ t), lambda t: 2 * (1 + error) * t, np.ones(3), method="central")
    assert report.verdict == verdict, str(report)


def test_truncation_error_is_no_derivative(probe) -> None:
    """t^3 at 0: the complex step gives -h^2."""
    around = probe(python_number(lambda t: (t**3).sum()), None, np.zeros(1))
    assert complex_step(around, "theta", np.ones(1)).value == 0


def test_the_bar_of_the_longest_step_holds_if_a_kink_is_in_it(probe) -> None:
    for place in np.linspace(0.01, 0.99, 9) * 2.0**-9:
        around = probe(lambda t, place=place: np.abs(t - 1 - place).sum().item(), None, np.ones(1))
        found = central(around, "theta", np.ones(1), level=2)
        assert abs(found.value + 1) <= found.bar < 1 + 4 * abs(found.value)
    smooth = central(probe(lambda t: np.exp(t).sum().item(), None, np.ones(1)), "theta", np.ones(1), level=1)
    assert smooth.bar < 1e-6


@pytest.mark.parametrize(("size", "verdict"), [(2e-11, "PASS"), (1e-10, "INCONCLUSIVE")])
def test_a_jump_that_changes_the_finest_difference_by_less_than_5_percent_is_in_the_bar(size, verdict) -> None:
    report = check_gradient(lambda t: float(np.sum(t + size * (t > 0))), np.ones_like, np.zeros(1), method="central")
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize(("power", "kink"), [(1.5, True), (1.8, False)])
def test_at_a_kink_sides_differ_by_less_than_8_times_as_much_at_16_times_the_distance(power, kink, probe) -> None:
    """Those of |t|^p differ by 16^(p - 1) times as much: 4 and 9."""
    around = probe(lambda t: float(np.sum(np.abs(t) ** power)), None, np.zeros(1))
    assert best_central(around, "theta", np.ones(1))[1] is kink


def test_bars_are_roundings_of_j(probe) -> None:
    """1024 + t is exact, so nothing but rounding and 2^-28 of the derivative is in a bar."""
    line = central(probe(lambda t: 1024 + t.sum().item(), None, np.zeros(1)), "theta", np.ones(1))
    rounding = 2.0**-52 * 1024 / 2.0**-17
    bars = [line.bar - 2.0**-28, line.side_bar - 2.0**-28, line.noise, line.rounding]
    assert bars == pytest.approx([2 * rounding, 8 * rounding, 16 * rounding, rounding], rel=1e-6)


def test_bars_to_one_side_are_roundings_of_j(probe) -> None:
    around = probe(lambda t: 1024 + t.sum().item() if t[0] >= 0 else math.nan, None, np.zeros(1))
    side, kink = best_difference(around, "theta", np.ones(1))
    rounding = 2.0**-52 * 1024 / 2.0**-9
    bars = [side.bar - 2.0**-28, side.side_bar - 2.0**-28, side.noise, side.rounding]
    assert bars == pytest.approx([8 * rounding, 8 * rounding, 16 * rounding, 4 * rounding], rel=1e-4)
    assert not kink


def test_a_difference_takes_whole_steps_where_it_can(probe) -> None:
    line, _ = best_difference(probe(lambda t: 1024 + t.sum().item(), None, np.zeros(1)), "theta", np.ones(1))
    assert line.bar == pytest.approx(2 * 2.0**-33 + 2.0**-28, rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bar_to_one_side_holds_where_fun_is_curved(sign, probe) -> None:
    around = probe(lambda t: np.exp(t).sum().item() if sign * t[0] >= 0 else math.nan, None, np.zeros(1))
    side, _ = best_difference(around, "theta", np.ones(1))
    assert abs(side.value - 1) <= side.bar < 1e-6


@pytest.mark.parametrize("theta", [[1e-12], [1e-12, 2.0], [1e-12, 1e-12, 1.0]], ids=str)
def test_wider_steps_show_an_entry_that_rounding_hides(theta) -> None:
    def squares(t):
        return float((t * t).sum()) if np.all(t >= 0) else math.nan

    def exponentials(t):
        return float(np.exp(t).sum()) if np.all(t >= 0) else math.nan

    for fun, grad in ((squares, lambda t: 2 * t), (exponentials, np.exp)):
        assert check_gradient(fun, grad, np.array(theta)).verdict == "PASS"
        wrong = lambda t, grad=grad: grad(t) * np.where(t < 1e-6, 1.01, 1)  # noqa: E731
        assert check_gradient(fun, wrong, np.array(theta)).verdict == "FAIL"


@pytest.mark.parametrize(
    ("growth", "jumps"), [(0.03, False), (0.2, True), (1, True), (16, True), (40, True), (100, False)]
)
def test_differences_that_grow_from_step_to_step_have_no_limit(growth, jumps) -> None:
    """The steepness of three steps, from fine to wide: 1.1 + growth, 1.1 and 0.1."""
    ladder = [CentralDifference(x, 1e-9, x, x, 1e-9, 1e-9, 1e-9) for x in (1.1 + growth, 1.1, 0.1)]
    assert _jumps(ladder) is jumps
