"""What the tests of backends share: a small network, and backends that get one operation wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.backends import Backend


@pytest.fixture
def small():
    """small(hidden, sizes, **options) -> a network with samples, and its masks."""

    def small(hidden="tanh", sizes=(6, 5, 5, 3), **options):
        """A network with samples, and its masks."""
        rng = np.random.default_rng(1)
        net = Network(sizes, hidden=hidden, **options)
        masks = [(rng.random((20, units)) < 0.7) / 0.7 for units in sizes[1:-1]]
        return (net, net.initialize(1), rng.standard_normal((20, sizes[0])), rng.integers(0, 3, 20)), masks

    return small


@dataclass(frozen=True)
class Faulty(Backend):
    """NumPy, in which one operation is another: fault(what it was given, its result, its how many-eth call)."""

    operation: str = ""
    fault: object = None

    def asarray(self, x, dtype=None, *, copy=None):
        """An array that sends every operation through ``fault``."""
        return super().asarray(x, dtype, copy=True).view(self.arrays)

    @property
    def arrays(self):
        """The type of its arrays."""
        return self.__dict__.setdefault("type", array_type(self.operation, self.fault))


def array_type(operation, fault):
    """A type of NumPy arrays in which one ufunc is wrong."""

    class Tampered(np.ndarray):
        calls = -1

        def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
            plain = [np.asarray(value) if isinstance(value, np.ndarray) else value for value in inputs]
            right = getattr(ufunc, method)(*plain, **options)
            if ufunc.__name__ == operation and method == "__call__":
                Tampered.calls += 1
                right = fault(plain, right, Tampered.calls)
            if out is None:
                return right.view(Tampered) if isinstance(right, np.ndarray) else right
            np.copyto(np.asarray(out[0]), right)
            return out[0]

    return Tampered


def _faulty(operation, fault, name="faulty"):
    sound = xpdl.backend("numpy")
    return Faulty(name, sound.xp, "cpu", to_numpy=np.asarray, activate=sound.activate, operation=operation, fault=fault)


def _rounded(x, bits):
    """float32 with so many bits of mantissa, to nearest even."""
    words, drop = np.ascontiguousarray(x, np.float32).view(np.uint32), 23 - bits
    half = np.uint32((1 << (drop - 1)) - 1) + ((words >> np.uint32(drop)) & np.uint32(1))
    return ((words + half) & np.uint32(0xFFFFFFFF ^ ((1 << drop) - 1))).view(np.float32)


@pytest.fixture
def faulty():
    """faulty(operation, fault) -> NumPy with one wrong operation."""
    return _faulty


@pytest.fixture
def multiplies():
    """multiplies(bits, least) -> a backend whose products of at least ``least`` terms round their factors."""

    def multiplies(bits, least=0):
        def fault(given, right, call):
            return right if given[0].shape[-1] < least else _rounded(given[0], bits) @ _rounded(given[1], bits)

        return _faulty("matmul", fault)

    return multiplies


@pytest.fixture
def rounded():
    """rounded(x, bits) -> float32 with so many bits of mantissa."""
    return _rounded
