"""Linearity: f is linear near z where f' is the same nearby, on any library."""

import numpy as np
import pytest

from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.linearity import derivative_and_curvature

LINEAR = {"identity", "relu", "leaky_relu"}


def fprime_of(name):
    f = ACTIVATIONS[name]
    return lambda z: f.backward(0 * z + 1, z, f.forward(z))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_linear_in_its_branches_or_curved(name) -> None:
    z = np.array([-2.0, -0.3, 0.4, 1.5])
    fprime, curved = derivative_and_curvature(fprime_of(name), z)
    assert np.array_equal(fprime, fprime_of(name)(z))
    assert curved.dtype == z.dtype
    expected = {True: [0, 0, 0, 0], False: [1, 1, 1, 1]}[name in LINEAR]
    assert curved.tolist() == (expected if name != "elu" else [1, 1, 0, 0])


def test_where_it_is_saturated_f_looks_linear_unless_one_looks_elsewhere() -> None:
    z = np.array([800.0])
    assert derivative_and_curvature(fprime_of("sigmoid"), z)[1].tolist() == [0]
    assert derivative_and_curvature(fprime_of("sigmoid"), z, z / 800)[1].tolist() == [1]
    assert derivative_and_curvature(fprime_of("relu"), z, z / 800)[1].tolist() == [0]


def test_any_library(lib) -> None:
    if lib.jitted:
        pytest.skip("a check is not traced")
    with lib.backend.activate():
        fprime, curved = derivative_and_curvature(fprime_of("elu"), lib.put([-1.0, 2.0]))
    assert lib.host(curved).tolist() == [1, 0]
    assert lib.host(fprime)[1] == 1
