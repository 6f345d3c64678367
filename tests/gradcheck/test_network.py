"""check_network: right code passes, wrong code fails, and what cannot be told is said to be so."""

from itertools import product
import json
import re
import time
import tracemalloc

import numpy as np
import pytest

import xpdl
from xpdl import Activation, Loss, Network, losses
from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.check import SAFETY
from xpdl.losses import LOSSES

CIRCLES = [[2, 5, 4, 1], [2, 5, 5, 5, 1], [2, 9, 9, 1], [2, 4, 1]]
ONE_AT_ZERO = Activation(lambda z: z * (z >= 0), lambda da, z, a: da * (z >= 0))
"""relu with derivative 1 at 0, as some write it."""


def circles():
    """300 points on two circles."""
    points = xpdl.data.circles(seed=1)
    return points.x, points.y


def random_case(seed, scale=1.0):
    """A network over all activations, outputs, L2 and dropout, with samples; scale > 1 saturates it."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 10, rng.integers(2, 6))]
    output = str(rng.choice(["softmax", "sigmoid", "linear"]))
    net = Network(
        sizes,
        hidden=str(rng.choice(list(ACTIVATIONS))),
        output=output,
        init=str(rng.choice(["he", "xavier", "lecun"])),
        l2=float(rng.choice([0.0, 0.1])),
    )
    theta = scale * net.initialize(seed, "float64") + rng.choice([0.0, 0.1]) * rng.standard_normal(net.size)
    n, k = int(rng.choice([1, 2, 30, 100])), sizes[-1]
    y = {
        "softmax": rng.integers(0, k, n),
        "sigmoid": rng.integers(0, 2, (n, k)),
        "linear": rng.standard_normal((n, k)),
    }[output]
    masks = [(rng.random((n, units)) < 0.7) / 0.7 for units in sizes[1:-1]] if rng.random() < 0.5 else None
    return net, theta, rng.standard_normal((n, sizes[0])), y, masks


# --- right code is never accused


@pytest.mark.parametrize(("sizes", "dtype"), list(product(CIRCLES, ["float64", "float32"])))
def test_no_he_network_with_zero_biases_is_accused(sizes, dtype) -> None:
    """240 networks, of which the origin's checker accuses 44: a sample that no unit sees has z = 0 from there on."""
    net, (x, y) = Network(sizes, output="sigmoid"), circles()
    verdicts = [check_network(net, net.initialize(seed, dtype), x, y, dtype=dtype).verdict for seed in range(60)]
    assert verdicts == ["PASS"] * 60


@pytest.mark.parametrize("sizes", CIRCLES[:2])
def test_either_derivative_at_a_kink_is_right(sizes) -> None:
    """f'(0) = 1 is as good as 0; where that makes a difference, the unit and the sample are named."""
    net, (x, y) = Network(sizes, output="sigmoid"), circles()
    other = Network(sizes, output="sigmoid", hidden=ONE_AT_ZERO)
    notes = []
    for seed in range(60):
        theta = net.initialize(seed, "float64")
        report = check_network(net, theta, x, y, lambda t: other.loss_and_grad(t, x, y)[1])
        assert report, str(report)
        notes += report.notes
    assert any("kinks: layer 2, unit" in note and "sample" in note for note in notes)


@pytest.mark.parametrize("factor", [-0.5, 1.5, 2.0])
def test_a_value_outside_the_one_sided_derivatives_is_not_excused_by_a_kink(factor) -> None:
    """With one unit, one sample and z = 0 the derivatives of b1 are 0 and da: what lies outside fails."""
    net = Network([1, 1, 1], output="linear")
    theta, x, y = np.array([1.0, 1.0, 0.0, 0.0]), np.array([[0.0]]), np.array([[1.0]])
    da = float(net.unpack(net.loss_and_grad(theta, x, y)[1])[1][1][0])
    report = check_network(net, theta, x, y, lambda t: np.array([0.0, 0.0, factor * da, da]))
    assert (report.verdict, report.parameters["b1"].verdict) == ("FAIL", "FAIL")
    assert check_network(net, theta, x, y, lambda t: np.array([0.0, 0.0, 0.5 * da, da]))


@pytest.mark.parametrize(("scale", "dtype"), list(product([1.0, 0.01, 30.0, 1000.0], ["float64", "float32"])))
def test_no_random_network_is_accused(scale, dtype) -> None:
    """All activations, outputs, L2 and dropout, batches of one; saturated networks may be inconclusive."""
    for seed in range(100):
        net, theta, x, y, masks = random_case(seed, scale)
        report = check_network(net, theta, x, y, masks=masks, dtype=dtype)
        assert report.verdict == "PASS" or (scale != 1 and report.verdict == "INCONCLUSIVE"), f"seed {seed}\n{report}"


def test_no_network_is_accused_on_any_library(lib) -> None:
    if lib.jitted:
        pytest.skip("a check is not traced")
    for seed in range(12 if lib.backend.eager else 3):
        net, theta, x, y, masks = random_case(seed)
        given = [lib.put(theta), lib.put(x), lib.put(np.asarray(y))]
        report = check_network(net, *given, masks=masks and [lib.put(mask) for mask in masks], dtype=lib.dtype)
        assert report, f"seed {seed}\n{report}"
        assert report.precision == lib.dtype


def test_a_dead_layer_passes() -> None:
    """Everything below it has gradient 0, and says so."""
    net = Network([3, 4, 2])
    theta = net.initialize(0, "float64")
    theta[net.layout.slices[2]] = -100
    report = check_network(net, theta, np.ones((5, 3)), np.zeros(5, int))
    assert report
    assert report.parameters["W1"].worst.numeric == 0


def test_a_device_without_float64_is_said() -> None:
    strict = pytest.importorskip("array_api_strict")
    put = lambda a: strict.asarray(a, device=strict.Device("no_float64"))  # noqa: E731
    net, theta, x, y, _ = random_case(3)
    report = check_network(net, put(theta.astype("float32")), put(x.astype("float32")), put(np.asarray(y, "float32")))
    assert report.verdict == "PASS"
    assert report.precision == "float32"
    assert "no float64" in report.notes[0]


# --- weights of the samples


@pytest.mark.parametrize(("method", "dtype"), list(product(["complex", "central"], ["float64", "float32"])))
def test_weighted_samples_are_checked_too(method, dtype) -> None:
    """Over all kinds of networks, weights of 0 among them."""
    for seed in range(40):
        net, theta, x, y, masks = random_case(seed)
        weight = np.random.default_rng(seed).exponential(size=len(x)) * (np.arange(len(x)) % 4 != 1)
        report = check_network(net, theta, x, y, masks=masks, weight=weight, method=method, dtype=dtype)
        assert report, f"seed {seed}: {report}"


WEIGHTED = {  # what is wrong: the gradient from (net, theta, x, y, weight), what is said
    "forgotten": (lambda net, t, x, y, weight: net.loss_and_grad(t, x, y)[1], "lacks the weights of the samples"),
    "not normalised": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x, y, None, weight)[1] * weight.sum() / len(x),
        "divided by the number of samples, not by the sum of their weights",
    ),
    "no mean": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x, y, None, weight)[1] * weight.sum(),
        "the mean over samples is missing",
    ),
    "a sample lost": (
        lambda net, t, x, y, weight: net.loss_and_grad(t, x[:-1], y[:-1], None, weight[:-1])[1],
        "leaves out the last sample, divided by",
    ),
}


@pytest.mark.parametrize("mistake", WEIGHTED)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_mistakes_with_weights_are_found_and_named(mistake, l2) -> None:
    wrong, text = WEIGHTED[mistake]
    net, rng = Network([4, 6, 5, 3], hidden="tanh", l2=l2), np.random.default_rng(0)
    theta, x, y = rng.normal(size=net.size), rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    weight = rng.exponential(size=30)
    report = check_network(net, theta, x, y, lambda t: wrong(net, t, x, y, weight), weight=weight)
    assert {name: p.verdict for name, p in report.parameters.items()} == dict.fromkeys(net.names, "FAIL")
    assert all(text in p.diagnosis for p in report.parameters.values()), str(report)


# --- wrong code fails


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


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_this_precision_cannot_see_is_inconclusive(dtype) -> None:
    """db2 of a balanced network is a sum that cancels: float32 cannot tell it from 0, float64 can."""
    net, (x, y) = Network([2, 4, 1], output="sigmoid", init=1e-4), circles()
    theta = net.initialize(0, "float64")

    def without_b2(t):
        grad = np.array(net.loss_and_grad(t, x.astype(t.dtype), y)[1])
        grad[-1] = 0
        return grad

    verdict = check_network(net, theta, x, y, without_b2, dtype=dtype).parameters["b2"].verdict
    assert verdict == {"float64": "FAIL", "float32": "INCONCLUSIVE"}[dtype]


def test_nan_fails() -> None:
    net, theta, x, y, _ = random_case(5)
    report = check_network(net, theta, x, y, lambda t: np.full(net.size, np.nan))
    assert report.verdict == "FAIL"
    assert "NaN" in report.parameters[net.names[0]].diagnosis


# --- activations that are no functions of single entries


def softmax_rows(z):
    e = np.exp(z - np.max(np.real(z), axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(da, z, a):
    return a * (da - (a * da).sum(axis=-1, keepdims=True))


def centred(axis):
    """z less its mean, with the right derivative."""
    less = lambda z: z - z.mean(axis=axis, keepdims=True)  # noqa: E731
    return Activation(less, lambda da, z, a: less(da))


MIXING = {
    "softmax": Activation(softmax_rows, softmax_backward),
    "centred units": centred(-1),
    "centred samples": centred(0),
    "swapped units": Activation(lambda z: z[..., ::-1], lambda da, z, a: da[..., ::-1]),
}


@pytest.mark.parametrize(("name", "scale"), list(product(MIXING, [1e-4, 1.0, 10.0])))
def test_an_activation_that_mixes_entries_is_refused(name, scale) -> None:
    """Right as they are, they are beyond what moving one unit at a time can check."""
    net = Network([3, 5, 2], hidden=MIXING[name])
    rng = np.random.default_rng(1)
    theta, x, y = scale * net.initialize(1, "float64"), rng.standard_normal((40, 3)), rng.integers(0, 2, 40)
    with pytest.raises(ValueError, match=r"hidden must work entry by entry.*check_gradient checks any function"):
        check_network(net, theta, x, y)


ENTRY_BY_ENTRY = {
    "sqrt where it is defined": Activation(lambda z: (9 - z * z) ** 0.5, lambda da, z, a: -da * z / a),
    "shifted by the maximum": Activation(
        lambda z: np.exp(z - np.max(np.real(z))) * np.exp(np.max(np.real(z))), lambda da, z, a: da * a
    ),
}


@pytest.mark.parametrize("name", ENTRY_BY_ENTRY)
def test_an_activation_that_works_entry_by_entry_is_not_refused(name) -> None:
    """Its domain is not left, and rounding that depends on other entries is not taken for a dependence."""
    net = Network([3, 5, 2], hidden=ENTRY_BY_ENTRY[name])
    rng = np.random.default_rng(1)
    theta, x, y = 0.5 * net.initialize(1, "float64"), rng.uniform(-1, 1, (40, 3)), rng.integers(0, 2, 40)
    report = check_network(net, theta, x, y)
    assert report.verdict == "PASS", str(report)


# --- what a report says of a failure


def failure(wrong, **changes):
    """The report on ``wrong``, made of the gradient (W1, W2, b1, b2) of a network [6, 8, 10] of 40 samples."""
    net = Network([6, 8, 10], hidden="tanh", **changes)
    rng = np.random.default_rng(1)
    theta = net.initialize(1, "float64") + 0.1 * rng.standard_normal(net.size)
    x, y = rng.standard_normal((40, 6)), rng.integers(0, 10, 40)
    grad = net.loss_and_grad(theta, x, y)[1]
    tensors = {
        name: grad[part].reshape(shape)
        for name, part, shape in zip(net.names, net.layout.slices, net.shapes, strict=True)
    }
    wrong(tensors, rng)
    return check_network(net, theta, x, y, lambda t: grad)


def test_columns_that_are_0_are_named() -> None:
    def wrong(g, rng):
        g["W2"][:, 3:8] = 0
        g["b2"][3:8] = 0

    report = failure(wrong)
    assert report.parameters["W2"].diagnosis == "dW2 is 0 in columns 3 to 7, and right elsewhere"
    assert report.parameters["b2"].diagnosis == "db2 is 0 in entries 3 to 7, and right elsewhere"


def test_rows_that_are_wrong_are_named() -> None:
    def wrong(g, rng):
        g["W2"][[0, 2, 3]] += rng.standard_normal((3, 10))

    assert failure(wrong).parameters["W2"].diagnosis == "dW2 is wrong in rows 0, 2 to 3, and right elsewhere"


def test_where_no_cause_fits_the_report_says_so_and_shows_the_worst_entries() -> None:
    def wrong(g, rng):
        g["W2"] += (rng.random((8, 10)) < 0.5) * rng.standard_normal((8, 10))
        g["W2"][3, 1] += 1000

    report = failure(wrong)
    w2 = report.parameters["W2"]
    assert w2.diagnosis.startswith(f"no known cause; {w2.failing} of 80 entries wrong, the worst: [3, 1] is 100")
    assert len(re.findall(r"\] is \S+, not \S+", w2.diagnosis)) == 3
    assert f"W2: {w2.diagnosis}" in str(report)


def test_the_worst_entries_are_shown_in_as_many_digits_as_tell_them_apart() -> None:
    def wrong(g, rng):
        g["W2"] *= 1 + 1e-8 * rng.standard_normal((8, 10))

    shown = re.findall(r"is (\S+), not (\S+?)(?:;|$)", failure(wrong).parameters["W2"].diagnosis)
    assert len(shown) == 3
    assert all(a != n for a, n in shown)


@pytest.mark.parametrize(("excess", "text"), [(1e-9, r"1 \+ 1\.0e-09"), (-2e-8, r"1 - 2\.0e-08")])
def test_a_factor_near_1_is_shown_as_what_it_is(excess, text) -> None:
    def wrong(g, rng):
        g["W1"] *= 1 + excess

    assert re.fullmatch(f"dW1 is {text} times the numeric gradient", failure(wrong).parameters["W1"].diagnosis)


def test_no_factor_of_a_gradient_that_is_0_within_its_bars() -> None:
    """db2 = sum (1/3 - y) / n cancels: what stands for it is no multiple of rounding, and not n times it."""
    net = Network([2, 3, 1], output="sigmoid", hidden="tanh")
    theta = np.zeros(net.size)
    theta[-1] = -np.log(2)
    x, y = np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 3 == 0
    report = check_network(
        net, theta, x, y.astype(int), lambda t: np.where(np.arange(net.size) == net.size - 1, 1e-3, 0)
    )
    b2 = report.parameters["b2"]
    assert b2.worst.numeric != 0
    assert b2.diagnosis.startswith("no known cause; 1 of 1 entries wrong, the worst: [0] is 0.001, not ")


def test_one_cause_for_all_tensors_is_preferred_to_accidents() -> None:
    """db3 has one entry, which is some multiple of the numeric one whatever the mistake."""
    net = Network([4, 6, 5, 1], output="sigmoid", hidden="tanh")
    rng = np.random.default_rng(3)
    theta = net.initialize(1, "float64") + 0.1 * rng.standard_normal(net.size)
    x, y = rng.standard_normal((30, 4)), rng.integers(0, 2, 30)
    report = check_network(net, theta, x, y, lambda t: net.loss_and_grad(t, x[:-1], y[:-1])[1])
    assert all("leaves out the last sample" in p.diagnosis for p in report.parameters.values()), str(report)


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


# --- methods


NOT_ANALYTIC = {
    "abs": Activation(abs, lambda da, z, a: da * np.sign(z)),
    "conj": Activation(lambda z: np.conj(z) * np.conj(z), lambda da, z, a: 2 * da * z),
    "real": Activation(lambda z: np.tanh(np.real(z)), lambda da, z, a: da * (1 - a * a)),
    "raises": Activation(lambda z: np.arctan2(z, 1.0), lambda da, z, a: da / (1 + z * z)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_an_activation_that_is_not_analytic_is_noticed_and_judged_by_differences(name) -> None:
    net = Network([3, 5, 2], hidden=NOT_ANALYTIC[name])
    rng = np.random.default_rng(1)
    theta, x, y = net.initialize(1, "float64"), rng.standard_normal((20, 3)), rng.integers(0, 2, 20)
    report = check_network(net, theta, x, y)
    assert (report.verdict, report.method) == ("PASS", "central differences"), str(report)
    assert "analytic" in report.notes[0] or "complex" in report.notes[0]
    wrong = check_network(net, theta, x, y, lambda t: 1.001 * net.loss_and_grad(t, x, y)[1])
    assert wrong.verdict == "FAIL"
    with pytest.raises(ValueError, match="method 'complex' cannot be used"):
        check_network(net, theta, x, y, method="complex")


def test_both_methods_agree_and_are_named() -> None:
    for seed in range(30):
        net, theta, x, y, masks = random_case(seed)
        exact, differences = (
            check_network(net, theta, x, y, masks=masks, method=method) for method in ("complex", "central")
        )
        assert (exact.method, differences.method) == ("complex step", "central differences")
        assert differences.verdict != "FAIL", f"seed {seed}\n{differences}"
        for name, parameter in differences.parameters.items():
            assert np.all(np.abs(parameter.numeric - exact.parameters[name].numeric) <= parameter.bar), f"seed {seed}"


def test_the_bars_hold_and_the_complex_step_is_as_good_as_long_double() -> None:
    """On 100 networks the numeric gradient is within 1e-14 kappa of long double, the tested one within its bar."""
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is double here")
    for seed in range(100):
        net, theta, x, y, masks = random_case(seed)
        long = [np.asarray(values, np.longdouble) for values in (theta, x, np.asarray(y))]
        exact = net.loss_and_grad(*long, masks and [mask.astype(np.longdouble) for mask in masks])[1]
        report = check_network(net, theta, x, y, masks=masks)
        numeric, analytic, bar = (
            np.concatenate([getattr(p, name).ravel() for p in report.parameters.values()])
            for name in ("numeric", "analytic", "bar")
        )
        kappa = bar / (SAFETY * 2 * np.finfo(float).eps)
        assert np.all(np.abs(numeric - exact) <= 1e-15 * kappa), f"seed {seed}"
        assert np.all(np.abs(analytic - exact) <= bar), f"seed {seed}"


# --- cost


def naive(net, theta, x, y, entries, h=6e-6):
    """Central differences with a forward pass for each side of each entry."""
    quotients = []
    for i in entries:
        sides = [theta.copy(), theta.copy()]
        sides[0][i] += h
        sides[1][i] -= h
        quotients.append((net.loss(sides[0], x, y) - net.loss(sides[1], x, y)) / (2 * h))
    return np.array(quotients)


def test_all_235146_parameters_take_seconds_and_little_memory() -> None:
    """Two-sided in float64, at least 40 x faster than a forward pass for each side, the same numbers to 1e-9."""
    rng = np.random.default_rng(3)
    net = Network([784, 256, 128, 10], hidden="tanh")
    theta, x, y = net.initialize(0, "float64"), rng.random((32, 784)), rng.integers(0, 10, 32)
    check_network(net, theta, x, y, method="central")
    tracemalloc.start()
    started = time.perf_counter()
    report = check_network(net, theta, x, y, method="central")
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    entries = rng.integers(0, net.size, 100)
    started = time.perf_counter()
    expected = naive(net, theta, x, y, entries)
    each = (time.perf_counter() - started) / len(entries)
    numeric = np.concatenate([p.numeric.ravel() for p in report.parameters.values()])
    assert report
    assert seconds < 15
    assert peak < 512 * 2**20
    assert each * net.size > 40 * seconds
    np.testing.assert_allclose(numeric[entries], expected, rtol=0, atol=1e-9 * np.abs(numeric).max() + 1e-10)


def test_memory_bounds_what_is_moved_at_a_time() -> None:
    rng = np.random.default_rng(3)
    net = Network([50, 400, 400, 5])
    theta, x, y = net.initialize(0, "float64"), rng.random((64, 50)), rng.integers(0, 5, 64)
    reports = [check_network(net, theta, x, y, memory=memory) for memory in (1, 2**20, 2**28)]
    numeric = [np.concatenate([p.numeric.ravel() for p in report.parameters.values()]) for report in reports]
    for other in numeric[1:]:
        np.testing.assert_allclose(other, numeric[0], rtol=0, atol=1e-15)


# --- the origin


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


# --- reports and errors


def test_a_gradient_that_changes_theta_or_its_mind_is_reported() -> None:
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


def test_a_report_is_a_table_a_truth_value_and_json() -> None:
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


# --- losses of your own


def error(s, y):
    """s - y between -1 and 1, on the branch of the real part."""
    e = s - y
    inside = np.abs(np.real(e)) <= 1
    return np.where(inside, e, np.sign(np.real(e)))


HUBER = Loss(lambda s, y: np.sum(error(s, y) * (s - y - error(s, y) / 2), axis=-1), lambda s, p, y: error(s, y))
FOCAL = losses.softmax._replace(
    cost=lambda s, y: -np.sum(y * (1 - np.exp(s)) * s, axis=-1),
    derivative=lambda s, p, y: y * (p + p * s - 1) - p * np.sum(y * (p + p * s - 1), axis=-1, keepdims=True),
    error_variance=None,
)
OWN = {
    "huber": HUBER,
    "focal": FOCAL,
    "huber, not analytic": HUBER._replace(
        cost=lambda s, y: np.sum(np.where(np.abs(s - y) <= 1, (s - y) ** 2 / 2, np.abs(s - y) - 0.5), axis=-1)
    ),
    "log cosh": Loss(lambda s, y: np.sum(np.log(np.cosh(s - y)), axis=-1), lambda s, p, y: np.tanh(s - y)),
    "poisson": Loss(lambda s, y: np.sum(np.exp(s) - y * s, axis=-1), response=np.exp),
    "outputs that meet": Loss(
        lambda s, y: np.sum(s, axis=-1) ** 2 / 2 - np.sum(y * s, axis=-1),
        lambda s, p, y: np.sum(s, axis=-1, keepdims=True) - y,
    ),
    "sines": Loss(lambda s, y: np.sum(np.sin(5 * (s - y)), axis=-1), lambda s, p, y: 5 * np.cos(5 * (s - y))),
    **{f"{name}, its errors not told": loss._replace(error_variance=None) for name, loss in LOSSES.items()},
}


def own_case(name, seed=1, n=30, k=3):
    """A network with a loss of its own, theta, x and y."""
    rng = np.random.default_rng(seed)
    net = Network([4, 6, 5, k], hidden="tanh", output=OWN[name], l2=0.1)
    theta = net.initialize(seed, "float64") + 0.1 * rng.standard_normal(net.size)
    labels = np.eye(k)[rng.integers(0, k, n)] if OWN[name].decide else rng.standard_normal((n, k))
    return net, theta, rng.standard_normal((n, 4)), labels


@pytest.mark.parametrize(("name", "dtype"), list(product(OWN, ["float64", "float32"])))
def test_a_right_loss_of_your_own_is_never_accused(name, dtype) -> None:
    for seed in range(10):
        report = check_network(*own_case(name, seed), dtype=dtype)
        assert report, str(report)
        assert all(np.all(p.bar < 1e-2) for p in report.parameters.values()), "a bar that lets everything pass"


@pytest.mark.parametrize(("name", "size"), [(name, 1e-4 if "not analytic" in name else 1e-9) for name in OWN])
def test_a_wrong_derivative_of_your_own_loss_is_found(name, size) -> None:
    """However small it is: the bars come from the cost, not from the derivative."""
    net, *case = own_case(name)
    right = net.head.derivative
    wrong = net.head._replace(derivative=lambda s, p, y: right(s, p, y) * (1 + size))
    report = check_network(Network(net.sizes, hidden="tanh", output=wrong, l2=0.1), *case)
    assert report.verdict == "FAIL", str(report)
    assert "the numeric gradient" in report.parameters["W3"].diagnosis


def test_a_loss_that_is_not_analytic_is_checked_by_differences() -> None:
    report = check_network(*own_case("huber, not analytic"))
    assert (report.verdict, report.method) == ("PASS", "central differences")
    assert "the loss is not analytic: its complex step differs from its differences" in report.notes
    with pytest.raises(ValueError, match="'complex' cannot be used: the loss is not analytic"):
        check_network(*own_case("huber, not analytic"), method="complex")


def test_at_large_logits_a_loss_that_is_not_analytic_is_found_too() -> None:
    """Where all errors are large, the complex step says that the cost does not change at all."""
    net, theta, x, y = own_case("huber, not analytic")
    report = check_network(net, 1e5 * theta, x, y)
    assert (report.verdict, report.method) != ("FAIL", "complex step"), str(report)


def test_a_derivative_that_was_forgotten_is_named() -> None:
    net, *case = own_case("huber")
    report = check_network(Network(net.sizes, hidden="tanh", output=Loss(HUBER.cost), l2=0.1), *case)
    assert (
        report.parameters["W3"].diagnosis == "dW3 has (p - y) / n, which is not the derivative of this cost, in layer 3"
    )
    assert "follows from a wrong dz of layer 3" in report.parameters["b1"].diagnosis


@pytest.mark.parametrize("name", OWN)
def test_dropout_masks_that_were_forgotten_are_named_for_your_own_loss(name) -> None:
    net, theta, x, y = own_case(name)
    rng = np.random.default_rng(2)
    masks = [(rng.random((30, units)) < 0.7) / 0.7 for units in (6, 5)]
    report = check_network(net, theta, x, y, lambda t: net.loss_and_grad(t, x, y)[1], masks=masks)
    causes = {parameter.diagnosis.partition(" ")[2] for parameter in report.parameters.values()}
    assert causes == {"is that of the cost without its dropout masks"}


def mean_over_samples(s, y):
    return np.sum((s - s.mean(axis=-2, keepdims=True) - y) ** 2, axis=-1)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (mean_over_samples, "a cost of each sample alone"),
        (lambda s, y: np.sum((s - y) ** 2, axis=1), r"a cost \(\.\.\., n\) for logits"),
        (lambda s, y: (s - y) ** 2, r"a cost \(\.\.\., n\) for logits \(\.\.\., n, k\), got shape \(30, 3\)"),
        (lambda s, y: np.sum(np.exp(1e3 * (s - y) ** 2), axis=-1), "finite costs"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_cost_that_cannot_be_checked_is_refused(cost, said) -> None:
    net, *case = own_case("huber")
    with pytest.raises(ValueError, match=said):
        check_network(Network(net.sizes, output=Loss(cost)), *case)
