"""Complex arguments and outputs: both ways of writing a gradient, and a conjugate that is missing."""

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.function.complex_numbers import WRITTEN, as_pairs, from_pairs

Z, W = np.array([0.3 + 1.2j, 0.5 - 0.7j]), np.array([1.1 - 0.3j, -0.4 + 0.2j])


def size(z, w):
    return float(np.sum(np.abs(z) ** 2) + np.sum(np.abs(w) ** 2))


def test_pairs_and_numbers() -> None:
    assert np.array_equal(from_pairs(as_pairs(Z)), Z)
    assert np.array_equal(from_pairs(as_pairs(Z), conjugate=True), Z.conj())
    assert np.array_equal(as_pairs(Z.real), Z.real)


@pytest.mark.parametrize("conjugate", [False, True])
def test_either_way_of_writing_is_right_and_said(conjugate) -> None:
    def written(z):
        return 2 * (z.conj() if conjugate else z)

    report = xpdl.check_gradient(size, lambda z, w: (written(z), written(w)), Z, W)
    assert report.verdict == "PASS", str(report)
    assert any(WRITTEN[conjugate] in note for note in report.notes)


def test_a_missing_conjugate_is_named() -> None:
    report = xpdl.check_gradient(size, lambda z, w: (2 * z.conj(), 2 * w), Z, W)
    assert report.verdict == "FAIL"
    assert report.parameters["args[0]"].diagnosis == "the conjugate of the numeric gradient"
    assert report.parameters["args[1]"].verdict == "PASS"


@pytest.mark.parametrize("part", [0, 1])
def test_a_wrong_part_of_one_number_is_found(part) -> None:
    def grad(z):
        wrong = 2 * z
        wrong[1] += 1e-5 * (1j if part else 1)
        return wrong

    report = xpdl.check_gradient(lambda z: size(z, 0j), grad, Z)
    assert (report.verdict, report.parameters["theta"].worst.index) == ("FAIL", (1, part))


def test_a_number_of_python_may_be_complex() -> None:
    assert xpdl.check_gradient(lambda z: abs(z) ** 2, lambda z: 2 * z, 0.3 + 1.2j).verdict == "PASS"
    assert xpdl.check_gradient(lambda z: abs(z) ** 2, lambda z: 2.01 * z, 0.3 + 1.2j).verdict == "FAIL"


@pytest.mark.parametrize(
    ("vjp", "verdict"),
    [
        (lambda c, z, x: (c * x, (c * z.conj()).real), "PASS"),  # PyTorch
        (lambda c, z, x: (c * x, (c * z).real), "PASS"),  # JAX
        (lambda c, z, x: (c.conj() * x, (c * z).real), "FAIL"),
        (lambda c, z, x: (c * x, (c * z.conj()).imag), "FAIL"),
    ],
)
def test_backward_passes_with_complex_outputs(vjp, verdict) -> None:
    report = xpdl.check_vjp(lambda z, x: z * x, vjp, Z, np.array([2.0, 3.0]))
    assert report.verdict == verdict, str(report)


def test_jacobians_and_forward_passes() -> None:
    for factor, verdict in ((2.0, "PASS"), (2.001, "FAIL"), (2j, "FAIL")):
        assert xpdl.check_jacobian(np.square, lambda z, c=factor: np.diag(c * z), Z).verdict == verdict
        assert xpdl.check_jvp(np.square, lambda t, z, c=factor: c * z * t, Z).verdict == verdict


def library(name):
    """Functions, and how a gradient is written there."""
    if name == "jax":
        jax = pytest.importorskip("jax")
        xpdl.backend("jax").admit(xpdl.backend("jax"), "complex128")
        return jax.numpy, True
    return pytest.importorskip("torch"), False


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_library_has_its_own_way_and_no_other(name) -> None:
    xp, conjugate = library(name)
    z, x = xp.asarray(Z), xp.asarray([2.0, 3.0], dtype=xp.float64)

    def fun(z):
        return xp.sum(xp.abs(z) ** 3)

    def grad(z, conjugate):
        return 3 * xp.abs(z) * (xp.conj(z) if conjugate else z)

    report = xpdl.check_gradient(fun, None, z)
    assert report.verdict == "PASS"
    assert any(WRITTEN[conjugate] in note for note in report.notes)
    assert xpdl.check_gradient(fun, lambda z: grad(z, conjugate), z).verdict == "PASS"
    assert xpdl.check_gradient(fun, lambda z: grad(z, not conjugate), z).verdict == "FAIL"
    assert xpdl.check_vjp(lambda z, x: z * z * x, None, z, x).verdict == "PASS"
    assert xpdl.check_jvp(lambda z, x: z * z * x, None, z, x).verdict == "PASS"
    assert xpdl.check_vjp(xp.fft.fft, None, x).verdict == "PASS"
