"""A data set is four NumPy arrays and a name.  The arrays are checked here, once; all other code relies on that.

    x       (n, d)   rows are samples; uint8 stays uint8, ``scaling`` is for the network
    y       (n,)     int64 class labels, or floating targets (n,) or (n, k)
    x_test, y_test   the same for the test part, or both None

x and y may also be ``Shards`` on disk; their numbers are checked when they are read.  An array that cannot be used
raises ``DataFormatError`` with the name of the data set or file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.data.coding import Coding
from xpdl.data.errors import DataFormatError
from xpdl.data.ranges import AUTO, are_series, choose_scaling, different_ranges
from xpdl.data.shards import Array, Shards
from xpdl.randomness import Stream, generator
from xpdl.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training samples and, if there are any, test samples.

    Parameters
    ----------
    x : ndarray or Shards, shape (n, d)
        The training samples, one per row: floating numbers, or uint8.  ``Shards`` stay on disk.
    y : ndarray or Shards, shape (n,) or (n, k)
        int64 class labels (n,), or floating targets (n,) or (n, k).
    x_test : ndarray, shape (n_test, d), optional
        The samples of the test part.
    y_test : ndarray, shape (n_test,) or (n_test, k), optional
        The labels or targets of the test part.
    name : str, default "data"
        Where the samples come from, for messages.
    coding : Coding, optional
        For data of a file: what its columns and its labels are called, and how they became numbers.
    notes : tuple of str, default ()
        What was found in a file, or guessed, a sentence each.

    Attributes
    ----------
    test : tuple of ndarray or None
        The test part (x_test, y_test), or None if there is none.
    classes : tuple or None
        The labels that the numbers 0, 1, ..., k - 1 in y stand for; None if y holds targets.
    features : tuple of str or None
        The names of the d features, or None if they have none.
    scaling : Scaling or None
        What a network should do to x: ``Scaling.images`` for pixels 0..255; a file whose numbers are not within [0, 1]
        is standardised; else None.

    Raises
    ------
    DataFormatError
        If the arrays do not fit together, or hold NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.data import Dataset
    >>> data = Dataset(np.eye(10), np.arange(10), name="rows of the identity")
    >>> data.test is None
    True
    >>> parts = data.split(0.2)
    >>> parts.x.shape, parts.x_test.shape
    ((8, 10), (2, 10))
    """

    x: Array | Shards
    y: Array | Shards
    x_test: Array | None = None
    y_test: Array | None = None
    name: str = "data"
    coding: Coding | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise DataFormatError(f"{self.name}: {problem}")

    def __str__(self) -> str:
        """Return the name, the size and the classes in a few lines."""
        test = "" if self.x_test is None else f" and {len(self.x_test):,} test"
        lines = [f"{self.name}: {len(self.x):,} training{test} samples of {self.x.shape[1]:,} features, {self.x.dtype}"]
        if self.classes is not None:
            lines.append(f"{len(self.classes)} classes: {checks.one_line(', '.join(map(str, self.classes)))}")
        if self.features is not None:
            lines.append(f"features: {checks.one_line(', '.join(self.features))}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__

    @property
    def test(self) -> tuple[Array, Array] | None:
        """The test part (x_test, y_test), or None if there is none.

        Returns
        -------
        tuple of ndarray or None

        Examples
        --------
        >>> import xpdl
        >>> x, y = xpdl.data.circles(n_test=50).test
        >>> x.shape, y.shape
        ((50, 2), (50,))
        """
        return None if self.x_test is None or self.y_test is None else (self.x_test, self.y_test)

    @cached_property
    def classes(self) -> tuple[Any, ...] | None:
        """The labels that the numbers 0, 1, ..., k - 1 in y stand for; None if y holds targets.

        Returns
        -------
        tuple or None

        Examples
        --------
        >>> import xpdl
        >>> xpdl.data.spiral().classes
        (0, 1, 2)
        """
        if self.coding is not None or self.y.dtype.kind == "f":
            return self.coding.classes if self.coding else None
        return tuple(range(1 + max(int(y.max()) for y in (self.y, self.y_test) if y is not None)))

    @property
    def features(self) -> tuple[str, ...] | None:
        """The names of the d features, or None if they have none.

        Returns
        -------
        tuple of str or None

        Examples
        --------
        >>> import xpdl
        >>> xpdl.data.spiral().features is None
        True
        """
        return self.coding.features if self.coding else None

    @property
    def scaling(self) -> Scaling | None:
        """What a network should do to x: ``Scaling.images`` for pixels, a standardisation for other files, or None.

        Returns
        -------
        Scaling or None

        Examples
        --------
        >>> import xpdl
        >>> data = xpdl.data.glyphs(n_train=20, n_test=10)
        >>> net = xpdl.Network([784, 10], inputs=data.scaling)
        >>> net.inputs == xpdl.Scaling.images
        True
        """
        return self.choose_scaling()[0]

    def choose_scaling(self, scale: str = AUTO) -> tuple[Scaling | None, str]:
        """Return the scaling of this name, and a sentence about it.

        Parameters
        ----------
        scale : str, default "auto"
            "standard", "images", "none", or "auto", which is ``scaling``.

        Returns
        -------
        tuple of Scaling or None, and str
            The scaling, and what to say about it.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.data.glyphs(n_train=20, n_test=10).choose_scaling()[1]
        'x is divided by 255, as pixels are'
        """
        found = choose_scaling(self.x, scale, pixels=self.features is None or are_series(self.features))
        keeps = self.coding is None and scale == AUTO and found[0] is not None and found[0].d is not None
        return (None, "x is not scaled") if keeps else found

    def split(self, fraction: float, seed: int = 0) -> "Dataset":
        """Move random rows into the test part of data that have no test part, of each class the same fraction.

        Both parts come out shuffled.

        Parameters
        ----------
        fraction : float
            Fraction of the n rows that is moved, between 0 and 1: ``round(fraction * n)`` rows.
        seed : int, default 0
            Seed of the random choice.

        Returns
        -------
        Dataset
            The same samples in two parts.

        Raises
        ------
        ValueError
            If there is a test part already, if one part would be empty, or if the data lie on disk.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.data import Dataset
        >>> parts = Dataset(np.eye(4), np.arange(4)).split(0.25, seed=1)
        >>> sorted([*parts.y.tolist(), *parts.y_test.tolist()])
        [0, 1, 2, 3]
        """
        if self.x_test is not None:
            raise ValueError(f"{self.name} has a test part already and cannot be split")
        if isinstance(self.x, Shards) or isinstance(self.y, Shards):
            raise ValueError(f"{self.name} lies on disk, and only data in memory can be split")
        n = len(self.x)
        n_test = round(fraction * n) if 0 < fraction < 1 else 0
        if not 0 < n_test < n:
            raise ValueError(f"fraction must leave rows in both parts of {n}, got {fraction!r}")
        rng = generator(seed, Stream.DATA, layer=2)
        order = rng.permutation(n)
        moved = np.diff(np.arange(n + 1) * n_test // n) > 0  # evenly spaced
        if self.y.dtype.kind == "i":  # of each class the same fraction
            labels, codes = np.unique(self.y[order], return_inverse=True)
            moved[np.argsort(rng.permutation(len(labels))[codes], kind="stable")] = moved.copy()
        test, train = order[moved], order[~moved]
        return replace(self, x=self.x[train], y=self.y[train], x_test=self.x[test], y_test=self.y[test])


def _problems(data: Dataset) -> Iterator[str]:
    """Yield what is wrong, the most basic problems first: later checks may rely on earlier ones."""
    yield from _pair_problems(data, "x", "y")
    if data.x_test is None and data.y_test is None:
        return
    if data.x_test is None or data.y_test is None:
        yield "x_test and y_test must come together"
        return
    yield from _pair_problems(data, "x_test", "y_test")
    for name, train, test in (("x", data.x, data.x_test), ("y", data.y, data.y_test)):
        if train.shape[1:] != test.shape[1:]:
            yield f"{name} has rows of shape {train.shape[1:]} but {name}_test of {test.shape[1:]}"
        if train.dtype.kind != test.dtype.kind:
            yield f"{name} is {train.dtype} but {name}_test is {test.dtype}"
    if problem := different_ranges(data.x, data.x_test, ("x", "x_test")):
        yield problem


def _pair_problems(data: Dataset, x_name: str, y_name: str) -> Iterator[str]:
    x, y = getattr(data, x_name), getattr(data, y_name)
    for name, a in ((x_name, x), (y_name, y)):
        if not isinstance(a, np.ndarray | Shards) or isinstance(a, np.ma.MaskedArray):
            yield f"{name} must be a NumPy array, got {type(a).__name__}"
    if x.ndim != 2 or 0 in x.shape:
        yield f"{x_name} must be (n, d) with n, d > 0, got shape {x.shape}"
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        yield f"{x_name} must be uint8 or floating, got {x.dtype}"
    if y.dtype != np.int64 and y.dtype.kind != "f":
        yield f"{y_name} must be int64 labels or floating targets, got {y.dtype}"
    if y.ndim not in ((1,) if y.dtype == np.int64 else (1, 2)):
        yield f"{y_name} must be labels (n,) or targets (n,) or (n, k), got {y.dtype} of shape {y.shape}"
    if len(x) != len(y):
        yield f"{x_name} has {len(x)} rows but {y_name} has {len(y)}"
    for name, a in ((x_name, x), (y_name, y)):
        if isinstance(a, np.ndarray) and a.dtype.kind == "f" and not np.isfinite(a).all():
            yield f"{name} holds NaN or infinity"
