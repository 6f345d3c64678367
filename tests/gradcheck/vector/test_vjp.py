"""check_vjp: a right backward pass passes, and of a wrong one the argument, the entry and the output are named."""

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

import xpdl

few = settings(max_examples=15, deadline=None, derandomize=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_right_backward_pass(seed, layer) -> None:
    report = xpdl.check_vjp(layer.forward, layer.backward, *layer.point, seed=seed)
    assert report.verdict == "PASS", str(report)
    assert list(report.parameters) == ["args[0]", "args[1]", "args[2]"]


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("factor", [1 + 1e-6, 2.0, -1.0, 0.0])
def test_the_wrong_argument_is_named(place, factor, layer) -> None:
    def backward(*args):
        return tuple(g * factor if k == place else g for k, g in enumerate(layer.backward(*args)))

    report = xpdl.check_vjp(layer.forward, backward, *layer.point)
    assert [name for name, p in report.parameters.items() if p.verdict == "FAIL"] == [f"args[{place}]"]


SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@given(out=SHAPES, within=SHAPES, data=st.data())
@few
def test_one_wrong_entry_of_the_jacobian_is_named(out, within, data) -> None:
    """For outputs and an input of any shape."""
    rng = np.random.default_rng(0)
    jac = rng.uniform(1, 2, (*out, *within))
    pair = tuple(data.draw(st.integers(0, n - 1)) for n in jac.shape)
    wrong = jac.copy()
    wrong[pair] += 0.01
    theta = rng.standard_normal(within)

    def fun(t):
        return np.asarray(np.tensordot(jac, t, len(within)))

    def vjp(c, t, j=wrong):
        return np.asarray(np.tensordot(c, j, len(out)))

    assert xpdl.check_vjp(fun, lambda c, t: vjp(c, t, jac), theta).verdict == "PASS"
    report = xpdl.check_vjp(fun, vjp, theta)
    found = report.parameters["theta"]
    assert (report.verdict, found.worst.index) == ("FAIL", pair[len(out) :]), str(report)
    place = f"[{', '.join(map(str, pair))}]" if pair else ""
    shown = f"J{place} is {wrong[pair]:.7g}, and {jac[pair]:.7g} numerically"
    assert found.diagnosis.endswith(shown), str(report)


def test_outputs_may_be_trees(layer) -> None:
    """Whole numbers among the outputs are constants, whose cotangent is what they are."""

    def fun(x, w, b):
        a = layer.forward(x, w, b)
        return {"sum": a.sum(), "all": [a, 3], "float": float(b[0])}

    def vjp(c, x, w, b, factor=1.0):
        dx, dw, db = layer.backward(c["sum"] + c["all"][0], x, w, b)
        db[0] += factor * c["float"]
        return dx, dw, db

    assert xpdl.check_vjp(fun, vjp, *layer.point).verdict == "PASS"
    report = xpdl.check_vjp(fun, lambda *args: vjp(*args, factor=2.0), *layer.point)
    assert 'd output["float"] / d args[2][0] is 2, and 1 numerically' in report.parameters["args[2]"].diagnosis


def test_a_mistake_that_a_plain_sum_hides() -> None:
    """The rows of the Jacobian of a softmax add up to 0, so its sum has no gradient."""

    def softmax(z):
        e = np.exp(z)
        return e / e.sum(-1, keepdims=True)

    def forgetting(c, z):
        return c * softmax(z) * 0

    z = np.random.default_rng(0).standard_normal((2, 3))
    assert xpdl.check_gradient(lambda z: softmax(z).sum(), lambda z: forgetting(1.0, z), z).verdict != "FAIL"
    assert xpdl.check_vjp(softmax, forgetting, z).verdict == "FAIL"


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_a_small_output_next_to_a_large_one_is_judged(size) -> None:
    scale = np.array([1.0, size])
    for factor, verdict in ((1.0, "PASS"), (2.0, "FAIL")):
        wrong = scale * np.array([1.0, factor])
        report = xpdl.check_vjp(lambda t: t * t * scale, lambda c, t, w=wrong: 2 * c * t * w, np.array([0.3, 0.7]))
        assert report.verdict == verdict, str(report)


def test_the_library_is_that_of_the_arguments(lib) -> None:
    x = lib.put([[1.0, 2.0], [3.0, 4.0]])

    def vjp(c, t):
        assert type(c) is type(t)
        assert c.dtype == t.dtype
        return 2.0 * c * t

    assert xpdl.check_vjp(lambda t: t * t, vjp, x).verdict == "PASS"
    assert xpdl.check_vjp(lambda t: t * t, lambda c, t: 2.001 * c * t, x).verdict == "FAIL"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vjp": 3}, TypeError, "vjp must be a function of a cotangent and the arguments, got 3"),
        ({"fun": lambda t: "a"}, TypeError, "fun must return floating arrays or numbers, got 'a'"),
        ({"fun": lambda t: 3}, TypeError, "fun must return floating arrays or numbers, got 3"),
        ({"vjp": lambda c, t: c[:1]}, ValueError, r"grad\(theta\) must have the shape of theta, \(2,\), got \(1,\)"),
    ],
)
def test_bad_input_is_named(change, error, message) -> None:
    given = {"fun": lambda t: t, "vjp": lambda c, t: c} | change
    with pytest.raises(error, match=message):
        xpdl.check_vjp(given["fun"], given["vjp"], np.ones(2))
