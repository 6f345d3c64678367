"""Arguments: trees taken apart and put together, the names of their leaves, and gradients of their form."""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.arguments import Arguments, children, fill, walk


class Layer(NamedTuple):
    w: Any
    b: Any


@dataclass(frozen=True)
class Frozen:
    w: Any
    n: int = 2


ONE = np.ones(2)
LEAVES = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=2), st.none())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=2), st.integers()), inner, max_size=3),
        st.builds(Layer, inner, inner),
        st.builds(Frozen, inner),
    ),
    max_leaves=12,
)


@given(TREES)
@settings(deadline=None, derandomize=True)
def test_what_is_taken_apart_can_be_put_together(tree) -> None:
    leaves = dict(walk(tree, "t"))
    marked = {place: [place] for place in leaves}  # a list of one string, so that each leaf is another object
    again = fill(tree, "t", {place: mark[0] for place, mark in marked.items()})
    assert type(again) is type(tree) or children(tree) is None
    assert dict(walk(again, "t")) == {place: place for place in leaves}
    assert dict(walk(tree, "t")).keys() == leaves.keys(), "the tree itself stays"


@given(TREES)
@settings(deadline=None, derandomize=True)
def test_a_place_is_how_python_reaches_the_leaf(tree) -> None:
    for place, leaf in walk(tree, "t"):
        assert eval(place, {"t": tree}) is leaf


@pytest.mark.parametrize(
    ("args", "names"),
    [
        ([ONE], ["theta"]),
        ([2.0], ["theta"]),
        ([{"W1": ONE, "b1": 1.0}], ["W1", "b1"]),
        ([{"layer1": Layer(ONE, ONE)}], ["layer1.w", "layer1.b"]),
        ([{1: ONE}], ["theta[1]"]),
        ([[ONE, (ONE, ONE)]], ["theta[0]", "theta[1][0]", "theta[1][1]"]),
        ([ONE, {"layer1": Layer(ONE, ONE)}], ["args[0]", 'args[1]["layer1"].w', 'args[1]["layer1"].b']),
        ([Frozen(ONE), 3, ONE], ["args[0].w", "args[2]"]),
        ([{"a": [ONE], "a[0]": ONE}], ['theta["a"][0]', 'theta["a[0]"]']),
        ([{1: ONE, "theta[1]": ONE}], ["theta[1]", 'theta["theta[1]"]']),
    ],
)
def test_names_of_variables(args, names) -> None:
    assert list(Arguments(args).variables) == names


def test_whole_numbers_and_what_is_no_number_are_constants() -> None:
    arguments = Arguments([ONE, np.arange(3), 3, True, np.array([True]), "relu", None, {"k": 2}])
    assert list(arguments.variables) == ["args[0]"]
    assert list(arguments.constants) == [*(f"args[{k}]" for k in range(1, 7)), 'args[7]["k"]']


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType, lambda d: defaultdict(list, d)])
def test_fun_gets_containers_of_the_same_kind_of_its_own(kind) -> None:
    given = kind({"w": ONE})
    seen = []

    def fun(p):
        seen.append(p)
        return (p["w"] ** 2).sum()

    assert check_gradient(fun, lambda p: {"w": 2 * p["w"]}, given).verdict == "PASS"
    assert all(type(p) is type(given) and p is not given for p in seen)


def test_keys_of_random_numbers_are_constants() -> None:
    jax = pytest.importorskip("jax")
    assert list(Arguments([jax.random.key(0), ONE]).variables) == ["args[1]"]


# Gradients


def weighted(x, layer, k):
    return np.sum((x @ layer["w"] + layer["b"]) ** k)


def weighted_grad(x, layer, k):
    dz = k * (x @ layer["w"] + layer["b"]) ** (k - 1)
    return dz @ layer["w"].T, {"w": x.T @ dz, "b": dz.sum(0)}, None


def draws():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)), {"w": rng.standard_normal((4, 2)), "b": rng.standard_normal(2)}, 3


def test_several_arguments_of_any_form() -> None:
    report = check_gradient(weighted, weighted_grad, *draws())
    assert report.verdict == "PASS", str(report)
    assert list(report.parameters) == ["args[0]", 'args[1]["w"]', 'args[1]["b"]']
    assert "constants, not checked: args[2]" in report.notes


@pytest.mark.parametrize("wrong", ["args[0]", 'args[1]["w"]', 'args[1]["b"]'])
def test_the_wrong_leaf_is_named(wrong) -> None:
    def grad(*args):
        dx, layer, _ = weighted_grad(*args)
        found = {"args[0]": dx, 'args[1]["w"]': layer["w"], 'args[1]["b"]': layer["b"]}
        found[wrong][(0,) * found[wrong].ndim] *= 1 + 1e-6
        return dx, layer, None

    report = check_gradient(weighted, grad, *draws())
    assert [name for name, p in report.parameters.items() if p.verdict == "FAIL"] == [wrong]


def test_a_gradient_of_none_says_that_fun_does_not_depend_on_the_leaf() -> None:
    def grad(x, layer, k):
        return None, *weighted_grad(x, layer, k)[1:]

    report = check_gradient(weighted, grad, *draws())
    assert report.verdict == "FAIL"
    assert report.parameters["args[0]"].diagnosis == "the gradient of args[0] is None, and fun depends on it"
    constant = check_gradient(lambda x, z: np.sum(x * x), lambda x, z: (2 * x, None), ONE, ONE)
    assert (constant.verdict, list(constant.parameters)) == ("PASS", ["args[0]"])
    assert "args[1]: a constant, because its gradient is None and fun does not depend on it" in constant.notes


def test_a_gradient_of_nothing_but_none_is_one_of_zeros() -> None:
    for fun, verdict in ((lambda t: 1.0, "PASS"), (np.sum, "FAIL")):
        report = check_gradient(fun, lambda t: None, ONE)
        assert (report.verdict, list(report.parameters)) == (verdict, ["theta"])


@pytest.mark.parametrize(
    ("theta", "grad"),
    [
        (ONE, lambda t: (2 * t,)),  # as jax.vjp returns it
        ({"w": ONE}, lambda t: ({"w": 2 * t["w"]},)),
        (Layer(ONE, ONE), lambda t: (2 * t.w, 2 * t.b)),
        ((ONE, ONE), lambda t: [2 * t[0], 2 * t[1]]),
        ([ONE], lambda t: (2 * t[0],)),
        ({"w": ONE, "units": 3, "seen": []}, lambda t: {"w": 2 * t["w"]}),  # constants are left out
    ],
)
def test_a_gradient_may_have_a_simpler_form(theta, grad) -> None:
    def fun(t):
        return sum((leaf**2).sum() for _, leaf in walk(t, "") if isinstance(leaf, np.ndarray))

    assert check_gradient(fun, grad, theta).verdict == "PASS"


def test_the_gradient_of_an_object_that_hides_its_arrays_is_no_pass() -> None:
    class Node:
        w = ONE

    def fun(t, node):
        return np.sum(t * node.w)

    assert check_gradient(fun, lambda t, node: (node.w, None), ONE, Node()).verdict == "PASS"
    with pytest.raises(TypeError, match=r"args\[1\] has a gradient, so it must be an array, or a dict.*, got Node"):
        check_gradient(fun, lambda t, node: (node.w, Node()), ONE, Node())


def test_numbers_are_arguments_and_gradients() -> None:
    def fun(a, b):
        assert type(a) in (float, complex)
        return a**3 * b

    for factor, verdict in ((3, "PASS"), (3.001, "FAIL")):
        assert check_gradient(fun, lambda a, b, c=factor: (c * a**2 * b, a**3), 2.0, 0.5).verdict == verdict


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_scalar_may_have_any_shape_of_one_entry(shape) -> None:
    assert check_gradient(lambda t: np.sum(t * t).reshape(shape), lambda t: 2 * t, ONE).verdict == "PASS"


def test_value_and_gradient_from_one_function() -> None:
    for factor, verdict in ((2, "PASS"), (1, "FAIL")):
        report = check_gradient(lambda t, c=factor: (np.sum(t * t), c * t), None, ONE, value_and_grad=True)
        assert report.verdict == verdict


@pytest.mark.parametrize("form", ["csr_array", "coo_array", "csc_matrix", "dok_array"])
def test_entries_that_a_sparse_gradient_does_not_store_are_0(form) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    theta = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    def grad(t):
        dense = np.zeros_like(t)
        dense[:, 1] = 2 * t[:, 1]
        return getattr(sparse, form)(dense)

    assert check_gradient(lambda t: np.sum(t[:, 1] ** 2), grad, theta).verdict == "PASS"
    report = check_gradient(lambda t: np.sum(t[:, 1] ** 2) + t[0, 0], grad, theta)
    assert (report.verdict, report.parameters["theta"].worst.index) == ("FAIL", (0, 0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": lambda x, y: x}, TypeError, "grad must return a tuple of 2 gradients, got array"),
        ({"grad": lambda x, y: (x, y, y)}, TypeError, "grad must return a tuple of 2 gradients"),
        ({"grad": lambda x, y: (x, [y])}, TypeError, r"grad\(\*args\)\[1\] must be an array, got \[array"),
        ({"grad": lambda x, y: (x, y[:1])}, ValueError, r"\[1\] must have the shape of args\[1\], \(2,\), got \(1,\)"),
        ({"value_and_grad": True}, ValueError, "grad must be None with value_and_grad=True, got <function"),
        ({"args": [1, 2]}, TypeError, r"args\[0\] must be a floating number, got 1"),
        ({"args": [ONE, np.array(np.nan)]}, ValueError, r"args\[1\] must be finite, got nan$"),
    ],
)
def test_bad_input_is_named(change, error, message) -> None:
    given = {"grad": lambda x, y: (2 * x, 2 * y), "args": [ONE, ONE]} | change
    with pytest.raises(error, match=message):
        check_gradient(lambda x, y: np.sum(x * x + y * y), given.pop("grad"), *given.pop("args"), **given)
