"""check_backends: right libraries are never accused, and a backend that raises has failed by itself."""

from itertools import product
import json

import numpy as np
import pytest

import xpdl
from xpdl import Loss, Network, Scaling
from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.parity import check_backends

READY = [name for name, state in xpdl.available_backends().items() if state == "ready"]


EAGER = [name for name in READY if xpdl.backend(name).eager]


def random_case(seed, scale=1.0):
    """A network over all activations, outputs, L2 and dropout, with samples; scale > 1 saturates it."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 10, rng.integers(2, 6))]
    hidden, output = str(rng.choice(list(ACTIVATIONS))), str(rng.choice(["softmax", "sigmoid", "linear"]))
    net = Network(sizes, hidden=hidden, output=output, l2=float(rng.choice([0.0, 0.1])))
    theta = scale * net.initialize(seed, "float64") + rng.choice([0.0, 0.1]) * rng.standard_normal(net.size)
    n, k = int(rng.choice([1, 2, 30, 100])), sizes[-1]
    y = {
        "softmax": rng.integers(0, k, n),
        "sigmoid": rng.integers(0, 2, (n, k)),
        "linear": rng.standard_normal((n, k)),
    }[output]
    masks = [(rng.random((n, units)) < 0.7) / 0.7 for units in sizes[1:-1]] if rng.random() < 0.5 else None
    return net, theta, rng.standard_normal((n, sizes[0])), y, masks


@pytest.mark.parametrize(("scale", "dtype"), list(product([0.01, 1.0, 30.0], ["float32", "float64"])))
def test_no_library_is_accused(scale, dtype) -> None:
    """The networks have all activations and outputs, L2, dropout, batches of one sample, and saturated units."""
    for seed in range(40):
        net, theta, x, y, masks = random_case(seed, scale)
        report = check_backends(net, theta, x, y, masks=masks, dtype=dtype, backends=EAGER)
        assert report, f"seed {seed}\n{report}"
        assert list(report.backends) == EAGER


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_that_are_ready_are_compared_and_none_is_accused(dtype, small) -> None:
    """The test uses one small network, because JAX compiles every operation for every shape."""
    (net, theta, x, y), masks = small(sizes=(3, 3, 3), l2=0.1)
    report = check_backends(net, theta, x[:3], y[:3], masks=[mask[:3] for mask in masks], dtype=dtype)
    assert report, str(report)
    assert list(report.backends) == READY


@pytest.mark.parametrize(("theta", "x"), list(product([0.0, 0.013, -0.017], [1.0, 0.1])))
def test_errors_that_add_up_are_not_accused(theta, x) -> None:
    """With constant weights, inputs and labels, every addition rounds in the same direction."""
    net = Network([784, 20, 3], hidden="relu", output="linear", l2=0.1)
    values = np.full(net.size, theta)
    report = check_backends(net, values, np.full((1000, 784), x), np.full((1000, 3), 0.7), backends=EAGER)
    assert report, str(report)


def test_pre_activations_within_rounding_of_a_kink_are_not_accused() -> None:
    """z is 0 up to rounding, so a unit may be on in one library and off in another."""
    net = Network([50, 40, 30, 3])
    rng = np.random.default_rng(2)
    w = rng.standard_normal((25, 40))
    theta = net.initialize(2, "float64")
    theta[:2000] = np.concatenate([w, -w]).ravel()
    half = rng.standard_normal((60, 25))
    report = check_backends(net, theta, np.concatenate([half, half], axis=1), rng.integers(0, 3, 60), backends=EAGER)
    assert report, str(report)


def test_images_are_scaled() -> None:
    net = Network([9, 4, 3], inputs=Scaling.images)
    x = np.random.default_rng(0).integers(0, 256, (5, 9), dtype=np.uint8)
    assert check_backends(net, net.initialize(), x, np.zeros(5, int), backends=EAGER)


def test_a_device_without_float64_computes_in_float32_and_says_so(small) -> None:
    pytest.importorskip("array_api_strict")
    arguments, masks = small()
    names = ["array_api_strict:no_float64", "numpy"]
    report = check_backends(*arguments, masks=masks, dtype="float64", backends=names)
    assert report, str(report)
    assert [result.precision for result in report.backends.values()] == ["float32", "float64"]
    assert "array_api_strict:no_float64: has no float64: checked in float32" in str(report)


def test_a_backend_that_raises_has_failed_and_the_others_are_compared(small, faulty) -> None:
    def fault(given, right, call):
        raise RuntimeError("out of memory")

    arguments, _ = small()
    report = check_backends(*arguments, backends=["numpy", faulty("matmul", fault)])
    assert [result.verdict for result in report.backends.values()] == ["PASS", "FAIL"]
    assert "faulty: cannot compute this: RuntimeError: out of memory" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["backends"]["faulty"]["worst"] is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": [2, 3]}, TypeError, "net must be an xpdl.Network"),
        ({"theta": np.zeros(3)}, ValueError, "theta must have shape"),
        (
            {"theta": np.full(26, 1e30)},
            ValueError,
            "theta must give finite logits for x in float32, got NaN or infinity",
        ),
        ({"x": np.full((30, 3), np.nan)}, ValueError, "x must be finite"),
        ({"y": np.full(30, 2)}, ValueError, "y must be labels 0..1"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64, got 'float16'"),
        ({"masks": []}, ValueError, "masks must hold an array for each hidden layer, 1 in all, got 0"),
        ({"masks": 5}, ValueError, "masks must hold an array for each hidden layer, 1 in all, got 5"),
        ({"backends": "numpy"}, TypeError, "backends must be a list of names or backends, got 'numpy'"),
        ({"backends": 3}, TypeError, "backends must be a list of names or backends, got 3"),
        ({"backends": []}, ValueError, "backends must hold at least one"),
        ({"backends": ["numpy", "numpy"]}, ValueError, "none twice, got .'numpy', 'numpy'"),
        ({"backends": ["nunpy"]}, ValueError, "did you mean 'numpy'"),
    ],
)
def test_bad_input_is_named(change, error, message) -> None:
    rng = np.random.default_rng(0)
    net = Network([3, 4, 2])
    given = {"net": net, "theta": net.initialize(), "x": rng.random((30, 3)), "y": rng.integers(0, 2, 30)}
    with pytest.raises(error, match=message):
        check_backends(**(given | change))


def test_a_loss_of_your_own_is_compared() -> None:
    """A right loss passes; if its derivative loses digits, the first quantity that diverges is dz of the last layer."""

    def error(s, p, y):
        return np.tanh(s - y)

    def coarse(s, p, y):
        return error(s, p, y) if s.dtype == np.float64 else error(s, p, y).astype("float16").astype(s.dtype)

    right = Loss(lambda s, y: np.sum(np.log(np.cosh(s - y)), axis=-1), error)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    nets = [Network([4, 5, 2], output=loss) for loss in (right, right._replace(derivative=coarse))]
    found = [check_backends(net, net.initialize(), x, y, backends=["numpy"]).backends["numpy"] for net in nets]
    assert [(result.verdict, result.first) for result in found] == [("PASS", None), ("FAIL", "dz2")]
