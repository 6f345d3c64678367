"""Black boxes: what goes in and out of the user's library, and functions that are none."""

import numpy as np
import pytest

from xpdl.backends import backend
from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.function.blackbox import BlackBox, call_again, call_twice, enter


def test_functions_that_change_their_argument_are_reported(points) -> None:
    def doubling(theta):
        theta *= 2
        return (theta * theta).sum()

    def adding(p):
        p["new"] = 1
        return (p["a"] ** 2).sum()

    def clipping(theta):
        np.clip(theta, -1, 1, out=theta)
        return 2 * theta

    cases = [
        (doubling, lambda t: 2 * t, 3 * points(), "fun changes its argument theta"),
        (lambda t: (t * t).sum(), clipping, 3 * points(), "grad changes its argument theta"),
        (adding, lambda p: {"a": 2 * p["a"]}, {"a": points()}, "fun changes its argument theta"),
        (lambda p: doubling(p["a"]), lambda p: {"a": p["a"]}, {"a": points()}, 'fun changes its argument theta["a"]'),
    ]
    for fun, grad, theta, complaint in cases:
        kept = np.array(theta["a"] if isinstance(theta, dict) else theta)
        report = check_gradient(fun, grad, theta)
        assert report.verdict == "INCONCLUSIVE"
        assert f"{complaint}: no verdict is possible" in report.notes, str(report)
        assert np.array_equal(kept, theta["a"] if isinstance(theta, dict) else theta)


def test_functions_that_answer_differently_are_reported(points) -> None:
    rng = np.random.default_rng(0)
    report = check_gradient(lambda t: (t * t).sum() + rng.random(), lambda t: 2 * t + rng.random(), points())
    assert report.verdict == "INCONCLUSIVE"
    assert "fun gives different values for the same theta" in report.notes[0]
    assert "grad gives different values for the same theta (theta)" in report.notes[1]


def counting(function, k, change):
    """A function whose answers change from its k-th call on."""
    calls = 0

    def answer(theta):
        nonlocal calls
        calls += 1
        return function(theta) if calls < k else change(function(theta))

    return answer


@pytest.mark.parametrize("change", [lambda a: a + 0.01, lambda a: 1.5 * a])
def test_functions_that_change_their_mind_later_are_reported(change, points) -> None:

    def fun(theta):
        return (theta * theta).sum()

    def grad(theta):
        return 2 * theta

    for k in (*range(4, 51, 3), 50):
        for method in ("auto", "central"):
            report = check_gradient(counting(fun, k, change), grad, points(), method=method)
            assert report.verdict == "INCONCLUSIVE", f"{k}\n{report}"
            assert "fun gives different values for the same theta" in report.notes[0], str(report)
    report = check_gradient(fun, counting(grad, 4, change), points())
    assert report.verdict == "INCONCLUSIVE"
    assert "grad gives different values for the same theta" in report.notes[0], str(report)


# To and from the user's library


def boxed(fun, theta):
    return BlackBox(fun, lambda t: 2 * t, Arguments([theta]), "float64")


def test_tensors_become_arrays_of_the_library_on_its_device(lib) -> None:
    """They have the dtype of the box; complex tensors get the complex dtype of the same precision."""
    box = BlackBox(lambda p: 0.0, lambda p: p, Arguments([{"a": lib.put([1.0, 2.0])}]), lib.dtype)
    for tensor, dtype in (
        ([1.0, 2.0], lib.dtype),
        ([1j, 2.0], {"float64": "complex128", "float32": "complex64"}[lib.dtype]),
    ):
        placed = box.place({"a": np.array(tensor)})[0]["a"]
        assert type(placed) is type(lib.put([1.0]))
        assert placed.dtype == getattr(lib.backend.xp, dtype)
        assert np.array_equal(lib.host(placed), np.array(tensor, dtype))


def test_each_call_gets_arrays_of_its_own(points) -> None:
    theta = points()
    box = boxed(lambda t: 0.0, theta)
    (one,), (other,) = box.place({"theta": theta}), box.place({"theta": theta})
    assert not np.shares_memory(one, theta)
    assert not np.shares_memory(one, other)


@pytest.mark.parametrize(
    "answer",
    [
        *(2, 2.0, np.float32(2), np.float64(2), np.array(2.0)),
        *(2 + 0j, np.complex64(2), np.complex128(2), np.array(2 + 0j)),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_a_scalar_of_any_kind_becomes_a_number_of_python(answer) -> None:
    box = boxed(lambda t: answer, np.ones(1))
    assert box.value({"theta": np.ones(1)}) == 2
    assert type(box.value({"theta": np.ones(1)})) is (complex if np.iscomplexobj(answer) else float)
    assert box.evaluations == 2


@pytest.mark.parametrize("tracked", [True, False])
def test_autograd_follows_new_arrays_as_it_follows_theta(tracked) -> None:
    """In PyTorch, fun can differentiate its argument if it could differentiate theta."""
    torch = pytest.importorskip("torch")
    theta = torch.ones(3, dtype=torch.float64, requires_grad=tracked)

    def fun(t):
        assert t.requires_grad is tracked
        assert t.is_leaf
        return (t**2).sum()

    def grad(t):
        return torch.autograd.grad(fun(t), t)[0] if tracked else 2 * t

    assert check_gradient(fun, grad, theta).verdict == "PASS"


def test_scalars_of_pytorch_that_numpy_does_not_have() -> None:
    """These are a lazy conjugate, a bfloat16 number, and a number that autograd records."""
    torch = pytest.importorskip("torch")
    for answer in (torch.conj(torch.tensor(2 + 0j)), torch.tensor(2.0).bfloat16(), torch.tensor(2.0).requires_grad_()):
        assert boxed(lambda t, answer=answer: answer, torch.ones(1)).value({"theta": np.ones(1)}) == 2


def test_arrays_of_most_libraries_record_nothing() -> None:
    array = np.ones(2)
    assert backend("numpy").track(array) is array
    assert backend("numpy").track(array, np.zeros(2)) is array


# Entering and watching


def test_float64_is_tried_first_if_theta_is_in_float32(points) -> None:
    def picky(theta):
        if theta.dtype == np.float64:
            raise TypeError("only float32")
        return (theta * theta).sum()

    box, start, notes = enter(picky, lambda t: 2 * t, [points().astype(np.float32)], None)
    assert (box.dtype, notes) == ("float32", ["float64 raises TypeError: judged in float32"])
    assert start == pytest.approx(float((points() ** 2).sum()), rel=1e-6)
    with pytest.raises(TypeError, match="only float32"):
        enter(picky, lambda t: 2 * t, [points()], None)


def test_a_later_answer_may_differ_by_rounding(points) -> None:
    box, start, _ = enter(lambda t: (t * t).sum(), lambda t: 2 * t, [points()], None)
    u = float(np.finfo(float).eps)
    gradient, spread, complaints = call_twice(box, start, u)
    assert complaints == []
    assert not spread["theta"].any()
    for change, complains in ((1 + 10 * u, False), (1 + 1000 * u, True)):
        assert bool(call_again(box, start * change, gradient, u, noise=0.0)) is complains
        changed = {"theta": gradient["theta"] * change}
        assert bool(call_again(box, start, changed, u, noise=0.0)) is complains
    assert call_again(box, start + 1e-3, gradient, u, noise=1e-2) == []


def test_grad_may_use_what_the_last_call_of_fun_at_theta_kept(points) -> None:
    """As optimizers of SciPy allow.  The calls before it were elsewhere."""
    kept = {}

    def fun(t):
        kept["squares"] = t * t
        return t.sum() + 0 * (t * t).sum()

    box, _, _ = enter(fun, lambda t: kept["squares"], (points(),), None)
    box.value({"theta": points(1)})
    assert np.array_equal(box.gradient()["theta"], points() ** 2)


def test_a_value_of_0_is_the_same_each_time() -> None:
    theta = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    report = check_gradient(lambda t: (t * t).sum() - 55, lambda t: 2 * t, theta)
    assert report.verdict == "PASS", str(report)


@pytest.mark.parametrize(("theta", "said"), [([1.0, np.nan], "must be finite, got nan"), ([], "must have entries")])
def test_theta_has_entries_and_they_are_finite(theta, said) -> None:
    with pytest.raises(ValueError, match=said):
        check_gradient(np.sum, np.ones_like, np.array(theta))
