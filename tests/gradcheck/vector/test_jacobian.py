"""check_jacobian: whole Jacobians of one or several outputs and inputs."""

import numpy as np
import pytest

import xpdl


def test_a_right_jacobian_of_several_inputs(layer) -> None:
    report = xpdl.check_jacobian(layer.forward, layer.jacobian, *layer.point)
    assert report.verdict == "PASS", str(report)


@pytest.mark.parametrize("place", range(3))
def test_the_wrong_pair_is_named(place, layer) -> None:
    rng = np.random.default_rng(place)
    right = layer.jacobian(*layer.point)[place]
    pair = tuple(rng.choice(np.argwhere(right != 0)))

    def jacobian(*args):
        parts = [part.copy() for part in layer.jacobian(*args)]
        parts[place][pair] *= 1.01
        return tuple(parts)

    report = xpdl.check_jacobian(layer.forward, jacobian, *layer.point)
    wrong = {name: p for name, p in report.parameters.items() if p.verdict == "FAIL"}
    assert list(wrong) == [f"args[{place}]"]
    output, entry = (", ".join(map(str, part)) for part in (pair[:2], pair[2:]))
    shown = f"d output[{output}] / d args[{place}][{entry}] is {1.01 * right[pair]:.7g}, and {right[pair]:.7g}"
    assert shown in wrong[f"args[{place}]"].diagnosis


def test_outputs_and_inputs_may_be_trees() -> None:
    def fun(p):
        return p["a"] * p["b"], {"sum": p["a"].sum()}

    def jac(p, factor=1.0):
        a, b = p["a"], p["b"]
        return {"a": np.diag(b), "b": np.diag(a)}, {"sum": {"a": factor * np.ones(2), "b": None}}

    point = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    assert xpdl.check_jacobian(fun, jac, point).verdict == "PASS"
    report = xpdl.check_jacobian(fun, lambda p: jac(p, 0.5), point)
    assert 'd output[1]["sum"] / d a[' in report.parameters["a"].diagnosis


@pytest.mark.parametrize(
    ("jac", "error", "message"),
    [
        (3, TypeError, "jac must be a function of the arguments, got 3"),
        (
            lambda t: np.ones(2),
            ValueError,
            r"an array of shape \(3, 2\) \(outputs, then inputs\) for theta, got \(2,\)",
        ),
        (lambda t: [np.ones((3, 2))], ValueError, r"for theta, got \(1, 3, 2\)"),
    ],
)
def test_bad_input_is_named(jac, error, message) -> None:
    with pytest.raises(error, match=message):
        xpdl.check_jacobian(lambda t: np.ones((3, 2)) @ t, jac, np.ones(2))


def test_a_jacobian_may_be_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    a = sparse.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]))
    for factor, verdict in ((1, "PASS"), (1.001, "FAIL")):
        assert xpdl.check_jacobian(lambda x: a @ x, lambda x, c=factor: c * a, np.ones(3)).verdict == verdict
