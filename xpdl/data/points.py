"""Points in the plane which no straight line can part: the two toy problems of the series this library grew from."""

import numpy as np

from xpdl import checks
from xpdl.data.dataset import Array, Dataset
from xpdl.randomness import Stream, generator


def circles(
    n_train: int = 300, n_test: int = 100, *, noise: float = 0.05, factor: float = 0.8, seed: int = 0
) -> Dataset:
    """Two concentric circles: label 0 on the outer, 1 on the inner one; shuffled.

        x = radius * (cos t, sin t) + noise * N(0, 1)     t evenly spaced on [0, 2 pi), radius 1 or ``factor``

    x (n, 2) float64, y (n,) int64; the outer circle has n // 2 points.  The test part is a second draw.
    Source: ``sklearn.datasets.make_circles``, scikit-learn (Pedregosa et al. 2011).
    """
    checks.real("noise", noise)
    checks.real("factor", factor, below=1)
    train = _circles(checks.integer("n_train", n_train, least=2), noise, factor, generator(seed, Stream.DATA, layer=0))
    test = _circles(checks.integer("n_test", n_test, least=2), noise, factor, generator(seed, Stream.DATA, layer=1))
    return Dataset(*train, *test, name="circles")


def spiral(n_per_class: int = 100, n_classes: int = 3, *, noise: float = 0.2, seed: int = 0) -> Dataset:
    """Arms of a spiral, one per class j = 0, 1, ...; in the order of the classes.

        r = linspace(0, 1, n)     t = linspace(4 j, 4 (j + 1), n) + noise * N(0, 1)     x = (r sin t, r cos t)

    x (n_per_class * n_classes, 2) float64, y int64.  The test part is a second draw of the same size.
    Source: A. Karpathy, CS231n notes, "Putting it together: Minimal Neural Network Case Study" (2015).
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
