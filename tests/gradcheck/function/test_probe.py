"""Probes: the function around theta, in natural units, and its noise."""

import math
import warnings

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.probe import COMPLEX_STEP, PATHS, NotAnalyticError, Probe, natural_scale


def test_float32_that_is_not_admitted_is_found_out(points) -> None:
    def fun(theta):
        return np.sum(theta.astype(np.float32) ** 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = check_gradient(fun, lambda t: 3 * t * t, points())
    assert (report.verdict, report.precision) == ("PASS", "float32"), str(report)
    assert "fun answers in float32" in report.notes[0]


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("decimals", [1, 3, 4, 6, 8, 9, 10, 11, 12, 13])
def test_a_rounded_function_is_judged_by_what_it_shows(decimals, method, points) -> None:
    functions = {
        "np.round": lambda t: np.round((t**2).sum(), decimals),
        "round": lambda t: round(sum((t**2).tolist()), decimals),
        "of theta": lambda t: (np.round(t, decimals) ** 2).sum(),
    }
    for seed in range(3):
        for name, fun in functions.items():
            right = check_gradient(fun, lambda t: 2 * t, points(seed), method=method)
            assert right.verdict != "FAIL", f"{name}\n{right}"
            assert decimals > 3 or right.verdict == "INCONCLUSIVE", f"{name}\n{right}"
            wrong = check_gradient(fun, lambda t: 3 * t, points(seed), method=method)
            assert wrong.verdict != "PASS", f"{name}\n{wrong}"
            assert decimals < 6 or wrong.verdict == "FAIL", f"{name}\n{wrong}"
            assert decimals > 12 or any("fun changes in steps of" in note for note in right.notes), f"{name}\n{right}"


def test_the_steps_of_all_entries_count_where_theta_is_rounded(points) -> None:
    """Along one direction two entries of opposite signs may nearly cancel: 4e-8 beside steps of up to 5e-6."""
    fun = lambda t: (np.round(t, 6) ** 2).sum()  # noqa: E731
    for place, seed in ((5, 0), (8, 1)):
        report = check_gradient(fun, lambda t: 2 * t, points(place), method="central", seed=seed)
        assert report.verdict != "FAIL", str(report)


def test_a_function_that_stands_still_only_at_theta_does_not_move_in_steps() -> None:
    def dead(theta):
        return 3 + np.maximum(theta - 1e-3, 0).sum()

    report = check_gradient(dead, np.zeros_like, np.zeros(5))
    assert report.verdict == "PASS"
    assert not any("steps" in note for note in report.notes), str(report)
    assert check_gradient(dead, lambda t: t + 0.1, np.zeros(5)).verdict == "FAIL"


# The probe itself


def squares(theta):
    return (theta * theta).sum().item()


def double(theta):
    return 2 * theta


def test_the_scale_of_an_entry_is_a_power_of_two_and_never_tiny() -> None:
    scale = natural_scale(np.array([0.0, 1e-9, 0.9, 1.1, -5.0]))
    assert np.array_equal(np.log2(scale), np.round(np.log2(scale)))
    assert scale.tolist() == [2.0**-30, 2.0**-30, 1.0, 1.0, 4.0]
    assert natural_scale(np.zeros(3)).tolist() == [1, 1, 1]


def test_moves_are_exact_and_leave_theta_alone(probe) -> None:
    theta = np.array([0.75, -5.0, 0.0])
    around = probe(squares, double, theta)
    moved = around.moved({"theta": 2.0**-20 * np.array([1.0, -1.0, 1.0])})["theta"]
    assert ((moved - theta) / around.scale["theta"]).tolist() == [2.0**-20, -(2.0**-20), 2.0**-20]
    assert theta.tolist() == [0.75, -5.0, 0.0]


def test_distances_are_as_far_from_rounding_in_either_precision(probe) -> None:
    assert probe(squares, double, np.ones(2)).distance(20) == 2.0**-20
    assert probe(squares, double, np.ones(2), "float32").distance(52) == 2.0**-23


@pytest.mark.parametrize("size", [1e-10, 1e-6])
def test_noise_is_measured_to_a_factor(probe, points, size) -> None:
    rng = np.random.default_rng(1)
    around = probe(lambda t: squares(t) + size * float(rng.standard_normal()), double, points())
    assert size / 5 < around.noise < 5 * size


def test_a_smooth_function_has_no_more_noise_than_rounding(probe, points) -> None:
    around = probe(squares, double, points())
    assert around.noise < 10 * around.u * around.start
    assert around.quantum == 0
    assert not around.coarse


def test_a_function_that_is_rounded_moves_by_its_quantum(probe, points) -> None:
    around = probe(lambda t: round(squares(t), 3), double, points())
    assert around.quantum == pytest.approx(1e-3, rel=1e-6)
    assert around.noise >= 1e-3 / math.sqrt(12) * 0.99


def test_a_function_that_moves_at_once_has_no_quantum_to_look_for(probe, points) -> None:
    around = probe(squares, double, points())
    asked, value = [], around.real
    around.real = lambda shift: asked.append(shift) or value(shift)
    assert (around.quantum, len(asked)) == (0.0, 2)


def test_float32_in_float64_is_coarse(probe, points) -> None:
    assert probe(lambda t: float(np.float32(squares(t))), double, points()).coarse


def test_the_imaginary_part_is_the_derivative(probe, points) -> None:
    around = probe(lambda t: complex((t * t).sum()) if np.iscomplexobj(t) else squares(t), double, points())
    d = np.ones(8)
    expected = float(np.sum(2 * points() * around.scale["theta"]))
    assert around.imaginary("theta", d) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("fun", "why"),
    [
        (lambda t: 1.0, "has no imaginary part"),
        (lambda t: 1 / 0 if np.iscomplexobj(t) else 1.0, "raises ZeroDivisionError: division by zero"),
        (lambda t: complex(1, math.nan) if np.iscomplexobj(t) else 1.0, "is not finite"),
        (lambda t: float(np.float64(1j)) if np.iscomplexobj(t) else 1.0, "raises"),
        (lambda t: float(t.astype(float).sum()), "raises ComplexWarning: Casting complex values to real"),
    ],
)
def test_why_there_is_no_complex_step_is_said(probe, fun, why) -> None:
    with pytest.raises(NotAnalyticError, match=why):
        probe(fun, double, np.ones(2)).imaginary("theta", np.ones(2))


def test_where_the_function_raises_it_is_not_a_number(probe) -> None:
    def picky(theta):
        if theta[0] != 1:
            raise ValueError("only at 1")
        return 1.0

    assert math.isnan(probe(picky, double, np.ones(2)).real({"theta": np.array([0.5, 0.0])}))


def test_what_a_right_claim_may_be_off_by_comes_from_the_function_alone(probe, points) -> None:
    rng = np.random.default_rng(2)
    quiet = probe(squares, double, points())
    noisy = probe(lambda t: squares(t) + 1e-6 * float(rng.standard_normal()), double, points())
    assert quiet.noise_of_claims == 0
    assert 1e-7 < noisy.noise_of_claims < 1e-4


def test_terms_that_cancel_at_theta_round_as_they_do_elsewhere(probe) -> None:
    """(t - 1)^2 has the derivative 0 at 1, of terms as large as at 0."""
    around = probe(lambda t: ((t - 1) ** 2).sum().item(), lambda t: 2 * (t - 1), np.ones(1))
    assert around.rounding_of_claims("theta", np.ones(1)) / around.u == pytest.approx(2 * 64)
    logs = probe(lambda t: ((np.log(t) - 1) ** 2).sum().item(), None, np.array([np.e]))  # it is not defined at 0
    assert logs.rounding_of_claims("theta", np.ones(1)) > 10 * logs.u


@pytest.mark.parametrize("fun", [np.log, np.sqrt, lambda t: t**0.3], ids=["log", "sqrt", "power"])
def test_a_step_from_a_pole_or_a_root_says_nothing_about_the_size_of_terms(fun, probe) -> None:
    """They have an infinite derivative at 0, and no part of the gradient elsewhere is as large."""
    around = probe(lambda t: fun(t).sum().item(), None, np.ones(2))
    assert around.rounding_of_claims("theta", np.ones(2)) < 1000 * around.u


def corner(t, least, most):
    return (t * t + t).sum().item() if np.all((least <= t) & (t <= most)) else np.nan


@given(theta=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=40))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_direction_inward_stays_inside_a_box_and_moves_every_entry_at_times(theta) -> None:
    theta = np.array(theta)
    around = Probe(
        lambda tensors: corner(tensors["theta"], 0, 1),
        {"theta": theta},
        corner(theta, 0, 1),
        2.0**-52,
        np.random.default_rng(0),
    )
    moved = np.zeros(theta.size, bool)
    for k in range(20):
        d = around.inward("theta", around.signs("theta"), all_at_once=k == 0)
        assert around.has_room("theta", d)
        moved |= d != 0
    assert np.all(moved)
    assert around.noise < 1e-12


# The distances at which noise and steps are looked for


def test_waves_of_1e4_radians_in_a_natural_unit_are_no_noise(probe, points) -> None:
    around = probe(lambda t: np.sin(1e4 * t).sum().item(), None, points())
    assert around.noise < 1000 * around.u


def test_noise_that_stays_the_same_over_short_distances_is_seen(probe) -> None:
    """Each interval of 2^-28 has a number of its own."""

    def fun(t):
        return t.sum().item() + 1e-9 * np.random.default_rng(int(t[0] * 2**28)).random()

    seen = [probe(fun, None, np.array([x])).noise > 1e-10 for x in np.linspace(0.6, 1.3, 20)]
    assert sum(seen) >= 8


@pytest.mark.parametrize(
    ("fun", "quantum"),
    [(lambda t: np.floor(t.sum() / 200).item(), 1.0), (lambda t: np.round(t[0] ** 8 * 2.0**44).item(), 1.0)],
    ids=["the widest", "the narrowest"],
)
def test_steps_are_found_from_200_natural_units_to_1e_14(probe, fun, quantum) -> None:
    assert probe(fun, None, np.ones(1)).quantum == quantum


def test_steps_are_looked_for_at_30_distances(probe) -> None:
    calls = []
    assert probe(lambda t: float(calls.append(0) or 3.0), None, np.ones(2)).quantum == 0
    assert len(calls) == 30


def test_the_ways_away_from_theta(probe) -> None:
    around = probe(squares, double, np.array([-2.0, 0.0, 4.0]))
    _, within, outward = (around.random_direction(path)["theta"] for path in PATHS)
    assert np.abs(within).tolist() == [1, 0, 1]
    assert outward.tolist() == [-1, 1, 1]


def test_the_size_of_j_is_the_largest_on_the_way_to_0(probe) -> None:
    assert probe(lambda t: 8 - t.sum().item(), None, np.ones(1)).size == 8
    assert probe(lambda t: 8 + t.sum().item(), None, np.ones(1)).size == 9


def test_a_scale_is_the_lowest_decile_at_least_and_a_complex_step_does_not_underflow(probe) -> None:
    assert natural_scale(2.0 ** np.arange(41)).min() == 2.0**4
    around = probe(squares, double, np.full(1, 1e-306))
    assert 2**9 <= around.scale["theta"] * COMPLEX_STEP / around.tiny <= 2**11
