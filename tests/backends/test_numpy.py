"""NumPy as a backend: one device, and a context without warnings."""

import warnings

import numpy as np
import pytest

import xpdl
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay.replayed import Replayed

NUMPY = xpdl.backend("numpy")


def test_its_device_is_the_host() -> None:
    assert (NUMPY.device, xpdl.backend("numpy:cpu").device) == ("cpu", "cpu")
    with pytest.raises(ValueError, match="backend 'numpy' has only the device 'cpu', got '1'"):
        xpdl.backend("numpy:1")


def test_arrays_are_handed_out_as_they_are() -> None:
    x = np.ones(3)
    assert NUMPY.to_numpy(x) is x
    assert np.shares_memory(NUMPY.asarray(x), x)
    assert not np.shares_memory(NUMPY.asarray(x, copy=True), x)


def test_a_computation_does_not_warn_of_overflow() -> None:
    """``train`` reports a cost that is not finite."""
    x = np.array([1e300])
    with NUMPY.activate(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (x * x / (x - x)).tolist() == [np.inf]
    with pytest.warns(RuntimeWarning, match="overflow"):
        x * x


def test_steps_are_replayed() -> None:
    step = NUMPY.compile(lambda theta: theta)
    assert isinstance(step, Replayed)
    assert step.target is TARGET
