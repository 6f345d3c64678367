"""Words for sets of entries."""

import numpy as np
import pytest

from xpdl.gradcheck.function.causes.places import lines_named, lines_of, place_of, runs

THETA = np.random.default_rng(0).standard_normal((6, 12))


def marked(shape, *where):
    tensor = np.zeros(shape, bool)
    for place in where:
        tensor[place] = True
    return tensor


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (marked((6, 12), 2), "row 2"),
        (marked((6, 12), np.s_[:, 3:6]), "columns 3 to 5, the second of 4 blocks"),
        (marked((6, 12), np.s_[:, :3], np.s_[:, 9:]), "columns 0 to 2 and 9 to 11, the first and fourth of 4 blocks"),
        (marked((6, 12), 1, 4), "rows 1 and 4"),
        (marked((12,), np.s_[6:]), "entries 6 to 11, the third and fourth of 4 blocks"),
        (marked((3, 4, 5), np.s_[:, 2]), "index 2 of axis 1"),
        (marked((6, 12), np.s_[2:4, 5:8]), "rows 2 and 3 of columns 5 to 7"),
        (marked((4, 4), *((k, k) for k in range(4))), "the diagonal"),
        (np.triu(np.ones((4, 4), bool), 1), "the entries above the diagonal"),
        (~np.eye(4, dtype=bool), "the entries off the diagonal"),
        (~np.pad(np.ones((2, 4, 4), bool), ((0, 0), (1, 1), (1, 1))), "the border of axes 1 and 2"),
        (marked((4, 3), (0, 1), (1, 0), (2, 2), (3, 0)), "one entry of each row"),
        (marked((6, 12), (0, 1), (3, 7)), "[0, 1], [3, 7]"),
        (THETA < 0, "the entries where theta is negative"),
        (np.abs(THETA) > 1, "the entries where |theta| is above a number between"),
    ],
)
def test_a_place_has_words(mask, words) -> None:
    theta = THETA if mask.shape == THETA.shape else np.ones(mask.shape)
    assert place_of(mask, np.ones_like(mask), theta, np.ones(mask.shape)).startswith(words)


def test_a_set_without_a_pattern_has_none() -> None:
    mask = np.random.default_rng(1).random((6, 12)) < 0.5
    assert place_of(mask, np.ones_like(mask), THETA, np.ones(mask.shape)) is None
    assert place_of(np.ones((3, 3), bool), np.ones((3, 3), bool), np.ones((3, 3)), np.ones((3, 3))) is None


def test_entries_that_are_not_seen_may_belong_to_a_place() -> None:
    mask, seen = marked((3, 4), (1, 0), (1, 2)), np.ones((3, 4), bool)
    seen[1, [1, 3]] = False
    assert lines_of(mask, seen, 0) == [1]
    assert lines_of(mask, np.ones((3, 4), bool), 0) is None
    assert lines_of(marked((2, 3), 0), marked((2, 3), 0), 0) is None  # of the other row nothing is seen


def test_runs_and_blocks_have_words() -> None:
    assert [runs([3]), runs([3, 4]), runs([1, 3, 4, 5])] == ["3", "3 and 4", "1 and 3 to 5"]
    assert lines_named([0, 1, 2, 3], 0, (4, 3)) == "rows 0 to 3"  # all of them are no block


SCATTERED = [(0, 1), (0, 3), (1, 0), (2, 2), (2, 3), (3, 1)]


@pytest.mark.parametrize(
    ("shape", "places", "values", "words"),
    [
        ((4, 4), SCATTERED, (2.0, 1.0), "the entries where theta is above a number between 1 and 2"),  # 13 bits
        ((3, 4), SCATTERED[:5], (2.0, 1.0), None),  # 10 bits
        ((3, 3), [(0, 0), (0, 2), (2, 0)], (-1.0, 1.0), "the entries where theta is negative"),  # 6.4 bits
        ((3, 3), [(0, 0), (1, 2)], (-1.0, 1.0), "[0, 0], [1, 2]"),  # 5.2 bits
    ],
)
def test_a_side_of_a_threshold_must_be_more_than_chance(shape, places, values, words) -> None:
    mask = marked(shape, *places)
    assert place_of(mask, np.ones_like(mask), np.where(mask, *values), np.ones(shape)) == words


def test_rows_are_no_rows_of_all_columns() -> None:
    mask = marked((6, 12), 1, 4)
    assert place_of(mask, np.ones_like(mask), np.ones(mask.shape), np.ones(mask.shape)) == "rows 1 and 4"
