"""Numbers of their own for rows and columns, values that are the same in each, and lines in other places."""

import numpy as np
import pytest

from xpdl.gradcheck.function.causes import diagnose
from xpdl.gradcheck.function.causes.lines import moved, own_factors, spread

G, THETA = np.random.default_rng(5).standard_normal((2, 5, 4))
ROW = np.array([3, 1.5, 2.2, 0.3])


@pytest.mark.parametrize("entries", [True, False])
@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (G * ROW, "a factor of its own in each of columns 0 to 3: 3, 1.5, 2.2, 0.3"),
        (G * 2.0 ** np.arange(5)[:, None], "a factor of its own in each of rows 0 to 4: 1, each 2 x the one before"),
        (G + ROW, "a number of its own too much in each of columns 0 to 3: 3, 1.5, 2.2, 0.3"),
        (
            G + THETA * ROW,
            "the numeric gradient + multiples of theta, of their own in each of columns 0 to 3: a norm's terms?",
        ),
    ],
)
def test_each_line_may_have_a_number_of_its_own(evidence, entries, claim, said) -> None:
    found = diagnose(evidence(claim, G, theta=THETA, entries=entries))
    assert found == (said.replace("0 to 4: 1, each", "1 to 4: 2, each") if entries else said)


def test_a_number_that_is_0_but_for_rounding_is_shown_as_0(evidence) -> None:
    found = diagnose(evidence(G + ROW * [0, 1, 1, 1], G, theta=THETA, entries=False))
    assert found.endswith("columns 0 to 3: 0, 1.5, 2.2, 0.3")


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (G.mean(0), ": the mean of the numeric gradient along it"),
        (G.sum(0), ": the sum of the numeric gradient along it"),
        (G[0], ": the first of the numeric gradient along it"),
        (G[-1], ": the last of the numeric gradient along it"),
        (G[0] * G[1], ""),
    ],
)
def test_values_that_are_the_same_are_those_of_a_sum(evidence, claim, said) -> None:
    assert spread(evidence(np.broadcast_to(claim, G.shape), G)) == f"the same at every index of axis 0{said}"


def test_values_may_be_the_same_if_the_numeric_ones_are(evidence) -> None:
    assert spread(evidence(2 * np.ones((3, 4)), np.ones((3, 4)))) is None
    assert spread(evidence(np.broadcast_to(G[0], G.shape), G, entries=False)) is None


def test_lines_that_hold_the_values_of_others_are_named(evidence) -> None:
    assert moved(evidence(G[[0, 3, 2, 1, 4]], G)) == "rows 1 and 3 swapped"
    assert moved(evidence(G[:, [0, 0, 1, 2]], G)) == "columns 1 to 3 hold the numeric gradient of 0, 1, 2"
    assert moved(evidence(G**2, G)) is None
    assert moved(evidence(G[[0, 3, 2, 1, 4]], G, entries=False)) is None


# The limits


@pytest.mark.parametrize(("error", "said"), [(1.5e-10, "rows 1 and 3 swapped"), (2.6e-10, None)])
def test_a_line_holds_the_values_of_another_within_two_bars(error, said, evidence) -> None:
    claim = G[[0, 3, 2, 1, 4]]
    claim[1] *= 1 + error
    assert moved(evidence(claim, G)) == said


def test_some_lines_may_be_alike_in_both(evidence) -> None:
    g = np.c_[np.ones(5), G]
    assert spread(evidence(np.broadcast_to(g.mean(0), g.shape), g)).endswith(
        "the mean of the numeric gradient along it"
    )


def test_as_many_numbers_as_derivatives_but_two_are_fitted(evidence) -> None:
    for columns, fitted in ((9, True), (10, False)):
        g = np.random.default_rng(8).standard_normal((20, columns))
        found = diagnose(evidence(g * np.linspace(1.5, 3, columns) ** 2, g, entries=False))
        assert ("in each of columns" in str(found)) is fitted, found


def test_axes_of_up_to_64_indices_have_a_number_for_each(evidence) -> None:
    for length, axes in ((64, 2), (65, 1)):
        assert len(list(own_factors(evidence(2 * np.ones((length, 3)), np.ones((length, 3)))))) == axes


def test_six_numbers_are_shown(evidence) -> None:
    g = np.random.default_rng(9).standard_normal((5, 7))
    found = diagnose(evidence(g * [1.5, 3, 2, 7, 5, 4, 6], g))
    assert found.endswith("columns 0 to 6: 1.5, 3, 2, 7, 5, 4, ...")


@pytest.mark.parametrize(("error", "said"), [(5e-7, "1.5, each 2 x the one before"), (2e-6, "1.5, 3, 6, 12")])
def test_numbers_grow_by_a_factor_if_it_is_the_same_to_1e_6(error, said, evidence) -> None:
    row = 1.5 * np.array([1, 2, 4 * (1 + error), 8 * (1 + error)])
    assert diagnose(evidence(G * row, G, theta=THETA)).endswith(f"columns 0 to 3: {said}")


def test_six_lines_are_named_in_full(evidence) -> None:
    g = np.random.default_rng(9).standard_normal((7, 3))
    for order, more in (([1, 2, 3, 4, 5, 0, 6], ""), ([1, 2, 3, 4, 5, 6, 0], ", ...")):
        assert moved(evidence(g[order], g)).endswith(f"hold the numeric gradient of {str(order[:6])[1:-1]}{more}")
