"""Mistakes in a part of the entries: what only an entry-by-entry check can see."""

import numpy as np
import pytest

from xpdl.gradcheck.function.causes.parts import part, place_only

G = np.random.default_rng(5).uniform(0.5, 2, (5, 4)) * np.array([1, -1, 1, -1])


def changed(where, value):
    claim = G.copy()
    claim[where] = value(claim[where])
    return claim


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (changed(np.s_[2], lambda g: 0 * g), "0 in row 2"),
        (changed(np.s_[2], lambda g: 2 * g), "2 x the numeric gradient in row 2: counted twice"),
        (changed(np.s_[2], lambda g: 0 * g + 9), "9 in every one of row 2"),
        (changed(np.s_[[1, 3], [0, 2]], lambda g: g + 0.5), "the numeric gradient + 0.5 in [1, 0], [3, 2]"),
        (
            changed(np.s_[[1, 3], [0, 2]], lambda g: g - np.array([-0.5, 1])),
            "the numeric gradient + multiples of 0.5 (+1, -2) in [1, 0], [3, 2]: counts or labels?",
        ),
        (np.clip(G, -1.2, 1.2), "clipped at 1.2"),
        (changed(np.s_[2], lambda g: g**2), None),
        (changed(np.s_[2, 1], lambda g: g + 0.123), None),
        (G[::-1], None),
    ],
)
def test_what_is_wrong_in_a_part_is_named(evidence, claim, said) -> None:
    assert part(evidence(claim, G)) == said


def test_a_part_where_the_gradient_is_0(evidence) -> None:
    numeric = np.where(np.arange(5)[:, None] == 2, 0, G)
    assert part(evidence(G, numeric)) == "not 0 in row 2, where the numeric gradient is 0"
    numeric = np.where(np.random.default_rng(0).random(G.shape) < 0.5, 0, G)
    assert part(evidence(G, numeric)) == "not 0 in the entries where the numeric gradient is 0"


def test_a_place_is_named_if_nothing_else_is_known(evidence) -> None:
    assert place_only(evidence(changed(np.s_[2], lambda g: g**2), G)) == "wrong in row 2, and right elsewhere"
    hint = ": if axis 0 is time, what the last step carries back is wrong or lost"
    assert place_only(evidence(changed(np.s_[:4], lambda g: g**2), G)).endswith(
        f"rows 0 to 3, and right elsewhere{hint}"
    )
    assert "time" not in place_only(evidence(changed(np.s_[0], lambda g: g**2)[:2], G[:2]))
    assert place_only(evidence(changed(np.s_[2, 1], lambda g: g**2), G)) is None
    assert place_only(evidence(changed(np.s_[2], lambda g: g**2), G, entries=False)) is None


@pytest.mark.parametrize(("error", "said"), [(5e-13, "clipped at 1.2"), (2e-12, None)])
def test_clipped_values_are_the_same_but_for_rounding(error, said, evidence) -> None:
    claim = np.clip(G, -1.2, 1.2)
    claim.flat[np.argmax(np.abs(G))] *= 1 - error
    found = part(evidence(claim, G))
    assert found == said or (said is None and "clipped" not in str(found))


def test_six_counts_are_shown(evidence) -> None:
    counts = np.array([1, 2, -1, 3, 1, 2, -2, 1])
    claim = G.copy()
    claim[1:3] += 0.5 * counts.reshape(2, 4)
    assert "(+1, +2, -1, +3, +1, +2) in" in part(evidence(claim, G))
