"""What the tests of update rules share."""

import numpy as np
import pytest

from xpdl.backends import backend
from xpdl.gradcheck.update.histories import long_histories, short_histories
from xpdl.gradcheck.update.measure import measure, moved_in
from xpdl.gradcheck.update.subject import Subject, observe


@pytest.fixture
def subject():
    """subject(optimizer) -> the optimizer under test, on NumPy."""
    return lambda optimizer, size=4, dtype="float64": Subject(*optimizer[:2], backend("numpy"), dtype, size)


@pytest.fixture
def observed(subject):
    """observed(optimizer) -> what was measured in its first entry, and the short and the long paths of that."""

    def observed(optimizer):
        given = subject(optimizer)
        with np.errstate(all="ignore"):
            measured = measure(given, moved_in(given, 0))
            long = long_histories(measured, 30, np.random.default_rng(0))
            return measured, *(observe(given, histories).of(0) for histories in (short_histories(measured), long))

    return observed
