"""check_backends: right libraries pass, and what a wrong one gets wrong is named, there and nowhere else."""

from dataclasses import dataclass, replace
from itertools import product
import json
import math

import numpy as np
import pytest

import xpdl
from xpdl import Activation, Loss, Network
from xpdl.activations import ACTIVATIONS
from xpdl.backends import Backend
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


def small(hidden="tanh", sizes=(6, 5, 5, 3), **options):
    """A network with samples, and its masks."""
    rng = np.random.default_rng(1)
    net = Network(sizes, hidden=hidden, **options)
    masks = [(rng.random((20, units)) < 0.7) / 0.7 for units in sizes[1:-1]]
    return (net, net.initialize(1), rng.standard_normal((20, sizes[0])), rng.integers(0, 3, 20)), masks


@dataclass(frozen=True)
class Faulty(Backend):
    """NumPy, in which one operation is another: fault(what it was given, its result, its how many-eth call)."""

    operation: str = ""
    fault: object = None

    def asarray(self, x, dtype=None, *, copy=None):
        """An array that sends every operation through ``fault``."""
        return super().asarray(x, dtype, copy=True).view(self.arrays)

    @property
    def arrays(self):
        """The type of its arrays."""
        return self.__dict__.setdefault("type", array_type(self.operation, self.fault))


def array_type(operation, fault):
    """A type of NumPy arrays in which one ufunc is wrong."""

    class Tampered(np.ndarray):
        calls = -1

        def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
            plain = [np.asarray(value) if isinstance(value, np.ndarray) else value for value in inputs]
            right = getattr(ufunc, method)(*plain, **options)
            if ufunc.__name__ == operation and method == "__call__":
                Tampered.calls += 1
                right = fault(plain, right, Tampered.calls)
            if out is None:
                return right.view(Tampered) if isinstance(right, np.ndarray) else right
            np.copyto(np.asarray(out[0]), right)
            return out[0]

    return Tampered


def faulty(operation, fault, name="faulty"):
    sound = xpdl.backend("numpy")
    return Faulty(name, sound.xp, "cpu", to_numpy=np.asarray, activate=sound.activate, operation=operation, fault=fault)


def rounded(x, bits):
    """float32 with so many bits of mantissa, to nearest even."""
    words, drop = np.ascontiguousarray(x, np.float32).view(np.uint32), 23 - bits
    half = np.uint32((1 << (drop - 1)) - 1) + ((words >> np.uint32(drop)) & np.uint32(1))
    return ((words + half) & np.uint32(0xFFFFFFFF ^ ((1 << drop) - 1))).view(np.float32)


def multiplies(bits, least=0):
    """A backend whose products of at least ``least`` terms round their factors."""

    def fault(given, right, call):
        return right if given[0].shape[-1] < least else rounded(given[0], bits) @ rounded(given[1], bits)

    return faulty("matmul", fault)


# --- right libraries are never accused


@pytest.mark.parametrize(("scale", "dtype"), list(product([0.01, 1.0, 30.0], ["float32", "float64"])))
def test_no_library_is_accused(scale, dtype) -> None:
    """All activations, outputs, L2 and dropout, batches of one, saturated networks."""
    for seed in range(40):
        net, theta, x, y, masks = random_case(seed, scale)
        report = check_backends(net, theta, x, y, masks=masks, dtype=dtype, backends=EAGER)
        assert report, f"seed {seed}\n{report}"
        assert list(report.backends) == EAGER


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_that_are_ready_are_compared_and_none_is_accused(dtype) -> None:
    """One small network: JAX compiles every operation anew for every shape."""
    (net, theta, x, y), masks = small(sizes=(3, 3, 3), l2=0.1)
    report = check_backends(net, theta, x[:3], y[:3], masks=[mask[:3] for mask in masks], dtype=dtype)
    assert report, str(report)
    assert list(report.backends) == READY


@pytest.mark.parametrize(("theta", "x"), list(product([0.0, 0.013, -0.017], [1.0, 0.1])))
def test_errors_that_add_up_are_not_accused(theta, x) -> None:
    """Constant weights, inputs and labels: every addition rounds in the same direction."""
    net = Network([784, 20, 3], hidden="relu", output="linear", l2=0.1)
    values = np.full(net.size, theta)
    report = check_backends(net, values, np.full((1000, 784), x), np.full((1000, 3), 0.7), backends=EAGER)
    assert report, str(report)


def test_pre_activations_within_rounding_of_a_kink_are_not_accused() -> None:
    """z is 0 but for rounding, so that units are on in one library and off in another."""
    net = Network([50, 40, 30, 3])
    rng = np.random.default_rng(2)
    w = rng.standard_normal((25, 40))
    theta = net.initialize(2, "float64")
    theta[:2000] = np.concatenate([w, -w]).ravel()
    half = rng.standard_normal((60, 25))
    report = check_backends(net, theta, np.concatenate([half, half], axis=1), rng.integers(0, 3, 60), backends=EAGER)
    assert report, str(report)


def test_images_are_scaled() -> None:
    net = Network([9, 4, 3])
    x = np.random.default_rng(0).integers(0, 256, (5, 9), dtype=np.uint8)
    assert check_backends(net, net.initialize(), x, np.zeros(5, int), backends=EAGER)


def test_what_is_computed_is_loss_and_grad() -> None:
    (net, theta, x, y), masks = small(l2=0.1)
    x = x.astype(np.float32)
    masks = [mask.astype(np.float32) for mask in masks]
    grad = net.loss_and_grad(theta, x, y, masks)[1]
    result = check_backends(net, theta, x, y, masks=masks, backends=["numpy"]).backends["numpy"]
    for l, (dw, db) in enumerate(net.unpack(grad), 1):
        assert np.array_equal(result.quantities[f"dw{l}"].analytic, dw)
        assert np.array_equal(result.quantities[f"db{l}"].analytic, db)
    assert 0 < result.difference < 1e-6


# --- what is wrong is named, and nothing else


PRODUCTS = ["z1", "z2", "z3", "dw3", "da2", "dw2", "da1", "dw1"]
"""In the order of computation."""


@pytest.mark.parametrize(("place", "dtype"), list(product(range(8), ["float32", "float64"])))
def test_one_wrong_entry_of_a_product_is_named(place, dtype) -> None:
    def fault(given, right, call):
        if call == place:
            right[1, 2] *= 1.01
        return right

    (net, theta, x, y), masks = small()
    report = check_backends(net, theta, x, y, masks=masks, dtype=dtype, backends=["numpy", faulty("matmul", fault)])
    result = report.backends["faulty"]
    assert not report
    assert result.diverging == [PRODUCTS[place]]
    assert (result.quantities[result.first].worst.index, result.quantities[result.first].failing) == ((1, 2), 1)
    assert report.backends["numpy"].verdict == "PASS"


@pytest.mark.parametrize("place", [3, 5])
def test_a_transposed_dw_is_named(place) -> None:
    fault = lambda given, right, call: right.T.copy() if call == place else right  # noqa: E731
    arguments, _ = small(sizes=(5, 5, 3, 3))
    assert check_backends(*arguments, backends=[faulty("matmul", fault)]).backends["faulty"].diverging == [
        PRODUCTS[place]
    ]


@pytest.mark.parametrize(("call", "named"), [(0, "x2"), (1, "x3")])
def test_a_mask_that_is_dropped_is_named(call, named) -> None:
    fault = lambda given, right, now: given[0].copy() if now == call else right  # noqa: E731
    arguments, masks = small("relu")
    result = check_backends(*arguments, masks=masks, backends=[faulty("multiply", fault)]).backends["faulty"]
    assert result.diverging == [named]


FUNCTIONS = [  # activation, operation, fault of its result, what is wrong by itself
    ("tanh", "tanh", lambda a: a * np.float32(1.001), ["a1", "a2"]),
    ("sigmoid", "tanh", lambda a: a + np.float32(1e-3), ["a1", "a2"]),
    ("relu", "maximum", lambda a: a + np.float32(1e-6), ["a1", "a2"]),
    ("relu", "greater", lambda a: ~a, ["dz2", "dz1"]),
    ("relu", "exp", lambda a: a * np.float32(1.0001), ["cost"]),  # p = exp(z - log of a sum of exp): there it cancels
    ("relu", "log", lambda a: a + np.float32(1e-4), ["cost", "dz3"]),
]


@pytest.mark.parametrize(("hidden", "operation", "change", "wrong"), FUNCTIONS)
def test_a_wrong_function_is_named(hidden, operation, change, wrong) -> None:
    arguments, masks = small(hidden)
    other = faulty(operation, lambda given, right, call: change(right))
    assert check_backends(*arguments, masks=masks, backends=[other]).backends["faulty"].diverging == wrong


def test_a_fault_does_not_hide_another() -> None:
    def fault(given, right, call):
        return right * np.float32(1.01) if call in (0, 2, 6) else right

    arguments, _ = small()
    report = check_backends(*arguments, backends=[faulty("matmul", fault)])
    assert report.backends["faulty"].diverging == ["z1", "z3", "da1"]
    assert "wrong by themselves too: z3, da1" in str(report)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_where_it_comes_up(value) -> None:
    def fault(given, right, call):
        if call == 1:
            right[0, 0] = value
        return right

    arguments, _ = small("relu")
    result = check_backends(*arguments, backends=[faulty("matmul", fault)]).backends["faulty"]
    assert (result.verdict, result.diverging, result.worst) == ("FAIL", ["z2"], math.inf)


# --- precision


@pytest.mark.parametrize(("bits", "name"), [(7, "bfloat16"), (10, "TF32"), (16, "16-bit"), (22, "22-bit")])
def test_reduced_precision_is_named(bits, name) -> None:
    for sizes in ([3, 4, 2], [784, 128, 10], [2, 1]):
        net = Network(sizes, output="linear")
        rng = np.random.default_rng(0)
        x, y = rng.random((1 + len(sizes), sizes[0])), rng.random((1 + len(sizes), sizes[-1]))
        report = check_backends(net, net.initialize(), x, y, backends=[multiplies(bits), "numpy"])
        result = report.backends["faulty"]
        assert set(result.bits.values()) == {bits}
        assert (result.verdict, result.first) == ("FAIL", "z1")
        assert set(report.backends["numpy"].bits.values()) == {23}
        line = next(line for line in str(report).splitlines() if "reduced precision" in line)
        assert name in line
        assert "numpy" not in line
        assert f"faulty: in a compiled step, as train runs it, products keep {bits} bits" in str(report)


def test_tf32_is_seen_in_the_values_too() -> None:
    net = Network([784, 256, 10])
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 784)), rng.integers(0, 10, 32)
    result = check_backends(net, net.initialize(), x, y, backends=[multiplies(10)]).backends["faulty"]
    failing = [name for name, quantity in result.quantities.items() if quantity.failing]
    assert failing == result.diverging == ["z1", "z2", "dw2", "da1", "dw1"]


def test_products_that_are_reduced_in_some_sizes_only_are_named() -> None:
    net = Network([100, 8, 3])
    rng = np.random.default_rng(0)
    report = check_backends(
        net, net.initialize(), rng.random((20, 100)), rng.integers(0, 3, 20), backends=[multiplies(10, least=50)]
    )
    result = report.backends["faulty"]
    assert result.reduced == result.diverging == ["z1"]
    assert result.bits == {"z1": 10, "dw1": 23, "z2": 23, "dw2": 23, "da1": 23}
    assert "multiplies float32 in reduced precision: 10-bit mantissa (TF32 or float16), in z1" in str(report)


def test_a_compiled_step_may_be_more_precise() -> None:
    reduced = [True]

    def compiled(step):
        def run(*arguments):
            reduced[0] = False
            try:
                return step(*arguments)
            finally:
                reduced[0] = True

        return run

    def fault(given, right, call):
        return rounded(given[0], 10) @ rounded(given[1], 10) if reduced[0] else right

    arguments, _ = small()
    report = check_backends(*arguments, backends=[replace(faulty("matmul", fault), compile=compiled)])
    assert "faulty: in a compiled step, as train runs it, products keep 23 bits" in str(report)


def test_float64_that_is_float32_is_named() -> None:
    def fault(given, right, call):
        return (given[0].astype(np.float32) @ given[1].astype(np.float32)).astype(np.float64)

    arguments, _ = small()
    result = check_backends(*arguments, dtype="float64", backends=[faulty("matmul", fault)]).backends["faulty"]
    assert result.first == "z1"
    assert result.products == "23-bit mantissa (float32)"


def test_a_device_without_float64_computes_in_float32_and_says_so() -> None:
    pytest.importorskip("array_api_strict")
    arguments, masks = small()
    names = ["array_api_strict:no_float64", "numpy"]
    report = check_backends(*arguments, masks=masks, dtype="float64", backends=names)
    assert report, str(report)
    assert [result.precision for result in report.backends.values()] == ["float32", "float64"]
    assert "array_api_strict:no_float64: has no float64: checked in float32" in str(report)


# --- reports and errors


def test_a_backend_that_raises_has_failed_and_the_others_are_compared() -> None:
    def fault(given, right, call):
        raise RuntimeError("out of memory")

    arguments, _ = small()
    report = check_backends(*arguments, backends=["numpy", faulty("matmul", fault)])
    assert [result.verdict for result in report.backends.values()] == ["PASS", "FAIL"]
    assert "faulty: cannot compute this: RuntimeError: out of memory" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["backends"]["faulty"]["worst"] is None


def test_a_report_is_a_table_a_truth_value_and_json() -> None:
    def fault(given, right, call):
        if call == 1:
            right[17, 4] = -0.5
        return right

    arguments, _ = small()
    report = check_backends(*arguments, backends=["numpy", faulty("matmul", fault)])
    assert (report.verdict, bool(report)) == ("FAIL", False)
    lines = str(report).splitlines()
    assert lines[0] == "FAIL  1 of 2 backends agree with float64 to rounding"
    assert lines[2].split() == ["backend", "verdict", "precision", "error/bar", "difference", "first", "products"]
    assert lines[3].split()[:3] == ["numpy", "PASS", "float32"]
    assert lines[4].split()[5] == "z2"
    assert (
        "faulty: first divergence: z2 (layer 2, pre-activation), sample 17, unit 4: faulty -0.5, float64 " in lines[6]
    )
    assert lines[6].endswith("; 1 of 100 entries wrong")
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["verdict"] == "FAIL"
    found = document["backends"]["faulty"]
    assert (found["first"], found["diverging"], found["reduced"]) == ("z2", ["z2"], [])
    assert found["quantities"]["z2"]["worst"]["index"] == [17, 4]
    assert list(found["quantities"])[:4] == ["x1", "z1", "a1", "x2"]


def test_an_activation_of_your_own_is_checked() -> None:
    """softsign, and hard sigmoid with its bends away from 0."""
    softsign = Activation(lambda z: z / (1 + abs(z)), lambda da, z, a: da * (1 - abs(a)) * (1 - abs(a)))
    ramp = Activation(
        lambda z: (0.2 * z + 0.5) * (abs(z) < 2.5) + 1.0 * (z >= 2.5), lambda da, z, a: 0.2 * da * (abs(z) < 2.5)
    )
    for own in (softsign, ramp):
        (net, theta, x, y), masks = small(own)
        report = check_backends(net, 3 * theta, x, y, masks=masks, backends=["numpy"])
        assert report, str(report)


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


# --- losses of your own


def test_a_loss_of_your_own_is_compared() -> None:
    """A right one passes; one whose derivative loses digits diverges in the dz of the last layer first."""

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
