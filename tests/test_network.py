"""The network: against the origin's published numbers, the complex step, PyTorch's autograd and plain loops."""

import json
import math

import numpy as np
import pytest

import xpdl
from xpdl import Activation, Loss, Network, Scaling, losses
from xpdl.activations import ACTIVATIONS
from xpdl.losses import LOSSES, binary

SEED = 20240608
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
SIZES = [3, 4, 3, 2]
SMALL = [3, 4, 2]  # where every library has to compile it
N = 6
ORIGIN = ["Python sigmoid (post 1.1a)", "R softmax (post 1.2b)"]

TORCH = {  # hidden: the same function in torch.nn.functional
    "identity": lambda f, z: z,
    "relu": lambda f, z: f.relu(z),
    "tanh": lambda f, z: f.tanh(z),
    "sigmoid": lambda f, z: f.sigmoid(z),
    "leaky_relu": lambda f, z: f.leaky_relu(z),
    "elu": lambda f, z: f.elu(z),
    "softplus": lambda f, z: f.softplus(z, threshold=1e6),
    "gelu": lambda f, z: f.gelu(z, approximate="tanh"),
    "silu": lambda f, z: f.silu(z),
}
TORCH_COSTS = {  # output: the mean cost in torch.nn.functional
    "softmax": lambda f, z, y: f.cross_entropy(z, y),
    "sigmoid": lambda f, z, y: f.binary_cross_entropy_with_logits(z, y.to(z.dtype), reduction="sum") / len(z),
    "linear": lambda f, z, y: f.mse_loss(z, y, reduction="sum") / (2 * len(z)),
    "poisson": lambda f, z, y: f.poisson_nll_loss(z, y, reduction="sum") / len(z),
    "absolute": lambda f, z, y: f.l1_loss(z, y, reduction="sum") / len(z),
    "huber": lambda f, z, y: f.huber_loss(z, y, reduction="sum") / len(z),
    "quantile": lambda f, z, y: f.l1_loss(z, y, reduction="sum") / (2 * len(z)),
}
EXTRAS = {  # what may be added to the bare network
    "plain": {},
    "l2": {"l2": 0.7},
    "dropout": {"dropout": 0.4},
    "l2 and dropout of one layer": {"l2": 0.7, "dropout": (0.0, 0.4)},
}
CORNERS = {  # sizes, output, samples
    "batch of one": ([3, 4, 2], "softmax", 1),
    "one class": ([3, 4, 1], "softmax", 5),
    "hidden layer of one unit": ([3, 1, 2], "softmax", 5),
    "ten layers": ([2] * 11, "softmax", 5),
    "logistic regression": ([3, 1], "sigmoid", 5),
    "softmax regression": ([3, 4], "softmax", 5),
    "linear regression, one sample, one feature": ([1, 1], "linear", 1),
}

every_activation = pytest.mark.parametrize("hidden", ACTIVATIONS)
every_output = pytest.mark.parametrize("output", LOSSES)


def labels(rng, output, n, k):
    """Targets that fit the output."""
    loss = losses.by_name(output)
    if output == "poisson":
        return rng.poisson(2.0, (n, k)).astype(float)
    if loss.decide is None:
        return rng.normal(size=(n, k))
    return rng.integers(0, k, n) if loss.classes(3) == 3 else rng.integers(0, 2, (n, k))


def case(net, n=N, seed=SEED):
    """theta, x, y and masks (None without dropout), float64."""
    rng = np.random.default_rng(seed)
    theta, x = rng.normal(size=net.size), rng.normal(size=(n, net.sizes[0]))
    masks = [
        (rng.random((n, m)) >= p) / (1 - p) if p else None for m, p in zip(net.sizes[1:-1], net.drops, strict=True)
    ]
    return theta, x, labels(rng, net.output, n, net.sizes[-1]), masks if any(net.drops) else None


def complex_step(net, theta, x, y, masks=None, weight=None):
    """The gradient of ``net.loss`` with nothing subtracted, so with no error but rounding (Squire & Trapp 1998)."""
    return net.loss(theta + 1e-100j * np.eye(net.size), x, y, masks, weight).imag / 1e-100


def magnitudes(net, theta, x, y, masks=None, weight=None):
    """kappa (P,): the backward pass with every product made positive.

    An entry of the gradient is a sum, sum x dz for weights and sum dz for biases, that may cancel to nothing; its
    rounding errors are in proportion to the sum of the absolute values, which is this.
    """
    layers = net.forward(theta, x, masks)
    dz = np.abs(net.head.delta(layers[-1].z, net.targets(theta, x, y), weight))
    n = len(x) if weight is None else weight.sum()
    kappa = []
    for l in reversed(range(len(layers))):
        kappa.append((np.abs(layers[l].x).T @ dz + net.l2 / n * np.abs(layers[l].w), dz.sum(axis=0)))
        if l:
            _, _, z, a = layers[l - 1]
            slope = np.abs(net.activations[0].backward(np.ones_like(z), z, a))
            mask = 1 if masks is None or masks[l - 1] is None else masks[l - 1]
            dz = dz @ np.abs(layers[l].w).T * mask * slope
    return net.pack(kappa[::-1])


def assert_gradient(net, *arguments):
    """Cost and gradient are finite, and the gradient is the complex step's to 8 roundings of the largest kappa."""
    cost, grad = net.loss_and_grad(*arguments)
    bound = 8 * EPS["float64"] * np.max(magnitudes(net, *arguments))
    assert np.isfinite(cost)
    assert np.isfinite(bound)
    np.testing.assert_allclose(grad, complex_step(net, *arguments), rtol=0, atol=bound)


def rounded(lib, *arrays):
    """The numbers as the library's dtype holds them, in float64; integers as they are."""
    return [a.astype(lib.dtype).astype(float) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]


def put_masks(lib, masks):
    return None if masks is None else [None if mask is None else lib.put(mask) for mask in masks]


# The origin


def published(folder, name):
    """A run of the origin in our layout: net, theta, x, y, masks, cost, gradient."""
    seed = folder / "seed"
    if not (seed / "reference.json").exists():
        pytest.skip(f"{seed} has no reference.json")
    run = json.loads((seed / "reference.json").read_text())["runs"][name]
    samples = np.loadtxt(seed / run["data"], delimiter=",")
    net = Network(run["sizes"], hidden=run["hidden"], output=run["output"])
    x, y, masks = samples[:, :2], samples[:, 2].astype(int), None
    if "dropped_unit_sample" in run:
        unit, sample = run["dropped_unit_sample"]
        masks = [np.ones((len(x), net.sizes[1]))]
        masks[0][sample, unit] = 0

    def packed(prefix):
        layers = range(1, len(net.sizes))
        return net.pack([(np.transpose(run[f"{prefix}W{l}"]), np.ravel(run[f"{prefix}b{l}"])) for l in layers])

    return net, packed(""), x, y, masks, run["cost"], packed("d")


@pytest.mark.parametrize("name", ORIGIN)
def test_published_costs_and_gradients_come_out_to_rounding(data_folder, lib, name) -> None:
    """The cost to 8 roundings, each of the gradient's entries to 8 roundings of what it is summed from."""
    net, theta, x, y, masks, cost, grad = published(data_folder, name)
    kappa = magnitudes(net, theta, x, y, masks)
    got_cost, got = lib.call(net.loss_and_grad, lib.put(theta), lib.put(x), lib.put(y), put_masks(lib, masks))
    assert abs(float(lib.host(got_cost)) - cost) <= 8 * EPS[lib.dtype] * cost
    error = np.abs(lib.host(got) - grad)
    assert np.all(error <= 8 * EPS[lib.dtype] * kappa), (error / kappa / EPS[lib.dtype]).tolist()


@pytest.mark.parametrize("name", ORIGIN)
def test_published_gradients_agree_in_the_difference_of_the_origin(data_folder, name) -> None:
    """||g - g'|| / (||g|| + ||g'||), by which the origin judges: 1e-7 there, rounding here."""
    net, theta, x, y, masks, _, grad = published(data_folder, name)
    got = net.loss_and_grad(theta, x, y, masks)[1]
    assert np.linalg.norm(got - grad) <= 2e-13 * (np.linalg.norm(got) + np.linalg.norm(grad))


def test_the_dropped_unit_of_the_published_r_run_matters(data_folder) -> None:
    """Without its mask the published gradient is missed by far, so the test above can fail."""
    net, theta, x, y, _, _, grad = published(data_folder, ORIGIN[1])
    assert np.max(np.abs(net.loss_and_grad(theta, x, y)[1] - grad)) > 1e-6


# The cost


def naive_cost(net, theta, x, y, masks):
    """Sample by sample, unit by unit: tanh hidden layers and a softmax."""
    layers, total = net.unpack(theta), 0.0
    for s in range(len(x)):
        a = x[s].tolist()
        for l, (w, b) in enumerate(layers):
            a = [math.fsum(a[i] * w[i, j] for i in range(len(a))) + b[j] for j in range(len(b))]
            if l < len(layers) - 1:
                scales = [1.0] * len(a) if masks is None or masks[l] is None else masks[l][s]
                a = [math.tanh(z) * m for z, m in zip(a, scales, strict=True)]
        total -= math.log(math.exp(a[y[s]]) / math.fsum(map(math.exp, a)))
    squares = math.fsum(v * v for w, _ in layers for v in w.ravel().tolist())
    return total / len(x) + net.l2 / (2 * len(x)) * squares


@pytest.mark.parametrize("extras", EXTRAS)
def test_the_cost_is_that_of_plain_loops(extras) -> None:
    net = Network(SIZES, hidden="tanh", **EXTRAS[extras])
    arguments = case(net)
    assert net.loss(*arguments) == pytest.approx(naive_cost(net, *arguments), rel=1e-14)


def test_l2_leaves_biases_alone() -> None:
    """Its gradient is l2 / n times the weights, 0 for the biases; its cost l2 / (2 n) times their squares."""
    bare, net = Network(SIZES), Network(SIZES, l2=0.7)
    theta, x, y, _ = case(net)
    (cost0, grad0), (cost, grad) = bare.loss_and_grad(theta, x, y), net.loss_and_grad(theta, x, y)
    n_weights = 3 * 4 + 4 * 3 + 3 * 2
    weights = np.concatenate([theta[:n_weights], np.zeros(net.size - n_weights)])
    assert cost - cost0 == pytest.approx(0.7 / (2 * N) * np.sum(weights**2), rel=1e-13)
    np.testing.assert_allclose(grad - grad0, 0.7 / N * weights, rtol=0, atol=1e-14)


@every_output
def test_the_cost_of_loss_and_grad_is_loss(lib, output) -> None:
    net = Network(SMALL, output=output)
    theta, x, y, _ = (None if a is None else lib.put(a) for a in case(net))
    cost = lib.host(lib.call(net.loss, theta, x, y))
    assert cost.shape == ()
    lib.close(lib.call(net.loss_and_grad, theta, x, y)[0], cost)


# The gradient


@pytest.mark.parametrize("extras", EXTRAS)
@every_output
@every_activation
def test_gradient_is_the_complex_step(hidden, output, extras) -> None:
    net = Network(SIZES, hidden=hidden, output=output, **EXTRAS[extras])
    assert_gradient(net, *case(net))


@every_output
def test_a_weight_counts_a_sample_that_often(lib, output) -> None:
    """Weights of 0 to 3 are samples that are left out or repeated: cost and gradient, with L2 and dropout."""
    net, weight = Network(SMALL, output=output, l2=0.7, dropout=0.4), np.arange(N) % 4
    theta, x, y, masks = case(net)
    given = *map(lib.put, (theta, x, y)), put_masks(lib, masks), lib.put(weight)
    got = lib.call(lambda *given: net.loss_and_grad(*given), *given)
    lib.close(lib.call(lambda *given: net.loss(*given), *given), lib.host(got[0]))
    theta, *samples = rounded(lib, theta, x, y, *masks)
    x, y, *masks = (np.repeat(a, weight, axis=0) for a in samples)
    for result, expected in zip(got, net.loss_and_grad(theta, x, y, masks), strict=True):
        lib.close(result, expected)


@every_output
def test_gradient_with_weights_is_the_complex_step(output) -> None:
    net = Network(SIZES, hidden="tanh", output=output, **EXTRAS["l2 and dropout of one layer"])
    assert_gradient(net, *case(net), np.random.default_rng(SEED).exponential(size=N))


def test_weights_of_1_change_no_bit(lib) -> None:
    net = Network(SMALL, l2=0.7)
    theta, x, y, _ = (None if a is None else lib.put(a) for a in case(net))
    plain, weighted = (net.loss_and_grad(theta, x, y, weight=w) for w in (None, lib.put(np.ones(N))))
    assert all(np.array_equal(*map(lib.host, pair)) for pair in zip(plain, weighted, strict=True))


def test_the_complex_step_sees_errors() -> None:
    """A derivative wrong by one part in a million does not pass."""
    wrong = Activation(np.tanh, lambda da, z, a: da * (1 - a * a) * (1 + 1e-6))
    net = Network(SIZES, hidden=wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_gradient(net, *case(net))


def test_an_activation_of_your_own() -> None:
    square = Activation(lambda z: z * z, lambda da, z, a: da * 2 * z)
    net = Network(SIZES, hidden=square, l2=0.1)
    assert_gradient(net, *case(net))


@every_output
@every_activation
def test_cost_and_gradient_are_those_of_autograd(hidden, output) -> None:
    """PyTorch's own layers, costs and autograd, with l2 and dropout."""
    torch = pytest.importorskip("torch")
    net = Network(SIZES, hidden=hidden, output=output, l2=0.7, dropout=0.4)
    theta, x, y, masks = case(net)
    leaf = torch.tensor(theta, requires_grad=True)
    parts = net.layout.unpack(leaf)
    a, functional = torch.tensor(x), torch.nn.functional
    for (w, b), mask in zip(parts[:-1], masks, strict=True):
        a = TORCH[hidden](functional, functional.linear(a, w.T, b)) * torch.tensor(mask)
    z = functional.linear(a, parts[-1][0].T, parts[-1][1])
    cost = TORCH_COSTS[output](functional, z, torch.tensor(y)) + 0.7 / (2 * N) * sum((w**2).sum() for w, _ in parts)
    cost.backward()
    got, grad = net.loss_and_grad(theta, x, y, masks)
    assert got == pytest.approx(float(cost.detach()), rel=1e-14)
    np.testing.assert_allclose(grad, leaf.grad.numpy(), rtol=0, atol=1e-14 * np.max(np.abs(grad)))


def test_every_activation_and_loss_has_its_line_here() -> None:
    assert TORCH.keys() == ACTIVATIONS.keys()
    assert TORCH_COSTS.keys() == LOSSES.keys()


ON_EVERY_LIBRARY = [*((hidden, "softmax", "l2") for hidden in ACTIVATIONS)]
ON_EVERY_LIBRARY += [("relu", output, "dropout") for output in LOSSES]


@pytest.mark.parametrize(("hidden", "output", "extras"), ON_EVERY_LIBRARY)
def test_cost_and_gradient_on_every_library(lib, hidden, output, extras) -> None:
    """They are those of NumPy in float64, and keep the dtype of theta."""
    net = Network(SMALL, hidden=hidden, output=output, **EXTRAS[extras])
    theta, x, y, masks = case(net)
    on_lib = lib.call(net.loss_and_grad, lib.put(theta), lib.put(x), lib.put(y), put_masks(lib, masks))
    theta, x, y = rounded(lib, theta, x, y)
    on_numpy = net.loss_and_grad(theta, x, y, masks and rounded(lib, *masks))
    for got, expected in zip(on_lib, on_numpy, strict=True):
        lib.close(got, expected)
        assert str(lib.host(got).dtype) == lib.dtype


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["ordinary", "saturated"])
@pytest.mark.parametrize("hidden", ["relu", "sigmoid", "elu"])
def test_corner_cases_have_finite_correct_gradients(corner, scale, hidden) -> None:
    """Also with weights of -1000 and 1000, where a logarithm of a probability would be infinite."""
    sizes, output, n = CORNERS[corner]
    net = Network(sizes, hidden=hidden, output=output)
    theta, x, y, _ = case(net, n)
    assert_gradient(net, scale * np.sign(theta), x, y)


def test_saturated_outputs_cost_their_distance(lib) -> None:
    """[1, 2] softmax with w = (1000, -1000): cost 2000 for the wrong class, 0 for the right one."""
    net = Network([1, 2])
    theta, x = lib.put([1000.0, -1000.0, 0.0, 0.0]), lib.put([[1.0], [1.0]])
    cost, grad = lib.call(net.loss_and_grad, theta, x, lib.put(np.array([0, 1])))
    assert float(lib.host(cost)) == 1000.0
    assert lib.host(grad).tolist() == [0.5, -0.5, 0.5, -0.5]


def test_forward_shows_what_each_layer_received_and_made() -> None:
    """z = x w + b, a = f(z), the next x = a mask; the last a are the logits themselves."""
    net = Network(SIZES, hidden="tanh", dropout=0.4)
    theta, x, _, masks = case(net)
    layers = net.forward(theta, x, masks)
    received = x
    for layer, (w, b), mask in zip(layers, net.unpack(theta), [*masks, None], strict=True):
        np.testing.assert_array_equal(layer.x, received)
        np.testing.assert_array_equal(layer.w, w)
        np.testing.assert_allclose(layer.z, received @ w + b, rtol=1e-14)
        np.testing.assert_array_equal(layer.a, layer.z if mask is None else np.tanh(layer.z))
        received = layer.a if mask is None else layer.a * mask


# Leading axes, masks, dtypes


@every_output
def test_leading_axes_of_theta_equal_a_loop(lib, output) -> None:
    net, lead = Network(SMALL, hidden="tanh", output=output, l2=0.5, dropout=0.3), (2, 3)
    _, x, y, masks = case(net)
    stack = np.random.default_rng(SEED).normal(size=(*lead, net.size))
    cost, grad = lib.call(net.loss_and_grad, lib.put(stack), lib.put(x), lib.put(y), put_masks(lib, masks))
    flat, x, y = rounded(lib, stack.reshape(-1, net.size), x, y)
    alone = [net.loss_and_grad(theta, x, y, rounded(lib, *masks)) for theta in flat]
    lib.close(cost, np.reshape([c for c, _ in alone], lead))
    lib.close(grad, np.reshape([g for _, g in alone], stack.shape))


def test_predictions_keep_leading_axes_too(lib) -> None:
    net = Network(SMALL)
    stack, x = np.random.default_rng(SEED).normal(size=(2, net.size)), lib.put(case(net)[1])
    alone = [lib.host(net.predict_proba(lib.put(theta), x)) for theta in stack]
    lib.close(lib.call(net.predict_proba, lib.put(stack), x), np.stack(alone))
    assert lib.host(lib.call(net.predict, lib.put(stack), x)).tolist() == np.argmax(alone, axis=-1).tolist()


def test_a_mask_of_none_drops_nothing(lib) -> None:
    """As does a mask of ones, and leaving the masks out."""
    net = Network(SIZES, dropout=(0.5, 0.0))
    theta, x, y, masks = case(net)
    theta, x, y, first = lib.put(theta), lib.put(x), lib.put(y), lib.put(masks[0])
    ones = [lib.put(np.ones((N, units))) for units in SIZES[1:-1]]
    some, full = net.loss_and_grad(theta, x, y, [first, None]), net.loss_and_grad(theta, x, y, [first, ones[1]])
    none, bare = net.loss_and_grad(theta, x, y, ones), net.loss_and_grad(theta, x, y)
    for a, b in ((some, full), (none, bare), (bare, net.loss_and_grad(theta, x, y, [None, None]))):
        lib.close(a[0], lib.host(b[0]))
        lib.close(a[1], lib.host(b[1]))
    assert float(lib.host(some[0])) != float(lib.host(bare[0]))


def test_masks_must_be_one_for_each_hidden_layer() -> None:
    net = Network(SIZES)
    theta, x, y, _ = case(net)
    with pytest.raises(ValueError, match="masks must hold an array for each hidden layer, 2 in all, got 1"):
        net.loss(theta, x, y, [None])


@pytest.mark.parametrize("inputs", [None, Scaling.images, Scaling([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]), Scaling(128.0)])
def test_x_has_one_meaning_whatever_its_dtype(inputs, lib) -> None:
    net = Network([3, 2], inputs=inputs)
    theta = lib.put(case(net)[0])
    pixels, y = np.array([[0, 128, 255], [3, 2, 1]]), lib.put(np.array([0, 1]))

    def cost(x):
        return lib.call(net.loss, theta, x, y)

    scaled = pixels if inputs is None else (pixels - np.array(inputs.shift)) * np.array(inputs.scale)
    expected = lib.host(lib.call(Network([3, 2]).loss, theta, lib.put(scaled * 1.0), y))
    given = lib.put(pixels * 1.0)
    lib.close(cost(given), expected)
    assert np.array_equal(lib.host(given), pixels)
    for dtype in ("uint8", "int32", "int64"):
        lib.close(cost(lib.put(pixels, dtype)), expected)


def test_float32_parameters_give_float32_whatever_x_is(lib) -> None:
    net = Network([3, 2], l2=0.1)
    theta, x, y, _ = case(net)
    cost, grad = lib.call(net.loss_and_grad, lib.put(theta, "float32"), lib.put(x), lib.put(y))
    probabilities = lib.call(net.predict_proba, lib.put(theta, "float32"), lib.put(x))
    assert {str(lib.host(a).dtype) for a in (cost, grad, probabilities)} == {"float32"}


@every_output
def test_arguments_are_left_alone(lib, output) -> None:
    """Bit for bit, by every function of the network."""
    net = Network(SMALL, output=output, l2=0.3, dropout=0.4)
    theta, x, y, masks = case(net)
    theta, x, y, masks = lib.put(theta), lib.put(x), lib.put(y), put_masks(lib, masks)
    before = [lib.host(a).tobytes() for a in (theta, x, y, *masks)]
    net.loss_and_grad(theta, x, y, masks)
    net.loss(theta, x, y, masks)
    net.predict(theta, x)
    net.pack(net.unpack(theta))
    assert [lib.host(a).tobytes() for a in (theta, x, y, *masks)] == before


def test_a_nan_parameter_gives_a_nan_cost(lib) -> None:
    """A net that has diverged must not look like one whose units are off."""
    net = Network(SMALL)
    theta, x, y, _ = case(net)
    theta[0] = math.nan
    assert math.isnan(float(lib.host(lib.call(net.loss, lib.put(theta), lib.put(x), lib.put(y)))))


# Predictions


def test_predictions_have_the_shapes_of_their_outputs(lib) -> None:
    x = lib.put(np.random.default_rng(SEED).normal(size=(4, 3)))
    shapes = {
        ("softmax", 2): ((4, 2), (4,)),
        ("sigmoid", 1): ((4,), (4,)),
        ("sigmoid", 2): ((4, 2), (4, 2)),
        ("linear", 1): ((4, 1), (4, 1)),
    }
    for (output, k), expected in shapes.items():
        net = Network([3, 5, k], output=output)
        theta = lib.put(net.initialize(dtype="float64"))
        assert (net.predict_proba(theta, x).shape, net.predict(theta, x).shape) == expected


def test_predictions_follow_the_probabilities(lib) -> None:
    """[1, k] nets whose probabilities are known by hand."""
    x = lib.put([[-1.0], [1.0]])
    softmax, sigmoid = Network([1, 2]), Network([1, 1], output="sigmoid")
    third = lib.put([0.0, math.log(2), 0.0, 0.0])
    lib.close(softmax.predict_proba(third, x), [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    assert lib.host(softmax.predict(third, x)).tolist() == [0, 1]
    lib.close(sigmoid.predict_proba(lib.put([math.log(3), 0.0]), x), [0.25, 0.75])
    assert lib.host(sigmoid.predict(lib.put([math.log(3), 0.0]), x)).tolist() == [0, 1]
    linear = Network([1, 1], output="linear")
    assert lib.host(linear.predict(lib.put([2.0, 1.0]), x)).tolist() == [[-1.0], [3.0]]


# Parameters


def test_names_shapes_and_size() -> None:
    net = Network([784, 256, 10])
    assert net.names == ["W1", "W2", "b1", "b2"]
    assert net.shapes == [(784, 256), (256, 10), (256,), (10,)]
    assert net.size == 784 * 256 + 256 * 10 + 256 + 10


def test_network_packs_and_unpacks_as_its_layout() -> None:
    net = Network(SIZES)
    theta = case(net)[0]
    parts = net.unpack(theta)
    assert [(w.shape, b.shape) for w, b in parts] == [((3, 4), (4,)), ((4, 3), (3,)), ((3, 2), (2,))]
    assert net.pack(parts).tolist() == theta.tolist()


# Errors


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([[3]], {}, ValueError, r"sizes must hold at least an input and an output size, got \[3\]"),
        ([[3, 0]], {}, ValueError, "sizes must be at least 1, got 0"),
        ([[3, 2.0]], {}, TypeError, r"sizes must hold integers.*got \[3, 2.0\]"),
        ([7], {}, TypeError, "sizes must hold integers.*got 7"),
        ([[3, True]], {}, TypeError, "sizes must hold integers"),
        ([[3, 2]], {"hidden": "rleu"}, ValueError, "hidden must be one of .*got 'rleu'; did you mean 'relu'"),
        ([[3, 2]], {"hidden": np.tanh}, TypeError, "hidden must be one of .*tanh"),
        ([[3, 2]], {"output": "sofmax"}, ValueError, "output must be one of .*did you mean 'softmax'"),
        ([[3, 2]], {"init": "hee"}, ValueError, "init must be one of .*did you mean 'he'"),
        ([[3, 2]], {"init": -1.0}, ValueError, "init must be finite and at least 0, got -1.0"),
        ([[3, 2]], {"l2": math.nan}, ValueError, "l2 must be finite and at least 0, got nan"),
        ([[3, 2]], {"l2": "0.1"}, TypeError, "l2 must be a number, got '0.1'"),
        ([[3, 4, 2]], {"dropout": 1.0}, ValueError, r"dropout must be finite and in \[0, 1\), got 1.0"),
        ([[3, 4, 2]], {"dropout": [0.1, 0.2]}, ValueError, r"dropout must be one number or one for each of 1 hidden"),
    ],
)
def test_wrong_fields_are_refused(arguments, options, error, message) -> None:
    with pytest.raises(error, match=message):
        Network(*arguments, **options)


def test_options_are_keyword_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        Network([3, 2], "relu")


def test_wrong_shapes_are_refused() -> None:
    net = Network([3, 2])
    theta, x, y = np.zeros(8), np.zeros((4, 3)), np.zeros(4, dtype=int)
    with pytest.raises(ValueError, match=r"theta must hold 8 parameters on its last axis, got shape \(7,\)"):
        net.loss(theta[:7], x, y)
    for bad in (x[:, :2], x[0], x[:0]):
        with pytest.raises(ValueError, match=r"x must have shape \(n, 3\).*got shape"):
            net.loss(theta, bad, y)
    with pytest.raises(ValueError, match=r"y must be labels \(4,\) or one-hot rows \(4, 2\), got shape \(3,\)"):
        net.loss(theta, x, y[:3])
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got 'float16'"):
        net.initialize(0, "float16")


def test_arrays_of_two_libraries_are_refused() -> None:
    jax = pytest.importorskip("jax")
    net = Network([3, 2])
    theta, x, y = np.zeros(8), np.zeros((4, 3)), np.zeros(4, dtype=int)
    with pytest.raises(TypeError, match=r"expected arrays of one library: theta is a numpy.ndarray, x is a jax"):
        net.loss(theta, jax.numpy.asarray(x), y)
    with pytest.raises(TypeError, match=r"expected arrays of one library: x is a numpy.ndarray, y is a builtins.list"):
        net.loss(theta, x, [0, 1, 0, 1])


# A loss of your own


@pytest.mark.parametrize("k", [1, 2])
def test_a_loss_of_your_own(k) -> None:
    """log cosh(z - y), whose derivative tanh(z - y) is not p - y."""
    log_cosh = Loss(lambda s, y: np.sum(np.log(np.cosh(s - y)), axis=-1), lambda s, p, y: np.tanh(s - y))
    net, named = (Network([3, 4, k], output=output, l2=0.7, dropout=0.4) for output in (log_cosh, "linear"))
    theta, x, y, masks = case(named)
    got, grad = net.loss_and_grad(theta, x, y, masks)
    layers = net.forward(theta, x, masks)
    penalty = named.loss(theta, x, y, masks) - named.head.value(layers[-1].z, y).mean()
    assert got == pytest.approx(np.log(np.cosh(layers[-1].z - y)).sum(axis=1).mean() + penalty, rel=1e-14)
    np.testing.assert_allclose(grad, complex_step(net, theta, x, y, masks), rtol=0, atol=1e-14)
    assert net.head is log_cosh
    assert np.array_equal(net.predict(theta, x), named.predict(theta, x))


def test_a_single_output_of_your_own_that_tells_two_classes_apart_is_flat() -> None:
    twice = binary._replace(cost=lambda s, y: 2 * binary.cost(s, y), derivative=lambda s, p, y: 2 * (p - y))
    net, named = (Network([3, 4, 1], output=output) for output in (twice, "sigmoid"))
    theta, x, y, _ = case(named)
    assert net.predict_proba(theta, x).tolist() == named.predict_proba(theta, x).tolist()
    assert net.predict(theta, x).tolist() == named.predict(theta, x).tolist()
    cost, grad = named.loss_and_grad(theta, x, y)
    doubled = net.loss_and_grad(theta, x, y)
    assert doubled[0] == pytest.approx(2 * cost, rel=1e-14)
    np.testing.assert_allclose(doubled[1], 2 * grad, rtol=1e-14, atol=1e-16)


MIXED = ("tanh", "leaky_relu:0.2", Activation(lambda z: z * z, lambda da, z, a: 2 * z * da))


def test_each_hidden_layer_may_have_its_own_activation(lib) -> None:
    net = Network([4, 5, 6, 3, 2], hidden=MIXED, l2=0.1, dropout=0.3)
    theta, x, y, masks = case(net)
    assert_gradient(net, theta, x, y, masks)
    given = lib.put(theta), lib.put(x), lib.put(y), put_masks(lib, masks)
    layers = lib.call(lambda *given: [tuple(layer) for layer in net.forward(*given)], given[0], given[1])
    zs = [lib.host(z) for _, _, z, _ in layers]
    functions = [np.tanh, lambda z: np.where(z > 0, z, 0.2 * z), lambda z: z * z, lambda z: z]
    for function, z, (_, _, _, a) in zip(functions, zs, layers, strict=True):
        lib.close(a, function(z), scale=10)
    assert net.activations[1] == xpdl.activations.leaky_relu(0.2)


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        (["relu"], "hidden must be one activation or one for each of 2 hidden layers, got 1"),
        (["relu", "rely"], "hidden must be one of .*; did you mean 'relu'"),
        (["relu", 3], "hidden must be one of"),
        ("leaky_relu:x", "hidden must have a number behind 'leaky_relu:'"),
        (3, "hidden must be one of"),
    ],
)
def test_wrong_activations_are_refused(hidden, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Network([3, 4, 4, 2], hidden=hidden)


def test_what_has_a_name_is_known_by_it() -> None:
    """So it can be saved, and a step need not be compared with its Python function."""
    net = Network([3, 4, 2], hidden=xpdl.activations.elu(0.5), output=losses.huber(2))
    assert (net.hidden, net.output) == ("elu:0.5", "huber:2.0")
    assert net == Network([3, 4, 2], hidden="elu:0.5", output="huber:2.0")
    assert net.head == losses.huber(2)


@pytest.mark.parametrize("output", [name for name in LOSSES if LOSSES[name].per_output])
def test_outputs_of_weight_0_are_missing(output, lib) -> None:
    """Cost and gradient are those of samples of one output each, all put together."""
    net, rng = Network(SMALL, output=output, l2=0.7, dropout=0.4), np.random.default_rng(0)
    theta, x, y, masks = case(net)
    weight = rng.integers(0, 3, y.shape) * 1.0
    assert_gradient(net, theta, x, y, masks, weight)
    given = *map(lib.put, (theta, x, y)), put_masks(lib, masks), lib.put(weight)
    cost, grad = lib.call(lambda *given: net.loss_and_grad(*given), *given)
    lib.close(lib.call(lambda *given: net.loss(*given), *given), lib.host(cost))
    z = net.forward(theta, x, masks)[-1].z
    each = np.stack([net.head.value(z[:, [j]], y[:, [j]]) for j in range(y.shape[1])], axis=1)
    n = weight.sum() / y.shape[1]
    w = theta[: net.layout.n_weights]
    lib.close(cost, (weight * each).sum() / n + 0.7 / (2 * n) * (w * w).sum(), scale=10)
    lib.close(grad, net.loss_and_grad(theta, x, y, masks, weight)[1], scale=10)


@pytest.mark.parametrize("weight", [np.ones((N, 1)), np.ones((N, 99)), np.ones(N + 1), np.ones((N, 2, 1))])
def test_weights_of_another_shape_are_refused(weight) -> None:
    net = Network([3, 2], output="linear")
    theta, x, y, _ = case(net)
    with pytest.raises(
        ValueError, match=r"weight must have shape \(\d+,\), one for each sample or \(\d+, 2\), one for each of"
    ):
        net.loss(theta, x, y, weight=weight)
    with pytest.raises(ValueError, match=r"weight must have shape \(\d+,\), one for each sample, got"):
        Network([3, 2]).loss(theta, x, np.zeros(N, int), weight=np.ones((N, 2)))


@every_output
@pytest.mark.parametrize("inputs", [None, Scaling([1.0, -2.0, 3.0, 0.5], 0.3)])
def test_input_gradient_is_the_derivative_in_x(output, inputs, lib) -> None:
    net = Network([4, 5, 3], hidden="tanh", output=output, l2=0.1, inputs=inputs)
    theta, x, y, _ = case(net)
    expected = np.stack(
        [net.loss(theta.astype(complex), x + 1e-30j * step.reshape(x.shape), y).imag / 1e-30 for step in np.eye(x.size)]
    ).reshape(x.shape)
    lib.close(lib.call(net.input_gradient, *map(lib.put, (theta, x, y))), expected, scale=10)
    stacked = net.input_gradient(np.stack([theta, theta]), x, y)
    np.testing.assert_allclose(stacked, np.stack([expected, expected]), rtol=1e-9, atol=1e-12)


def test_input_gradient_has_weights() -> None:
    net = Network([4, 5, 3], hidden="tanh", output="linear")
    theta, x, y, _ = case(net)
    for weight in (np.arange(N) * 1.0, np.random.default_rng(0).uniform(size=(N, 3))):
        assert xpdl.check_gradient(
            lambda x, w=weight: net.loss(theta, x, y, None, w),
            lambda x, w=weight: net.input_gradient(theta, x, y, w),
            x,
        )


def test_hidden_features_are_what_the_output_layer_gets(lib) -> None:
    net = Network([4, 5, 3, 2], hidden="tanh", dropout=0.5, inputs=Scaling(2.0, 0.5))
    theta, x, _, _ = case(net)
    features = lib.call(net.hidden_features, lib.put(theta), lib.put(x))
    assert features.shape == (N, 3)
    w, b = net.unpack(theta)[-1]
    lib.close(
        lib.call(net.predict_proba, lib.put(theta), lib.put(x)), net.head.predict(lib.host(features) @ w + b), scale=10
    )
    lib.close(Network([4, 2], inputs=net.inputs).hidden_features(lib.put(np.zeros(10)), lib.put(x)), (x - 2) / 2)


@pytest.mark.parametrize(("output", "k"), [("softmax", 3), ("softmax", 1), ("sigmoid", 3), ("sigmoid", 1)])
def test_log_proba_is_the_logarithm_and_finite(output, k, lib) -> None:
    net = Network([4, 5, k], hidden="tanh", output=output)
    theta, x, _, _ = case(net)
    given = lib.put(theta), lib.put(x)
    log_p, p = (lib.host(lib.call(f, *given)) for f in (net.log_proba, net.predict_proba))
    assert log_p.shape == p.shape
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-4)
    assert np.isfinite(lib.host(lib.call(net.log_proba, lib.put(1e4 * theta), lib.put(x)))).all()


def test_values_have_no_log_proba() -> None:
    net = Network([1, 1], output="poisson")
    with pytest.raises(ValueError, match="output 'poisson' gives values, which are no probabilities"):
        net.log_proba(np.zeros(2), np.zeros((1, 1)))
