"""Regressions: targets are standardised for the training, and the model that is saved predicts them as they were."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xpdl.data import Dataset
from xpdl.network import Network
from xpdl.scaling import Scaling

MOVABLE = ("linear", "absolute", "quantile")
"""The outputs whose loss has the same minimum, moved and scaled, when the targets are moved and scaled."""


def standardised(net: Network, split: Dataset) -> tuple[Dataset, Callable[[Network, np.ndarray], np.ndarray], str]:
    """Return the parts with targets of mean 0 and standard deviation 1; a function that undoes it in theta; and a note.

    Data that are not of a file stay as they are.
    """
    movable = isinstance(net.output, str) and net.output.partition(":")[0] in MOVABLE
    if split.coding is None or split.y.dtype.kind != "f" or not movable or not isinstance(split.y, np.ndarray):
        return split, lambda net, theta: theta, ""
    scaling = Scaling.fit(split.y.reshape(len(split.y), -1))
    shift, scale = np.array(scaling.shift), np.array(scaling.scale)

    def scaled(y: Any) -> Any:
        return None if y is None else ((y.reshape(len(y), -1) - shift) * scale).reshape(y.shape)

    def undone(net: Network, theta: np.ndarray) -> np.ndarray:
        *layers, (w, b) = net.unpack(theta.astype(np.float64))
        moved: np.ndarray = net.pack([*layers, (w / scale, b / scale + shift)])
        return moved.astype(theta.dtype)

    note = "the targets are standardised for the training; the model predicts them as they were"
    return replace(split, y=scaled(split.y), y_test=scaled(split.y_test)), undone, note


def fit_of(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the root mean square error, and R2: the share of the variance that is predicted."""
    y, predicted = (values.reshape(len(values), -1).astype(np.float64) for values in (y, predicted))
    squares = np.sum((y - predicted) ** 2)
    total = np.sum((y - y.mean(axis=0)) ** 2)
    found = {"RMSE": float(np.sqrt(squares / y.size))}
    return found | ({"R2": float(1 - squares / total)} if total > 0 else {})
