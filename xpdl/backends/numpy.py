"""NumPy: computation on the host."""

from functools import partial

import array_api_compat.numpy as xp
import numpy as np

from xpdl.backends.base import Backend
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay.replayed import Replayed


def quiet() -> np.errstate:
    """Return a context without warnings of overflow: ``train`` reports a cost that is not finite on every backend."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def connect(name: str, device: str) -> Backend:
    """Return the NumPy backend; its only device is the host."""
    if device not in ("", "cpu"):
        raise ValueError(f"backend 'numpy' has only the device 'cpu', got {device!r}")
    return Backend(name, xp, "cpu", to_numpy=np.asarray, compile=partial(Replayed, TARGET), activate=quiet)
