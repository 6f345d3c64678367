"""What other gradient checkers have, each in one test: a right derivative passes, and a wrong one fails as it should.

The checkers: PyTorch's gradcheck and gradgradcheck, jax.test_util, Chainer, ChainRulesTestUtils and EnzymeTestUtils,
OpenMDAO's check_partials, Warp, SciPy, pymanopt and pyadjoint.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest

import xpdl

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


def backward(dz, x, w, factor=1.0):
    return dz @ w.T, factor * x.T @ dz


def forward(t, x, w, factor=1.0):
    return t[0] @ w + factor * x @ t[1]


def failing(report):
    """The names of the tensors that fail."""
    return [name for name, found in report.parameters.items() if found.verdict == "FAIL"]


def verdicts(check, factors=(1.0, 1.01)):
    """The verdicts with a right factor and with a wrong one."""
    return [check(factor).verdict for factor in factors]


BOTH = ["PASS", "FAIL"]


def test_several_arguments() -> None:
    def check(c):
        return xpdl.check_gradient(lambda a, b: np.sum(a**2 * b), lambda a, b: (2 * a * b, c * a**2), X[0], X[1])

    assert check(1.0).verdict == "PASS"
    assert failing(check(1.01)) == ["args[1]"]


def test_pytrees_and_structs() -> None:
    class Layer(NamedTuple):
        w: Any
        b: Any

    def grad(p, c):
        dz = 2 * (X @ p["layer"].w + p["layer"].b)
        return {"layer": Layer(X.T @ dz, c * dz.sum(0)), "scale": [1.0]}

    tree = {"layer": Layer(W, np.ones(2)), "scale": [2.0]}

    def check(c):
        fun = lambda p: np.sum((X @ p["layer"].w + p["layer"].b) ** 2) + p["scale"][0]  # noqa: E731
        return xpdl.check_gradient(fun, lambda p: grad(p, c), tree)

    assert list(check(1.0).parameters) == ["layer.w", "layer.b", "scale[0]"]
    assert check(1.0).verdict == "PASS"
    assert failing(check(1.01)) == ["layer.b"]


def test_array_outputs_and_vjp() -> None:
    assert verdicts(lambda c: xpdl.check_vjp(np.matmul, lambda *args: backward(*args, c), X, W)) == BOTH


def test_jvp() -> None:
    assert verdicts(lambda c: xpdl.check_jvp(np.matmul, lambda *args: forward(*args, c), X, W)) == BOTH


def test_forward_against_reverse() -> None:
    report = xpdl.check_vjp(np.matmul, backward, X, W, jvp=lambda *args: forward(*args, 1.01))
    assert failing(report) == ["args[1] forward"]
    assert any(note.startswith("forward against reverse: <c, J t> = ") for note in report.notes)


def test_second_order() -> None:
    """Of a gradient written by hand, and of JAX's own."""
    x = np.array([0.5, -1.5])
    assert verdicts(lambda c: xpdl.check_jvp(lambda t: 4 * t**3, lambda v, t: 12 * c * t**2 * v, x)) == BOTH
    jax = pytest.importorskip("jax")
    point = xpdl.backend("jax").asarray(x[:1], "float64")
    detached = xpdl.check_gradient(lambda t: (t**2)[0], lambda t: 2 * jax.lax.stop_gradient(t), point, order=2)
    assert failing(detached) == ["H v of theta"]


def test_complex() -> None:
    z = np.array([1 + 2j, 3 - 1j])
    assert verdicts(lambda c: xpdl.check_gradient(lambda z: np.sum(np.abs(z) ** 2), lambda z: 2 * c * z, z)) == BOTH
    conjugate = xpdl.check_vjp(lambda z: z * z, lambda c, z: np.conj(c) * 2 * np.conj(z), z)
    assert conjugate.verdict == "FAIL"


@pytest.mark.parametrize("form", ["coo_array", "csr_array"])
def test_sparse(form) -> None:
    sparse = pytest.importorskip("scipy.sparse")

    def grad(t, c):
        dense = np.zeros_like(t)
        dense[0] = 2 * c * t[0]
        return getattr(sparse, form)(dense)

    assert verdicts(lambda c: xpdl.check_gradient(lambda t: np.sum(t[0] ** 2), lambda t: grad(t, c), X)) == BOTH


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_no_tolerance_to_choose(size) -> None:
    """The same call judges functions of any size, and a derivative of 1e-17 against 0 is no failure."""
    scale = size * np.array([1.0, 1e-6, 1e6])
    theta = np.array([0.3, 0.7, 1.1])

    def check(c):
        return xpdl.check_gradient(lambda t: np.sum(scale * t**2), lambda t: 2 * scale * t * [1, c, 1], theta)

    assert verdicts(check, (1.0, 1 + 1e-6)) == BOTH
    tiny = xpdl.check_gradient(lambda t: t[0] + 0 * t[1], lambda t: np.array([1, 1e-17, 0]), theta)
    assert tiny.verdict == "PASS"


def test_kinks() -> None:
    """relu at 0 may have any slope from 0 to 1; of a tie of two maxima, the slopes must add up to 1."""
    at = np.array([0.0, 1.0])
    for slope, verdict in ((0.0, "PASS"), (0.5, "PASS"), (1.0, "PASS"), (1.5, "FAIL"), (-0.1, "FAIL")):
        report = xpdl.check_gradient(
            lambda t: np.sum(np.maximum(t, 0)), lambda t, s=slope: np.where(t > 0, 1.0, s), at, method="central"
        )
        assert report.verdict == verdict, str(report)
    tie = np.array([1.0, 1.0])
    assert verdicts(lambda c: xpdl.check_gradient(np.max, lambda t: np.array([0.5, 0.5]) * c, tie), (1, 2)) == BOTH


def test_names_the_entry() -> None:
    """In the tensor, and in the Jacobian, as a pair of output and input."""
    large = RNG.standard_normal((40, 50))
    factors = np.ones_like(large)
    factors[17, 3] = 1.01
    report = xpdl.check_gradient(lambda t: np.sum(np.sin(t)), lambda t: factors * np.cos(t), large)
    assert (report.verdict, report.parameters["theta"].worst.index) == ("FAIL", (17, 3))
    factors = np.ones_like(X)
    factors[2, 1] = 1.01
    wrong = xpdl.check_jacobian(lambda t: X @ t, lambda t: X * factors, np.ones(3))
    assert "J[2, 1] is " in wrong.parameters["theta"].diagnosis


def test_names_the_cause() -> None:
    wrong = {
        "sign is wrong": lambda dz, x, w: (dz @ w.T, -x.T @ dz),
        "1 / 4, the length of axis 0": lambda dz, x, w: (dz @ w.T, x.T @ dz / 4),
        "flipped along axis 0": lambda dz, x, w: (dz @ w.T, (x.T @ dz)[::-1]),
    }
    for cause, vjp in wrong.items():
        report = xpdl.check_vjp(np.matmul, vjp, X, W)
        assert failing(report) == ["args[1]"]
        assert cause in report.parameters["args[1]"].diagnosis


def test_html_report() -> None:
    html = xpdl.check_vjp(np.matmul, lambda *args: backward(*args, 2.0), X, W)._repr_html_()
    assert html.index("args[1]") < html.index("<details>") < html.index("args[0] 4x3"), "what is wrong stands first"
    assert "<svg" in html


def test_slope_over_several_steps_plotted() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    steps, errors = (
        xpdl.plots.gradient_slope(np.prod, lambda t: np.prod(t) / t, W[:, 0], ax=figure.subplots()).lines[0].get_data()
    )
    fall = np.polyfit(np.log(steps[1:8]), np.log(errors[1:8]), 1)[0]
    assert 1.9 < fall < 2.1


@pytest.mark.parametrize("layout", ["transposed", "every second"])
def test_non_contiguous_inputs(layout) -> None:
    theta = {"transposed": X.T, "every second": X[:, ::2]}[layout]

    def as_it_lies(t):
        return 2 * np.lib.stride_tricks.as_strided(t, (t.size,), (8,)).reshape(t.shape)

    assert xpdl.check_gradient(lambda t: np.sum(t**2), lambda t: 2 * t, theta).verdict == "PASS"
    assert xpdl.check_gradient(lambda t: np.sum(t**2), as_it_lies, theta).verdict == "FAIL"


def test_judges_float16_and_bfloat16() -> None:
    theta = np.array([0.5, 1.5, -2.0], np.float16)
    assert xpdl.check_gradient(lambda t: np.sum(t**2), lambda t: 2 * t, theta).verdict == "PASS"
    report = xpdl.check_gradient(lambda t: np.sum(t**2), lambda t: t * 60000 / 30000, theta)  # the product overflows
    assert "right in float64, and not finite in float16" in report.parameters["theta"].diagnosis
    jnp = pytest.importorskip("jax.numpy")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")
    brain = jnp.asarray([0.5, 1.5, -2.0], dtype="bfloat16")
    wrong = xpdl.check_gradient(lambda t: jnp.sum(t**2), lambda t: t * (2 if t.dtype == "float64" else 3), brain)
    assert "right in float64, and wrong in bfloat16" in wrong.parameters["theta"].diagnosis
