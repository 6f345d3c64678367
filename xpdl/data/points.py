"""Points in the plane that no straight line separates: the two toy problems of the series this library grew from."""

import numpy as np

from xpdl import checks
from xpdl.data.dataset import Dataset
from xpdl.data.shards import Array
from xpdl.randomness import Stream, generator


def circles(
    n_train: int = 300, n_test: int = 100, *, noise: float = 0.05, factor: float = 0.8, seed: int = 0
) -> Dataset:
    """Draw points on two concentric circles.

        x = radius * (cos t, sin t) + noise * N(0, 1)     t evenly spaced on [0, 2 pi), radius 1 or ``factor``

    Source: ``sklearn.datasets.make_circles``, scikit-learn (Pedregosa et al. 2011).

    Parameters
    ----------
    n_train : int, default 300
        Number of training samples, at least 2.
    n_test : int, default 100
        Number of test samples, at least 2.
    noise : float, default 0.05
        Standard deviation of the noise.
    factor : float, default 0.8
        Radius of the inner circle, in [0, 1); the radius of the outer one is 1.
    seed : int, default 0
        Seed of the points and of their order.

    Returns
    -------
    Dataset
        x (n, 2) is float64, y (n,) is int64: 0 on the outer circle, which has n // 2 points, and 1 on the inner one.
        The order is random.  The test part is a second draw.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from xpdl.data import circles
    >>> data = circles(n_train=50, noise=0)
    >>> data.x.shape, data.x_test.shape
    ((50, 2), (100, 2))
    >>> radii = (data.x**2).sum(axis=1) ** 0.5
    >>> [float(radii[data.y == label].mean().round(6)) for label in (0, 1)]
    [1.0, 0.8]
    """
    checks.real("noise", noise)
    checks.real("factor", factor, below=1)
    train = _circles(checks.integer("n_train", n_train, least=2), noise, factor, generator(seed, Stream.DATA, layer=0))
    test = _circles(checks.integer("n_test", n_test, least=2), noise, factor, generator(seed, Stream.DATA, layer=1))
    return Dataset(*train, *test, name="circles")


def spiral(n_per_class: int = 100, n_classes: int = 3, *, noise: float = 0.2, seed: int = 0) -> Dataset:
    """Draw points on the arms of a spiral, one arm for each class j = 0, 1, ...

        r = linspace(0, 1, n)     t = linspace(4 j, 4 (j + 1), n) + noise * N(0, 1)     x = (r sin t, r cos t)

    Source: A. Karpathy, CS231n notes, "Putting it together: Minimal Neural Network Case Study" (2015).

    Parameters
    ----------
    n_per_class : int, default 100
        Number n of points on each arm, at least 1.
    n_classes : int, default 3
        Number of arms, at least 1.
    noise : float, default 0.2
        Standard deviation of the noise of the angle, in radians.
    seed : int, default 0
        Seed of the noise.

    Returns
    -------
    Dataset
        x (n_per_class * n_classes, 2) is float64, y is int64, both in the order of the classes.  The test part is a
        second draw of the same size.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from xpdl.data import spiral
    >>> data = spiral(n_per_class=2, n_classes=2, noise=0)
    >>> data.x.round(3).tolist()
    [[0.0, 0.0], [-0.757, -0.654], [-0.0, -0.0], [0.989, -0.146]]
    >>> data.y.tolist()
    [0, 0, 1, 1]
    """
    checks.real("noise", noise)
    shape = checks.integer("n_classes", n_classes, least=1), checks.integer("n_per_class", n_per_class, least=1)
    train = _spiral(*shape, noise, generator(seed, Stream.DATA, layer=0))
    test = _spiral(*shape, noise, generator(seed, Stream.DATA, layer=1))
    return Dataset(*train, *test, name="spiral")


def _circles(n: int, noise: float, factor: float, rng: np.random.Generator) -> tuple[Array, Array]:
    counts = n // 2, n - n // 2
    y = np.repeat([0, 1], counts)
    t = np.concatenate([np.linspace(0, 2 * np.pi, count, endpoint=False) for count in counts])
    x = np.where(y, factor, 1.0)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    order = rng.permutation(n)
    return x[order] + noise * rng.standard_normal((n, 2)), y[order]


def _spiral(n_classes: int, n: int, noise: float, rng: np.random.Generator) -> tuple[Array, Array]:
    j = np.arange(n_classes)
    r = np.linspace(0, 1, n)
    t = np.linspace(4 * j, 4 * (j + 1), n, axis=1) + noise * rng.standard_normal((n_classes, n))
    x = np.stack([r * np.sin(t), r * np.cos(t)], axis=-1)
    return x.reshape(-1, 2), np.repeat(j, n)
