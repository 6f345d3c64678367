"""Circles and spirals: exactly the published formulas, noise of the right size, and statistics like the origin's."""

from functools import partial
import os
from pathlib import Path

import numpy as np
import pytest

from xpdl.data import circles, load, spiral


def radius(x):
    return np.hypot(x[:, 0], x[:, 1])


def seed_file(name):
    path = Path(os.environ.get("XPDL_DATA", ""), "seed", name)
    if not path.is_file():
        pytest.skip("the origin's own draw needs XPDL_DATA to point at a folder with seed/")
    return load(path)


@pytest.mark.parametrize("n", [2, 7, 300])
def test_circles_are_those_of_scikit_learn(n):
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.make_circles(n, noise=None, factor=0.6, shuffle=False)
    data = circles(n, 5, noise=0, factor=0.6)
    mine = np.column_stack([data.x, data.y])
    theirs = np.column_stack([x, y])
    np.testing.assert_allclose(mine[np.lexsort(mine.round(9).T)], theirs[np.lexsort(theirs.round(9).T)], atol=1e-12)


def test_circles_shapes_labels_and_noise():
    data = circles(20_001, 400, noise=0.05, factor=0.8, seed=2)
    assert (data.x.shape, data.x.dtype, data.y.dtype, data.x_test.shape) == (
        (20_001, 2),
        np.float64,
        np.int64,
        (400, 2),
    )
    assert np.bincount(data.y).tolist() == [10_000, 10_001]
    assert 4_500 < data.y[:10_000].sum() < 5_500, "the rows are shuffled"
    for label, expected in ((0, 1.0), (1, 0.8)):
        r = radius(data.x[data.y == label])
        assert abs(r.mean() - expected) < 0.005
        assert abs(r.std() - 0.05) < 0.002


def test_circles_resemble_the_origins():
    """Its file has noise 0.05 and factor 0.8: equal counts; mean radius and spread within sampling error."""
    theirs, mine = seed_file("circles.csv"), circles(300)
    for label in (0, 1):
        r, q = radius(theirs.x[theirs.y == label]), radius(mine.x[mine.y == label])
        assert len(r) == len(q) == 150
        assert abs(r.mean() - q.mean()) < 4 * 0.05 * (2 / 150) ** 0.5
        assert 0.75 < r.std() / q.std() < 1.33


def test_spiral_is_the_published_loop():
    data = spiral(50, 4, noise=0)
    for j in range(4):  # CS231n: r, t = np.linspace(0.0, 1, N), np.linspace(j*4, (j+1)*4, N); X = r*sin(t), r*cos(t)
        r, t = np.linspace(0, 1, 50), np.linspace(j * 4, (j + 1) * 4, 50)
        np.testing.assert_allclose(data.x[50 * j : 50 * (j + 1)], np.column_stack([r * np.sin(t), r * np.cos(t)]))
    assert data.y.tolist() == [j for j in range(4) for _ in range(50)]


def angles_off_the_arm(data):
    """Return the angle between each point and its place on the arm, in (-pi, pi]; without the first point."""
    n = len(data.x) // 3
    t = np.concatenate([np.linspace(4 * j, 4 * (j + 1), n) for j in range(3)])
    off = np.angle(np.exp(1j * (np.arctan2(data.x[:, 0], data.x[:, 1]) - t)))
    return np.delete(off, [0, n, 2 * n])


def test_spiral_shapes_and_noise():
    data = spiral(4_000, noise=0.2, seed=1)
    assert (data.x.shape, data.x.dtype, data.y.dtype, data.name) == ((12_000, 2), np.float64, np.int64, "spiral")
    np.testing.assert_allclose(radius(data.x), np.tile(np.linspace(0, 1, 4_000), 3), atol=1e-12)
    off = angles_off_the_arm(data)
    assert abs(off.mean()) < 0.01
    assert abs(off.std() - 0.2) < 0.005


def test_spiral_resembles_the_origins():
    theirs, mine = seed_file("spiral.csv"), spiral()
    assert np.array_equal(theirs.y, mine.y)
    np.testing.assert_allclose(radius(theirs.x), radius(mine.x), atol=1e-12)
    off, own = angles_off_the_arm(theirs), angles_off_the_arm(mine)
    assert abs(off.mean() - own.mean()) < 4 * 0.2 * (2 / 297) ** 0.5
    assert 0.8 < off.std() / own.std() < 1.25


@pytest.mark.parametrize("make", [partial(circles, 100, 100), spiral])
def test_the_test_part_is_a_second_draw_and_the_seed_decides_both(make):
    a, b, c = make(seed=1), make(seed=1), make(seed=2)
    assert np.array_equal(a.x, b.x)
    assert np.array_equal(a.x_test, b.x_test)
    assert not np.array_equal(a.x, c.x)
    assert not np.isin(a.x_test[a.x_test.any(axis=1)], a.x).any()


WRONG = [
    (circles, {"n_train": 1}, "n_train must be at least 2"),
    (circles, {"noise": -1}, "noise must be finite and"),
    (circles, {"factor": 1.0}, "factor must be finite and"),
    (circles, {"seed": -1}, "seed must be in"),
    (spiral, {"n_classes": 0}, "n_classes must be at least 1"),
    (spiral, {"noise": float("nan")}, "noise must be finite and"),
]


@pytest.mark.parametrize(("make", "wrong", "reason"), WRONG)
def test_wrong_arguments_are_named(make, wrong, reason):
    with pytest.raises(ValueError, match=reason):
        make(**wrong)
