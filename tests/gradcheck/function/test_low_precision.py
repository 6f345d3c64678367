"""float16 and bfloat16: right gradients pass in their own precision, and what is wrong there only is found."""

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.function.low_precision import EPSILON, LEAST

RNG = np.random.default_rng(0)


def softmax_loss(xp):
    x = RNG.standard_normal((8, 5))
    labels = np.eye(3)[RNG.integers(0, 3, 8)]

    def parts(w):
        a, y = xp.asarray(x, dtype=w.dtype), xp.asarray(labels, dtype=w.dtype)
        z = a @ w
        e = xp.exp(z - xp.amax(z, 1)[:, None])
        return a, y, e / xp.sum(e, 1)[:, None]

    def fun(w):
        _, y, p = parts(w)
        return -xp.sum(y * xp.log(p)) / 8

    def grad(w):
        a, y, p = parts(w)
        return a.T @ ((p - y) / 8)

    return fun, grad


def torch_library():
    torch = pytest.importorskip("torch")
    return torch, lambda values, dtype: torch.tensor(values).to(getattr(torch, dtype))


def jax_library():
    jnp = pytest.importorskip("jax.numpy")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")
    return jnp, jnp.asarray


LIBRARIES = {"numpy": lambda: (np, np.asarray), "torch": torch_library, "jax": jax_library}
KINDS = [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16"), ("jax", "float16"), ("jax", "bfloat16")]


@pytest.mark.parametrize(("library", "dtype"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_right_gradient_passes_and_its_units_are_said(library, dtype, seed) -> None:
    xp, put = LIBRARIES[library]()
    fun, grad = softmax_loss(xp)
    w = put(np.random.default_rng(seed).standard_normal((5, 3)), dtype=dtype)
    report = xpdl.check_gradient(fun, grad, w)
    assert report.verdict == "PASS", str(report)
    assert any(f"theta: in {dtype} the worst entry is off by" in note for note in report.notes)
    assert xpdl.check_gradient(fun, lambda w: grad(w) * 1.01, w).verdict == "FAIL"


def test_the_gradient_gets_its_own_dtype() -> None:
    seen = set()

    def grad(t):
        seen.add(t.dtype.name)
        return 2 * t

    xpdl.check_gradient(lambda t: np.sum(t * t), grad, np.ones(3, np.float16))
    assert seen == {"float64", "float16"}
    seen.clear()
    xpdl.check_gradient(lambda t: np.sum(t * t), grad, np.ones(3, np.float16), dtype="float64")
    assert seen == {"float64"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda t: 2 * t * np.where(t.dtype == np.float16, 1.1, 1), "wrong in float16: 4 of 4 entries"),
        (lambda t: (t * 60000) / 30000, "not finite in float16: 2 of 4 entries"),  # the product overflows
        (lambda t: t / np.sqrt(t * t * 1e-8) * np.abs(t) * 2e-4, "not finite in float16: 4 of 4 entries"),  # 0 / 0
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_in_float16_only(wrong, said) -> None:
    theta = np.array([0.5, 1.5, -1.25, 1.0], np.float16)
    report = xpdl.check_gradient(lambda t: np.sum(t * t), wrong, theta)
    assert report.verdict == "FAIL", str(report)
    assert report.parameters["theta"].diagnosis == f"right in float64, and {said}"


def test_a_difference_of_large_numbers_may_be_off_by_many_units() -> None:
    """The gradient of (t - s)^2 with t near s: roundings of t and s change it by more than its own last digits."""
    theta = {"t": np.full(4, 1.003, np.float16), "s": np.full(4, 1.0, np.float16)}

    def grad(p):
        d = 2 * (p["t"] - p["s"])
        return {"t": d, "s": -d}

    assert xpdl.check_gradient(lambda p: np.sum((p["t"] - p["s"]) ** 2), grad, theta).verdict == "PASS"


def test_the_numbers_of_each_precision_are_those_of_the_library() -> None:
    half = np.finfo(np.float16)
    assert (LEAST["float16"], EPSILON["float16"]) == (half.smallest_subnormal, half.eps)
    brain = pytest.importorskip("ml_dtypes").finfo("bfloat16")
    assert (LEAST["bfloat16"], EPSILON["bfloat16"]) == (float(brain.smallest_subnormal), float(brain.eps))


@pytest.mark.parametrize(
    ("power", "roundings", "verdict"), [(1, 6, "PASS"), (1, 12, "FAIL"), (9, 25, "PASS"), (9, 80, "FAIL")]
)
def test_a_gradient_may_be_off_by_8_roundings_and_4_times_what_its_argument_makes_of_them(
    power, roundings, verdict
) -> None:
    """A rounding of t changes t^8 by up to eight."""

    def grad(t):
        off = roundings * 2.0**-10 * (t.dtype == np.float16)
        return (power * (t ** (power - 1)) * (1 + off)).astype(t.dtype)

    report = xpdl.check_gradient(lambda t: (t**power).sum(), grad, np.ones(4, np.float16))
    assert report.verdict == verdict, str(report)


def test_arguments_are_rounded_anew_eight_times() -> None:
    calls = []
    xpdl.check_gradient(lambda t: (t * t).sum(), lambda t: calls.append(0) or 2 * t, np.ones(2, np.float16))
    assert 8 < len(calls) < 16


def test_passes_of_a_library_in_its_own_precision() -> None:
    jnp = pytest.importorskip("jax.numpy")
    xpdl.backend("jax").admit(xpdl.backend("jax"), "float64")
    x = jnp.asarray([0.5], dtype="bfloat16")
    for check in (xpdl.check_vjp, xpdl.check_jvp):
        assert check(jnp.sinh, None, x).verdict == "PASS"


@pytest.mark.parametrize("check", [xpdl.check_vjp, xpdl.check_jvp])
def test_passes_that_are_wrong_in_float16_only(check) -> None:
    def product(c, x):
        return c * x * np.where(x.dtype == np.float16, 2.5, 2)

    report = check(lambda x: x * x, product, np.array([0.5, -1.0, 2.0], np.float16))
    assert "right in float64, and wrong in float16: 3 of 3 entries" in report.parameters["theta"].diagnosis


def test_units_in_the_last_place_are_those_of_the_entry() -> None:
    """From 2 to 4 a unit is 2^-9."""

    def grad(t):
        return np.full_like(t, 3 + 6 * 2.0**-9 * (t.dtype == np.float16))

    report = xpdl.check_gradient(lambda t: 3 * t.sum(), grad, np.ones(2, np.float16))
    assert any("the worst entry is off by 6 units" in note for note in report.notes), str(report)
