"""Evidence: a hypothesis must repair the gradient, and chance must not explain it as well."""

import math

import numpy as np
import pytest

from xpdl.gradcheck.function.causes.evidence import Hypothesis, Number

G = np.array([1.0, -2.0, 0.7, 3.0])


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (Number(1 / 3, 1e-12), "0.3333333"),
        (Number(1 / 3, 1e-4), "0.333"),
        (Number(1 / 3, 1.0), "0.3"),
        (Number(0.0, 0.1), "0"),
        (Number(math.inf, 0.0), "inf"),
        (Number(2.0, math.nan), "2"),
    ],
)
def test_a_number_has_the_digits_that_are_certain(number, shown) -> None:
    assert str(number) == shown


def test_a_number_may_be_another_within_its_uncertainty() -> None:
    assert [Number(2 + 1e-9 * errors, 1e-9).is_at(2.0) for errors in (3.5, 4.5, -3.5, -4.5)] == [True, False] * 2


def test_a_hypothesis_must_repair_every_entry(evidence) -> None:
    wrong = evidence(2 * G, G)
    assert wrong.explains(Hypothesis("half", G)) == "half"
    assert wrong.explains(Hypothesis("half", G * [1, 1, 1 + 1e-9, 1])) is None
    assert wrong.explains(Hypothesis("half", G * [1, 1, 1, math.nan])) is None


def test_a_free_number_is_fitted_and_costs_one_entry(evidence) -> None:
    factor = Hypothesis(lambda p: str(p[0]), 0.0, [2 * G])
    assert evidence(2 * G, G).explains(factor) == "0.5"
    assert evidence([2.0, 3.0], [1.0, 1.5]).explains(Hypothesis("fits", 0.0, [np.array([2.0, 3.0])])) == "fits"
    assert evidence([2.0], [1.0]).explains(Hypothesis("fits", 0.0, [np.array([2.0])])) is None


def test_a_free_number_takes_the_evidence_of_one_entry_away(evidence) -> None:
    found = evidence([2.0, 3.0], [1.0, 1.5], exact=1e-6)
    assert found.explains(Hypothesis("exact", np.array([1.0, 1.5]))) == "exact"
    assert found.explains(Hypothesis("fitted", 0.0, [np.array([2.0, 3.0])])) is None


def test_four_entries_determine_four_numbers_whatever_the_number_of_directions(evidence) -> None:
    basis = [np.eye(4)[k] for k in range(4)]
    assert evidence(2 * G, G, entries=False).explains(Hypothesis("any", 0.0, basis)) is None


@pytest.mark.parametrize(("exact", "said"), [(1e-10, "half"), (1e-5, "half"), (1e-2, None)])
def test_coarse_derivatives_are_less_evidence(evidence, exact, said) -> None:
    assert evidence(2 * G[:2], G[:2], exact=exact).explains(Hypothesis("half", G[:2])) == said


def test_entries_that_were_right_before_are_no_evidence(evidence) -> None:
    """One wrong entry is worth less than what a few hundred hypotheses need if it is wrong by little."""
    claim = G.copy()
    claim[0] += 1e-6
    assert evidence(claim, G, exact=1e-8).explains(Hypothesis("slightly", G)) is None
    claim[0] += 1.0
    assert evidence(claim, G, exact=1e-8).explains(Hypothesis("clearly", G)) == "clearly"


def test_a_derivative_of_which_nothing_is_known_is_no_evidence_and_no_obstacle(evidence) -> None:
    found = evidence(2 * G, G)
    unknown = [derivative._replace(bar=math.inf) for derivative in found.derivatives]
    half = Hypothesis("half", G)
    assert type(found)(found.claim, G, found.scale, unknown).explains(half) is None
    assert type(found)(found.claim, G, found.scale, [*unknown[:1], *found.derivatives[1:]]).explains(half) == "half"


def test_at_a_kink_each_number_between_the_sides_is_right(evidence) -> None:
    found = evidence(2 * G, G)
    kink = found.derivatives[0]._replace(low=0.0, high=1.5)
    at_kink = type(found)(found.claim, G, found.scale, [kink, *found.derivatives[1:]])
    assert at_kink.explains(Hypothesis("half", G * [0.3, 1, 1, 1])) == "half"
    assert at_kink.explains(Hypothesis("half", G * [1.6, 1, 1, 1])) is None


@pytest.mark.parametrize(("roundings", "said"), [(20, "half"), (60, None)])
def test_a_repaired_gradient_may_be_rounded_32_times(roundings, said, evidence) -> None:
    assert evidence(2 * G, G, exact=1e-20).explains(Hypothesis("half", G * (1 + roundings * 2.0**-52))) == said


def test_a_number_may_be_a_negative_one_but_for_rounding() -> None:
    assert Number(-2 - 5e-15, 0.0).is_at(-2.0)
    assert not Number(-2 - 5e-14, 0.0).is_at(-2.0)
