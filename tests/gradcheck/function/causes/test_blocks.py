"""Blocks of large tensors: further directions lead to the wrong ones, whatever is wrong there."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.causes import block_only

A, THETA = np.random.default_rng(1).standard_normal((2, 6, 60))


def check(where, value, **options):
    def grad(theta):
        g = A * np.cos(theta)
        g[where] = value(g[where])
        return g

    report = check_gradient(lambda theta: (A * np.sin(theta)).sum(), grad, THETA, **options)
    assert report.verdict == "FAIL"
    return report.parameters["theta"].diagnosis


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (np.s_[:, 15:30], lambda g: -g, "-1 x the numeric gradient in columns 15 to 29, the second of 4 blocks: the"),
        (np.s_[:, 15:30], lambda g: g + 0.5, "the numeric gradient + 0.5 in columns 15 to 29, the second of 4 blocks"),
        (np.s_[:, 15:30], lambda g: 0 * g, "0 in columns 15 to 29, the second of 4 blocks"),
        (np.s_[:, 17], lambda g: 0 * g, "0 in column 17"),
        (np.s_[3], lambda g: 1.7 * g, "1.7 x the numeric gradient in row 3"),
        (np.s_[:, 45:], lambda g: g**2, "wrong in columns 45 to 59, the fourth of 4 blocks, and right elsewhere"),
        (np.s_[:4], lambda g: g**2, "wrong in rows 0 to 3, and right elsewhere"),
        (np.s_[3, 4], lambda g: 2 * g, "only 1 of 360 entries wrong: [3, 4]"),
    ],
)
def test_the_block_is_found(method, where, value, said) -> None:
    assert {check(where, value, method=method, seed=seed)[: len(said)] for seed in range(2)} == {said}


def test_a_tensor_that_is_wrong_everywhere_has_no_block(evidence) -> None:
    assert block_only(evidence(A**2, A, entries=False)) is None
    assert block_only(evidence(A, A, entries=False)) is None
    assert block_only(evidence(A**2, A)) is None


@pytest.mark.parametrize(("length", "size"), [(12, 1), (24, 2), (16, 2), (18, 3), (20, 5), (15, 5), (14, 7)])
def test_an_axis_of_more_than_12_indices_is_cut_into_equal_groups(length, size, evidence) -> None:
    g = np.random.default_rng(2).standard_normal((3, length))
    claim = g.copy()
    claim[:, size] += 1
    wrong = f"{size} to {2 * size - 1}" if size > 2 else f"{size} and {size + 1}" if size > 1 else f"{size}"
    assert f" {wrong}" in block_only(evidence(claim, g, entries=False))
