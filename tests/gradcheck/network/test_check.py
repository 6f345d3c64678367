"""check_network: right code passes, wrong code fails, and what cannot be told is said to be so."""

from itertools import product
import json

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network import check_network


@pytest.mark.parametrize(("scale", "dtype"), list(product([1.0, 0.01, 30.0, 1000.0], ["float64", "float32"])))
def test_no_random_network_is_accused(scale, dtype, random_case) -> None:
    """All activations and outputs, L2, dropout, batches of one sample; saturated networks may be inconclusive."""
    for seed in range(100):
        net, theta, x, y, masks = random_case(seed, scale)
        report = check_network(net, theta, x, y, masks=masks, dtype=dtype)
        assert report.verdict == "PASS" or (scale != 1 and report.verdict == "INCONCLUSIVE"), f"seed {seed}\n{report}"


def test_no_network_is_accused_on_any_library(lib, random_case) -> None:
    if lib.jitted:
        pytest.skip("a check is not traced")
    for seed in range(12 if lib.backend.eager else 3):
        net, theta, x, y, masks = random_case(seed)
        given = [lib.put(theta), lib.put(x), lib.put(np.asarray(y))]
        report = check_network(net, *given, masks=masks and [lib.put(mask) for mask in masks], dtype=lib.dtype)
        assert report, f"seed {seed}\n{report}"
        assert report.precision == lib.dtype


def test_a_dead_layer_passes() -> None:
    """All layers below it have the gradient 0 in both gradients."""
    net = Network([3, 4, 2])
    theta = net.initialize(0, "float64")
    theta[net.layout.slices[2]] = -100
    report = check_network(net, theta, np.ones((5, 3)), np.zeros(5, int))
    assert report
    assert report.parameters["W1"].worst.numeric == 0


def test_a_device_without_float64_is_said(random_case) -> None:
    strict = pytest.importorskip("array_api_strict")
    put = lambda a: strict.asarray(a, device=strict.Device("no_float64"))  # noqa: E731
    net, theta, x, y, _ = random_case(3)
    report = check_network(net, put(theta.astype("float32")), put(x.astype("float32")), put(np.asarray(y, "float32")))
    assert report.verdict == "PASS"
    assert report.precision == "float32"
    assert "no float64" in report.notes[0]


@pytest.mark.parametrize(("method", "dtype"), list(product(["complex", "central"], ["float64", "float32"])))
def test_weighted_samples_are_checked_too(method, dtype, random_case) -> None:
    """All kinds of networks are checked; some weights are 0."""
    for seed in range(40):
        net, theta, x, y, masks = random_case(seed)
        weight = np.random.default_rng(seed).exponential(size=len(x)) * (np.arange(len(x)) % 4 != 1)
        report = check_network(net, theta, x, y, masks=masks, weight=weight, method=method, dtype=dtype)
        assert report, f"seed {seed}: {report}"


@pytest.mark.parametrize("relative", [1.0, 1e-2, 1e-4, 1e-6])
def test_one_wrong_entry_of_235146_is_named(relative) -> None:
    rng = np.random.default_rng(7)
    net = Network([784, 256, 128, 10])
    theta, x, y = net.initialize(0, "float64"), rng.random((32, 784)), rng.integers(0, 10, 32)
    right = net.loss_and_grad(theta, x, y)[1]
    for name, part, shape in zip(net.names, net.layout.slices, net.shapes, strict=True):
        entry = int(np.argsort(np.abs(right[part]))[-3])
        wrong = right.copy()
        wrong[part.start + entry] *= 1 + relative
        report = check_network(net, theta, x, y, lambda t, wrong=wrong: wrong)
        failing = {key: p.failing for key, p in report.parameters.items() if p.failing}
        assert failing == {name: 1}
        assert report.parameters[name].worst.index == tuple(int(i) for i in np.unravel_index(entry, shape))


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("sign", [1, -1])
def test_twice_what_is_detected_fails_in_every_entry_and_half_of_it_passes_in_one(method, sign, random_case) -> None:
    for seed in range(10):
        net, theta, x, y, masks = random_case(seed)
        right = net.loss_and_grad(theta, x, y, masks=masks)[1]
        found = check_network(net, theta, x, y, masks=masks, method=method).parameters
        error = net.pack([tuple(_detected(found[f"{kind}{l + 1}"]) for kind in "Wb") for l in range(len(found) // 2)])
        for factor in (2, 0.5):
            wrong = right + sign * factor * error
            again = check_network(net, theta, x, y, lambda t, g=wrong: g, masks=masks, method=method).parameters
            for name, before in found.items():
                if np.isfinite(before.detects):
                    assert (again[name].failing == again[name].fails.size) is (factor == 2), f"seed {seed}: {name}"


def _detected(found):
    """The error of each entry that is detected."""
    seen = np.maximum(np.abs(found.analytic), np.abs(found.numeric)) > found.bar
    size = np.where(seen, np.abs(found.analytic), np.max(np.abs(found.numeric)))
    return np.nan_to_num(found.detects) * size


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_this_precision_cannot_see_is_inconclusive(dtype, circles) -> None:
    """db2 of a balanced network is a sum that cancels: float32 cannot tell it from 0, float64 can."""
    net, (x, y) = Network([2, 4, 1], output="sigmoid", init=1e-4), circles()
    theta = net.initialize(0, "float64")

    def without_b2(t):
        grad = np.array(net.loss_and_grad(t, x.astype(t.dtype), y)[1])
        grad[-1] = 0
        return grad

    verdict = check_network(net, theta, x, y, without_b2, dtype=dtype).parameters["b2"].verdict
    assert verdict == {"float64": "FAIL", "float32": "INCONCLUSIVE"}[dtype]


def test_nan_fails(random_case) -> None:
    net, theta, x, y, _ = random_case(5)
    report = check_network(net, theta, x, y, lambda t: np.full(net.size, np.nan))
    assert report.verdict == "FAIL"
    assert "NaN" in report.parameters[net.names[0]].diagnosis


def test_an_l2_term_that_biases_of_0_hide_is_pointed_out() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((20, 3)), rng.integers(0, 2, 20)
    note = "all biases are 0: an L2 term on them would not show"
    for l2, b, expected in ((0.1, 0.0, True), (0.0, 0.0, False), (0.1, 0.01, False)):
        net = Network([3, 4, 2], l2=l2)
        theta = net.initialize(0, "float64")
        theta[-1] = b
        report = check_network(net, theta, x, y)
        assert report
        assert (note in report.notes) == expected


def test_the_published_runs_pass_with_a_difference_a_hundred_times_smaller(data_folder) -> None:
    runs = json.loads((data_folder / "seed" / "reference.json").read_text())["runs"]
    for run in runs.values():
        points = np.loadtxt(data_folder / "seed" / run["data"], delimiter=",")
        x, y = points[:, :2], points[:, 2].astype(int)
        net = Network([2, len(run["b1"]), len(run["b2"])], output=run["output"])
        theta = net.pack([(np.array(run[f"W{l}"]).T, np.array(run[f"b{l}"]).ravel()) for l in (1, 2)])
        masks = None
        if "dropped_unit_sample" in run:
            unit, sample = run["dropped_unit_sample"]
            masks = [np.ones((len(x), len(run["b1"])))]
            masks[0][sample, unit] = 0
        report = check_network(net, theta, x, y, masks=masks)
        assert report, str(report)
        assert report.difference < run["published_difference"] / 100
        published = net.pack([(np.array(run[f"dW{l}"]).T, np.array(run[f"db{l}"]).ravel()) for l in (1, 2)])
        assert check_network(net, theta, x, y, lambda t, g=published: g, masks)


def test_a_gradient_that_changes_theta_or_its_mind_is_reported(random_case) -> None:
    net, theta, x, y, _ = random_case(5)
    rng = np.random.default_rng(0)

    def impure(t):
        t *= 1.5
        return net.loss_and_grad(t, x, y)[1]

    def random(t):
        return net.loss_and_grad(t, x, y)[1] * rng.uniform(0.9, 1.1)

    for function, complaint in ((impure, "changes the theta"), (random, "different values for the same theta")):
        report = check_network(net, theta, x, y, function)
        assert not report
        assert any(complaint in note for note in report.notes)
    before = theta.copy()
    check_network(net, theta, x, y, impure)
    assert np.array_equal(theta, before)


def test_a_report_is_a_table_a_truth_value_and_json(random_case) -> None:
    net, theta, x, y, _ = random_case(5)
    good = check_network(net, theta, x, y)
    bad = check_network(net, theta, x, y, lambda t: 2 * net.loss_and_grad(t, x, y)[1])
    assert (bool(good), bool(bad)) == (True, False)
    assert str(good).startswith("PASS  difference")
    assert all(name in str(bad) for name in net.names)
    assert "\033" not in str(bad)
    document = json.loads(json.dumps(bad.to_dict()))
    assert document["verdict"] == "FAIL"
    assert set(document["parameters"]) == set(net.names)
    worst = document["parameters"][net.names[0]]["worst"]
    assert worst["analytic"] == pytest.approx(2 * worst["numeric"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"theta": np.zeros(3)}, ValueError, "theta must have shape"),
        ({"grad": lambda t: t[:3]}, ValueError, r"grad must return \d+ floating numbers, got float64 of shape \(3,\)"),
        ({"grad": lambda t: np.arange(len(t))}, ValueError, "grad must return .* floating numbers, got int64"),
        ({"grad": lambda t: (0.5, t)}, ValueError, r"grad must return an array of shape \(26,\), got a tuple"),
        ({"grad": lambda t: [(np.ones((3, 4)), t)]}, ValueError, r"must return an array of shape \(26,\), got a list"),
        ({"grad": lambda t: None}, ValueError, r"grad must return an array of shape \(26,\), got None"),
        ({"method": "complx"}, ValueError, "method must be one of .*'complx'; did you mean 'complex'"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64, got 'float16'"),
        ({"net": [2, 3]}, TypeError, "net must be an xpdl.Network"),
        ({"x": np.full((30, 3), np.nan)}, ValueError, "x must be finite"),
        ({"masks": []}, ValueError, "masks must hold an array for each hidden layer, 1 in all, got 0"),
        ({"memory": 0}, ValueError, "memory must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(change, error, message) -> None:
    rng = np.random.default_rng(0)
    net = Network([3, 4, 2])
    given = {"net": net, "theta": net.initialize(), "x": rng.random((30, 3)), "y": rng.integers(0, 2, 30)}
    with pytest.raises(error, match=message):
        check_network(**(given | change))
