"""The range of samples: which scaling fits them, and whether two parts have the same one."""

from collections.abc import Sequence
import re
from typing import Any

import numpy as np

from xpdl import checks
from xpdl.data.shards import Shards
from xpdl.scaling import FEW, Scaling, holds_images

AUTO = "auto"

SCALES = (AUTO, "standard", "images", "none")
"""The choices of --scale."""

FITTED = 1 << 16
"""The most samples on disk that are read to standardise x."""

SERIES = re.compile(r"(\D*)\d+(?:x\d+)?")
"""Names that are numbered: pixel0, V1, 1x1, 1."""

FACTOR = 50.0
"""Two parts whose numbers differ by such a factor in the mean were scaled differently."""


def choose_scaling(x: Any, scale: str = AUTO, *, pixels: bool = True) -> tuple[Scaling | None, str]:
    """Return the scaling of the samples x (n, d) of a training part, and what to say about it.

    Whole numbers up to 255 are only pixels if the names of the columns allow it.
    """
    checks.choice("scale", scale, SCALES)
    if scale == "images" or (scale == AUTO and pixels and holds_images(x)):
        return Scaling.images, "x is divided by 255, as pixels are"
    if scale == "none":
        return None, "x is not scaled"
    if scale == AUTO and _within_one(x):
        return None, "x lies within [0, 1] and is not scaled"
    rows = x[:: max(1, len(x) // FITTED)] if isinstance(x, Shards) else x
    return Scaling.fit(rows), "x is standardised: each feature has mean 0 and standard deviation 1 in the training part"


def _within_one(x: Any) -> bool:
    """Return whether x holds what scaled pixels are: many numbers from 0 to nearly 1, none above."""
    if x.shape[1] < FEW:
        return False
    rows = x[:: max(1, len(x) // FITTED)]
    return bool(rows.min() >= 0 and 0.5 < rows.max() <= 1)


def different_ranges(x: Any, other: Any, names: tuple[str, str]) -> str:
    """Return how the numbers of two parts differ so much that only one of them was scaled; else nothing."""
    if isinstance(x, Shards) or isinstance(other, Shards):
        return ""
    sizes = [float(np.mean(np.abs(part), dtype=np.float64)) for part in (x, other)]
    if not min(sizes) > 0 or max(sizes) / min(sizes) < FACTOR:
        return ""
    first, second = (
        f"{name} within [{part.min():g}, {part.max():g}]" for name, part in zip(names, (x, other), strict=True)
    )
    return f"{first.replace(' within', ' is within', 1)} but {second}: scale both in the same way"


def foreign_range(x: Any, scaling: Scaling | None) -> str:
    """Return why samples cannot be of the kind that a network was trained on, by their size; else nothing.

    What the network makes of its own samples is about 1 in size.
    """
    if isinstance(x, Shards):
        return ""
    scaled = x if scaling is None else scaling(x, np.float64)
    size, most = float(np.mean(np.abs(scaled), dtype=np.float64)), float(np.max(np.abs(scaled)))
    if size > FACTOR:
        return f"x is within [{x.min():g}, {x.max():g}], far beyond the numbers of the training"
    if scaling == Scaling.images and 0 < most <= 1 / 255:
        return f"x is within [{x.min():g}, {x.max():g}], but the training had pixels from 0 to 255"
    return ""


def are_series(names: Sequence[str]) -> bool:
    """Return whether names are numbered ones with the same beginning, as pixel0, pixel1, ... or 1x1, 1x2, ..."""
    found = [SERIES.fullmatch(name.strip()) for name in names]
    return len(names) > 2 and None not in found and len({match and match[1] for match in found}) == 1
