"""Tensors entry by entry: each entry has its own bar, kinks excuse only what they can, and the report says why."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.directional import DirectionalDerivative
from xpdl.gradcheck.function.tensor import Directions, TensorCheck
from xpdl.progress import report as reported

SLIGHTLY = 1 + 1e-6


def step(theta):
    return (theta > 0) * 1.0


def relu(theta):
    return np.maximum(theta, 0).sum()


def test_tiny_entries_among_large_ones(points, with_entry) -> None:
    """Eight entries have slopes from 1e-8 to 1e6.  The complex step sees each, as rounding of J does not hide it."""
    weights, theta = 10.0 ** np.arange(-8, 8, 2), points(33)
    for place in range(8):
        grad = with_entry(lambda t: 2 * weights * t, place, SLIGHTLY)
        report = check_gradient(lambda t: (weights * t * t).sum(), grad, theta)
        assert report.parameters["theta"].worst.index == (place,), str(report)
        assert report.verdict == "FAIL"


@pytest.mark.parametrize("value", [1.2, -0.01])
def test_a_kink_excuses_nothing_outside_its_one_sided_derivatives(value) -> None:
    assert check_gradient(relu, lambda t: np.full(8, value), np.zeros(8)).verdict == "FAIL"
    assert check_gradient(relu, lambda t: np.full(8, 0.3), np.zeros(8)).verdict == "PASS"


def test_kinks_are_noted_and_do_not_hide_a_wrong_entry(with_entry) -> None:
    theta = np.concatenate([np.ones(890), np.zeros(10)])

    def fun(t):
        return np.maximum(t, 0).sum() + (t[:5] ** 2).sum()

    def grad(t):
        answer = step(t)
        answer[:5] += 2 * t[:5]
        return answer

    report = check_gradient(fun, grad, theta)
    assert report.verdict == "PASS", str(report)
    assert any("at a kink, accepted between one-sided derivatives" in note for note in report.notes)
    wrong = check_gradient(fun, with_entry(grad, 3, 1.01), theta)
    assert (wrong.verdict, wrong.parameters["theta"].worst.index) == ("FAIL", (3,)), str(wrong)


def test_what_rounding_hides_is_inconclusive(points, scaled) -> None:
    """J is 1e100 plus a part of size 1e-9: differences cannot show whether its gradient is right."""

    def fun(t):
        return 1e100 + 1e-3 * (np.abs(t) ** 2).sum()

    for factor in (1.0, 1.25):
        report = check_gradient(fun, scaled(lambda t: 2e-3 * t, factor), 1e-3 * points())
        assert report.verdict == "INCONCLUSIVE", str(report)


def test_wider_steps_show_what_rounding_hides(points, scaled) -> None:
    """J is 1e8 plus the same."""
    fun = lambda t: 1e8 + 1e-3 * (np.abs(t) ** 2).sum()  # noqa: E731
    for factor, verdict in ((1.0, "PASS"), (1.25, "FAIL")):
        report = check_gradient(fun, scaled(lambda t: 2e-3 * t, factor), 1e-3 * points())
        assert report.verdict == verdict, str(report)


def test_every_entry_has_an_error_bar_that_holds(points) -> None:
    theta = points(41)
    for method, least in (("complex", 1e-9), ("central", 1e-6)):
        parameter = check_gradient(lambda t: np.exp(t).sum(), np.exp, theta, method=method).parameters["theta"]
        assert parameter.bar.shape == theta.shape
        assert np.all(np.abs(parameter.numeric - np.exp(theta)) <= parameter.bar)
        assert np.all(parameter.bar < least * np.exp(theta))


def test_a_large_difference_that_does_not_fail_is_explained() -> None:
    """Entries that float32 does not show, and one at a kink."""
    unseen = check_gradient(
        lambda t: 1 + 1e-9 * np.sin(t).sum(),
        lambda t: 1e-9 * np.cos(t) * [1, 9],
        np.ones(2),
        dtype="float32",
        method="central",
    )
    kink = check_gradient(lambda t: np.abs(t).sum(), lambda t: np.array([0.9, 1.0]), np.array([0.0, 1.0]))
    explained = {"2 of 2 are below their error bars": (unseen, "INCONCLUSIVE"), "1 at a kink": (kink, "PASS")}
    for reason, (report, verdict) in explained.items():
        assert report.verdict == verdict, str(report)
        assert report.difference > 1e-2
        assert any("with a difference of" in note and reason in note for note in report.notes), str(report)


def test_an_entry_far_smaller_than_the_others_is_seen_with_steps_of_their_size() -> None:
    """Steps of 1e-9 drown in float32; a claim of 9 for 1 passed."""
    for claim, verdict in ((1.0, "PASS"), (9.0, "FAIL")):
        grad = lambda t, claim=claim: np.array([1.0, claim])  # noqa: E731
        theta = np.array([1, 1e-9])
        report = check_gradient(lambda t: 1 + t.sum(), grad, theta, dtype="float32", method="central")
        assert report.verdict == verdict, str(report)


def test_an_entry_that_rounding_hides_is_not_judged() -> None:
    """t^2 at 1e30 has a rounding of 1e44; a wrong derivative at 1 passed.  Where it is 0, a small bar is enough."""
    for factor in (1.0, 1.01, 2.0):
        grad = lambda t, factor=factor: 2 * t * [factor, 1]  # noqa: E731
        report = check_gradient(lambda t: (t * t).sum(), grad, np.array([1.0, 1e30]), method="central")
        assert report.verdict == "INCONCLUSIVE", str(report)
        assert (
            report.notes[0] == "theta: the error bar of [0] is larger than its derivative, so nothing is known about it"
        )
    zeroed = check_gradient(lambda t: (t * t).sum(), lambda t: 2 * t * [0, 1], np.array([1e-2, 1e6]), method="central")
    assert zeroed.verdict == "FAIL", str(zeroed)
    zero = check_gradient(lambda t: (t**3).sum(), lambda t: 3 * t * t, np.array([0.0, 1, 2]), method="central")
    assert zero.verdict == "PASS", str(zero)


# The check of one tensor


def test_directions_are_unit_vectors_or_rows_of_signs() -> None:
    units = Directions(3)
    assert (len(units), np.stack(list(units)).tolist()) == (3, np.eye(3).tolist())
    assert units.project(np.arange(3.0)).tolist() == [0, 1, 2]
    signs = np.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    rows = Directions(3, signs)
    assert (len(rows), rows.row(1).tolist()) == (2, [1, -1, 1])
    assert rows.project(np.arange(3.0)).tolist() == [-1, 1]


def test_a_tensor_is_measured_and_judged_in_its_own_units(probe) -> None:
    theta = np.array([[8.0, 0.5]])
    around = probe(lambda t: float((t * t).sum()), lambda t: 2 * t, theta)
    tensor = TensorCheck(around, "theta", 2 * theta, Directions(2))
    with reported(2, "", shown=False) as reporter:
        tensor.measure("central", reporter)
    assert tensor.claims().tolist() == [16 * 8, 1 * 0.5]
    assert TensorCheck(around, "theta", theta, Directions(2), spread=1.0).spread.tolist() == [8, 0.5]
    assert tensor.columns()[0] == pytest.approx(tensor.claims(), rel=1e-9)
    found = tensor.judged_entries()
    assert (found.verdict, found.shape) == ("PASS", (1, 2))
    assert found.numeric == pytest.approx(2 * theta, rel=1e-9)


def test_few_wrong_entries_are_listed_and_many_are_not(probe) -> None:
    around = probe(lambda t: float((t * t).sum()), lambda t: 2 * t, np.ones((4, 6)))
    tensor = TensorCheck(around, "theta", np.ones((4, 6)), Directions(24))
    assert tensor.some([0, 7]) == "only 2 of 24 entries wrong: [0, 0], [1, 1]"
    assert tensor.some(list(range(10)), "at least").endswith("[1, 1], ...")
    assert tensor.some(list(range(13))) is None


def test_the_complex_step_is_refused_if_it_must_be_used(probe) -> None:
    around = probe(lambda t: float((t * t).real.sum()), lambda t: 2 * t, np.ones(3))
    tensor = TensorCheck(around, "theta", 2 * np.ones(3), Directions(3))
    with reported(3, "", shown=False) as reporter:
        with pytest.raises(ValueError, match="method 'complex' is not possible for theta: for complex numbers fun"):
            tensor.measure("complex", reporter)
        tensor.measure("auto", reporter)
    assert tensor.method == "central"
    assert tensor.notes() == ["theta: central differences, because for complex numbers fun has no imaginary part"]


# The limits


def test_tensors_of_up_to_256_entries_are_checked_entry_by_entry() -> None:
    shapes = [check_gradient(np.sum, np.ones_like, np.ones(n)).parameters["theta"].bar.shape for n in (256, 257)]
    assert shapes == [(256,), (11,)]


@pytest.mark.parametrize(("error", "noted"), [(7e-4, False), (2e-3, True)])
def test_a_note_explains_a_difference_above_1e_3(error, noted) -> None:
    claims = np.array([error * 2**1.5, 1, 1])
    report = check_gradient(lambda t: np.abs(t).sum(), lambda t: claims, np.array([0.0, 1, 1]))
    assert report.verdict == "PASS", str(report)
    assert any("passes with a difference" in note for note in report.notes) is noted, str(report)


def test_other_steps_are_tried_if_a_bar_hides_errors_of_1e_7() -> None:
    """Beside 1000, one step has a bar of 1e-7; all steps would take 224 evaluations."""
    report = check_gradient(lambda t: 1000 + float(t @ t), lambda t: 2 * t, np.linspace(0.5, 2, 6))
    assert report.detects < 1e-6, str(report)
    assert report.evaluations < 200


def test_only_an_entry_of_0_may_have_a_bar_that_is_larger_and_below_1e_4_of_the_largest(probe) -> None:
    around = probe(lambda t: float(t.sum()), None, np.ones(2))
    for claim, bar, hidden in ((0, 5e-5, None), (0, 3e-4, 1), (1e-6, 5e-5, 1), (1e-4, 5e-5, None)):
        tensor = TensorCheck(around, "theta", np.array([1, claim]), Directions(2))
        tensor.derivatives = [DirectionalDerivative(x, e, x, x) for x, e in ((1.0, 1e-9), (claim, bar))]
        assert tensor.unjudged() == hidden, (claim, bar)


def test_the_difference_over_entries_and_directions_counts_a_direction_as_one_of_k() -> None:
    slopes = np.linspace(1, 2, 300)
    report = check_gradient(
        lambda p: p["small"].sum() + (slopes * p["large"]).sum(),
        lambda p: {"small": np.array([2.0, 1.0]), "large": 1.5 * slopes},
        {"small": np.array([4.0, 4.0]), "large": np.ones(300)},
    )
    large = report.parameters["large"]
    claim, true = (np.r_[small, rows / 11**0.5] for small, rows in (([8, 4], large.analytic), ([4, 4], large.numeric)))
    expected = np.linalg.norm(claim - true) / (np.linalg.norm(claim) + np.linalg.norm(true))
    assert report.difference == pytest.approx(expected)


@pytest.mark.parametrize(("offset", "again"), [(1e10, False), (1e11, True)])
def test_entries_of_large_tensors_are_looked_at_again_if_their_bar_is_larger_than_they_are(offset, again) -> None:
    """The bar is 0.3 times and 3 times the derivative."""
    report = check_gradient(lambda t: offset + float(t @ t), lambda t: 2 * t, np.ones(257), full=True)
    assert (report.evaluations > 2000) is again
