"""The arrays of a file become a data set: samples (n, d), and labels by the one rule for them."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from xpdl.data.coding import PIXELS, Coding
from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.labels import Class, as_labels
from xpdl.data.shards import Shards


def dataset_of_arrays(
    arrays: Mapping[str, Any], name: str, *, task: str = "auto", classes: Mapping[int, Class] | None = None
) -> Dataset:
    """Return the data set of arrays x, y and, if they are there, x_test, y_test, x_val, y_val.

    ``classes`` tells what whole numbers in y stand for.
    """
    arrays, notes = _without_validation(dict(arrays))
    for part in ("x", "x_test"):
        if part in arrays:
            arrays[part] = flat(arrays[part])
    arrays |= _of_one_kind({part: arrays[part] for part in ("x", "x_test") if part in arrays})
    x, y, y_test = arrays["x"], arrays["y"], arrays.get("y_test")
    if len(arrays) % 2:
        raise DataFormatError(f"{name}: x_test and y_test must come together")
    try:
        images = x.ndim == 2 and x.shape[1] >= PIXELS
        y, y_test, names, note = as_labels(y, y_test, task=task, images=images)
    except DataFormatError as error:
        raise DataFormatError(f"{name}: {error}") from None
    if classes and names:
        names = tuple(classes.get(int(label), str(label)) for label in names)
    coding = Coding(names)
    return Dataset(x, y, arrays.get("x_test"), y_test, name, coding, (note, *notes))


def _without_validation(arrays: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the arrays without a validation part: it is the test part if there is no other, else more to train on."""
    if "x_val" not in arrays or "y_val" not in arrays:
        arrays = {part: array for part, array in arrays.items() if not part.endswith("_val")}
        return arrays, []
    x, y = arrays.pop("x_val"), arrays.pop("y_val")
    if "x_test" not in arrays:
        return arrays | {"x_test": x, "y_test": y}, ["the validation part is the test part"]
    for part, more in (("x", x), ("y", y)):
        if arrays[part].shape[1:] != more.shape[1:]:
            return arrays, ["the validation part has another shape and is not used"]
        arrays[part] = np.concatenate([arrays[part], more])
    return arrays, ["the validation part is added to the training part, of which --validation holds another one out"]


def flat(x: Any) -> Any:
    """Return samples as rows (n, d)."""
    return x.reshape(len(x), math.prod(x.shape[1:])) if x.ndim > 2 else x


def _of_one_kind(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the samples of both parts as bytes, if these hold all numbers, or else as floating numbers."""
    if any(isinstance(x, Shards) or x.dtype.kind not in "biuf" or not x.size for x in parts.values()):
        return parts
    if all(x.dtype.kind == "f" for x in parts.values()) or all(x.dtype == np.uint8 for x in parts.values()):
        return parts
    whole = all(
        x.dtype.kind in "iu" and x.min() >= 0 and x.max() <= 255 and x.shape[-1] >= PIXELS for x in parts.values()
    )
    return {part: x.astype(np.uint8 if whole else np.float64) for part, x in parts.items()}
