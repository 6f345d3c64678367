"""Perturbation: moving one pre-activation changes the cost as a whole new pass would."""

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network.perturbation import (
    complex_derivative,
    complex_step,
    cost_derivative,
    difference_derivative,
    eps,
    gradient,
    point,
    quotients,
    sign_vectors,
)


@pytest.fixture
def at(random_case):
    """at(seed) -> a random network at a point."""

    def at(seed):
        net, theta, x, y, masks = random_case(seed)
        return point(net, theta, x, y, masks, None, complex_derivative)

    return at


@pytest.mark.parametrize(("derive", "error"), [(complex_derivative, 1e-14), (difference_derivative, 1e-8)])
def test_the_derivative_of_a_function_entry_by_entry(derive, error) -> None:
    z = np.linspace(-2, 2, 9)
    derivative = derive(np.tanh)
    assert derivative.at(z) == pytest.approx(1 - np.tanh(z) ** 2, abs=error)
    left, right = derive(lambda z: z * (z.real > 0)).beside(np.zeros(1), np.full(1, 1e-3))
    assert (left[0], right[0]) == pytest.approx((0, 1), abs=1e-12)


def moved_cost(at, l, unit, step):
    """The cost of each sample after a new pass from layer l on, with one unit moved."""
    f, z = at.functions[l], at.layers[l].z.copy()
    z[:, unit] += step
    for layer, b, mask in zip(at.layers[l + 1 :], at.biases[l + 1 :], at.masks[l:], strict=True):
        a = f(z)
        z = (a if mask is None else a * mask) @ layer.w + b
    return at.net.head.value(z, at.y)


@pytest.mark.parametrize("seed", range(8))
def test_a_moved_unit_changes_the_cost_as_a_new_pass_does(at, seed) -> None:
    here = at(seed)
    h = 1e-3
    for l, layer in enumerate(here.layers):
        unit = layer.z.shape[1] - 1
        left, right, _ = quotients(here, l, slice(unit, unit + 1), np.full((len(here.y), 1), h))
        middle = moved_cost(here, l, unit, 0.0)
        expected = (moved_cost(here, l, unit, h) - middle) / h / len(here.y)
        assert right[:, 0] == pytest.approx(expected, rel=1e-9, abs=1e-10)
        expected = (middle - moved_cost(here, l, unit, -h)) / h / len(here.y)
        assert left[:, 0] == pytest.approx(expected, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_the_gradient_from_dz_is_that_of_the_network(at, seed) -> None:
    here = at(seed)
    dz = [complex_step(here, l, slice(None)) for l in range(len(here.layers))]
    theta = here.net.pack([(layer.w, b) for layer, b in zip(here.layers, here.biases, strict=True)])
    masks = here.masks if any(mask is not None for mask in here.masks) else None
    expected = here.net.loss_and_grad(theta, here.layers[0].x, here.y, masks)[1]
    assert gradient(here, dz) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_where_x_is_negative_the_other_dz_counts(at) -> None:
    here = at(5)
    dz = [np.ones_like(layer.z) for layer in here.layers]
    low = gradient(here, dz, [-d for d in dz])
    w, _ = here.net.unpack(low)[0]
    x, decay = here.layers[0].x, here.net.l2 / here.count * here.layers[0].w
    assert w - decay == pytest.approx(np.abs(x).sum(axis=0)[:, None] * np.ones((1, w.shape[1])))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_the_derivative_of_the_cost_is_that_of_the_loss(output) -> None:
    net = Network([2, 3], output=output)
    rng = np.random.default_rng(0)
    labels = {"softmax": rng.integers(0, 3, 6), "sigmoid": rng.integers(0, 2, (6, 3)), "linear": rng.random((6, 3))}
    here = point(net, net.initialize(0, "float64"), rng.random((6, 2)), labels[output], None, None, complex_derivative)
    z = here.layers[-1].z
    assert cost_derivative(here, z) / 6 == pytest.approx(net.head.delta(z, here.y), abs=1e-14)


def test_samples_share_the_cost_by_their_weights(random_case) -> None:
    net, theta, x, y, masks = random_case(3)
    assert point(net, theta, x, y, masks, None, complex_derivative).share == 1 / len(x)
    weight = np.arange(1.0, len(x) + 1)
    weighted = point(net, theta, x, y, masks, weight, complex_derivative)
    assert weighted.share[:, 0] == pytest.approx(weight / weight.sum())
    assert weighted.count == weight.sum()


def test_logits_are_moved_along_several_signs() -> None:
    vectors = sign_vectors(np.zeros((4, 5)))
    assert {vector.shape for vector in vectors} == {(5,)}
    assert set(np.abs(np.stack(vectors)).ravel()) == {1.0}
    assert len({tuple(vector) for vector in vectors}) == len(vectors)


def test_eps_is_that_of_the_dtype() -> None:
    assert eps(np.zeros(1)) == 2.0**-52
    assert eps(np.zeros(1, np.float32)) == 2.0**-23
