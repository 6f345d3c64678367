"""Memory layout: theta lies as the user's does, and a verdict says if that decides."""

import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.memory_layout import laid_out, rows, strides_of

DRAWN = np.random.default_rng(1).standard_normal((6, 8))
LAYOUTS = {
    "Fortran": np.asfortranarray(DRAWN[:3, :4]),
    "transposed": DRAWN[:4, :3].T,
    "every other": DRAWN[::2, ::2],
    "backwards": DRAWN[:3, :4].copy()[::-1, ::-1],
    "a slice": DRAWN[:3, :4],
    "broadcast": np.broadcast_to(DRAWN[0, :4], (3, 4)),
    "one number": np.broadcast_to(DRAWN[0, 0], (3, 4)),
}
WEIGHTS = np.arange(1.0, 13.0).reshape(3, 4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_arrays_get_the_strides_of_others(name) -> None:
    like = LAYOUTS[name]
    made = laid_out(np.array(like, order="C"), strides_of(like))
    assert np.array_equal(made, like)
    assert made.strides == like.strides
    assert not np.shares_memory(made, like)
    if "roadcast" in name:  # a moved entry needs a place of its own
        moved = np.array(like, order="C")
        moved[0, 0] += 1
        assert np.array_equal(laid_out(moved, strides_of(like)), moved)


def test_rows_without_gaps_have_no_layout_of_their_own() -> None:
    for like in (DRAWN, DRAWN[0], np.array(1.0), np.ones((1, 3))[:, ::1], object()):
        assert getattr(like, "shape", None) is None or strides_of(like) is None


def test_an_axis_of_one_element_has_no_stride() -> None:
    assert strides_of(np.ones((1, 2, 4))[:, :1]) is None
    assert strides_of(np.ones((3, 2, 4))[:, :1]) == (8, 4, 1)
    assert strides_of(np.ones((2, 4))[:, ::2]) == (4, 2)
    assert laid_out(DRAWN[:3, :1].copy(), (1, 2)).strides == (8, 16)


def test_rows() -> None:
    assert [rows(shape) for shape in ((), (7,), (3, 4, 5))] == [(), (1,), (20, 5, 1)]


@pytest.mark.parametrize(
    ("strides", "possible"),
    [((3, 1), True), ((4, -1), True), ((1, 3), True), ((2, 1), False), ((1, 1), False), ((0, 1), False)],
)
def test_elements_that_would_share_memory_are_not_laid_out_so(strides, possible) -> None:
    values = DRAWN[:3, :3].copy()
    made = laid_out(values, strides)
    assert np.array_equal(made, values)
    assert (made.strides == tuple(8 * step for step in strides)) is possible


@pytest.mark.parametrize(("stride", "possible"), [(2**23, True), (2**25, False)])
def test_no_more_memory_is_spanned_than_2_24_elements(stride, possible) -> None:
    assert (laid_out(DRAWN[0, :2].copy(), (stride,)).strides == (8 * stride,)) is possible


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_pass_in_any_layout(name, dtype) -> None:
    theta = LAYOUTS[name].astype(dtype, order="K", copy=False)
    report = check_gradient(lambda t: (WEIGHTS * t * t).sum(), lambda t: 2 * WEIGHTS * t, theta)
    assert report.verdict == "PASS", str(report)
    wrong = check_gradient(lambda t: (WEIGHTS * t * t).sum(), lambda t: 2.001 * WEIGHTS * t, theta)
    assert wrong.verdict == "FAIL", str(wrong)


@pytest.mark.parametrize("name", ["Fortran", "transposed", "every other", "backwards", "broadcast"])
def test_code_that_reads_memory_as_it_lies_fails(name) -> None:
    def grad(t):
        base = t if t.base is None else np.asarray(t.base)
        memory = np.resize(base.ravel(order="K"), t.shape)
        return 2 * WEIGHTS * (t if t.flags.c_contiguous else memory + 1e-3)

    report = check_gradient(lambda t: (WEIGHTS * t * t).sum(), grad, LAYOUTS[name])
    assert report.verdict == "FAIL", str(report)
    assert "the memory layout decides" in report.parameters["theta"].diagnosis, str(report)


def test_a_function_that_depends_on_the_layout_fails() -> None:
    def fun(t):
        return float((WEIGHTS.ravel() * t.ravel(order="K") ** 2).sum())

    report = check_gradient(fun, lambda t: 2 * WEIGHTS * t, LAYOUTS["Fortran"])
    assert report.verdict == "FAIL"
    assert "fun answers differently" in report.parameters["theta"].diagnosis


def test_what_goes_wrong_only_in_rows_without_gaps_fails_too() -> None:
    grad = lambda t: 2 * WEIGHTS * t * (1 + 0.01 * t.flags.c_contiguous)  # noqa: E731
    assert check_gradient(lambda t: (WEIGHTS * t * t).sum(), grad, LAYOUTS["Fortran"]).verdict == "FAIL"


@pytest.mark.parametrize(("n", "possible"), [(2, True), (3, False)])
def test_an_array_spans_16_million_elements_at_most(n, possible) -> None:
    made = laid_out(np.arange(n, dtype=np.int8), (2**23,))
    assert made.tolist() == list(range(n))
    assert (made.strides == (2**23,)) is possible
