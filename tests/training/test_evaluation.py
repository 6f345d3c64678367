"""Evaluation and prediction, against the formulas written in plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from xpdl import Loss, Network, Scaling, evaluate
from xpdl.arrays import namespace
from xpdl.data import disk_inputs
from xpdl.data.shards import Shards
from xpdl.losses import binary
from xpdl.training import evaluation
from xpdl.training.evaluation import predict

EACH = ["numpy", "numpy-readonly", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", EACH, indirect=True)

HEADS = {
    # name: (outputs k, labels of rng and n)
    "softmax": (4, lambda rng, n: rng.integers(0, 4, n)),
    "sigmoid": (1, lambda rng, n: rng.integers(0, 2, n)),
    "linear": (2, lambda rng, n: rng.normal(size=(n, 2))),
}


def case(output, n, k=None, seed=0):
    """A network with everything that evaluation must leave out, theta, x and y."""
    default, labels = HEADS[output]
    rng = np.random.default_rng(seed)
    net = Network([5, 7, 6, k or default], hidden="tanh", output=output, l2=3.0, dropout=0.5)
    theta = rng.normal(size=net.size) * 0.7
    y = labels(rng, n) if k is None else rng.integers(0, 2, (n, k))
    return net, theta, rng.normal(size=(n, 5)), y


def logits(net, theta, x):
    (w1, b1), (w2, b2), (w3, b3) = net.unpack(theta)
    return np.tanh(np.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3


def softmax_scores(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return {"loss": -np.log(p[np.arange(len(y)), y]).mean(), "accuracy": (p.argmax(axis=1) == y).mean()}


def sigmoid_scores(z, y):
    y = y.reshape(z.shape)
    p = 1 / (1 + np.exp(-z))
    cost = -np.where(y == 1, np.log(p), np.log(1 - p)).sum(axis=1)
    return {"loss": cost.mean(), "accuracy": ((p > 0.5) == y).all(axis=1).mean()}


def linear_scores(z, y):
    return {"loss": 0.5 * ((z - y) ** 2).sum(axis=1).mean()}


SCORES = {"softmax": softmax_scores, "sigmoid": sigmoid_scores, "linear": linear_scores}


def assert_scores(lib, actual, expected):
    assert list(actual) == list(expected)
    assert {type(value) for value in actual.values()} == {float}
    assert actual["loss"] == pytest.approx(expected["loss"], rel=20 * lib.tolerance)
    if "accuracy" in expected:
        assert actual["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-14)


@on_each
@pytest.mark.parametrize(("output", "k"), [("softmax", None), ("sigmoid", None), ("sigmoid", 3), ("linear", None)])
def test_loss_and_accuracy_are_those_of_the_formulas(lib, output, k) -> None:
    """L2 and dropout are left out; with several sigmoids, all of them must be right."""
    net, theta, x, y = case(output, 40, k)
    actual = evaluate(net, theta, x, y, backend=lib.backend, dtype=lib.dtype)
    assert_scores(lib, actual, SCORES[output](logits(net, theta, x), y))


@on_each
@pytest.mark.parametrize(("output", "k"), [("softmax", None), ("sigmoid", 3), ("linear", None)])
def test_weighted_scores_are_those_of_samples_counted_that_often(lib, output, k, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "ROWS", 8)
    (net, theta, x, y), weight = case(output, 40, k), np.arange(40) % 4
    options = {"backend": lib.backend, "dtype": lib.dtype}
    expected = evaluate(net, theta, np.repeat(x, weight, axis=0), np.repeat(y, weight, axis=0), **options)
    assert_scores(lib, evaluate(net, theta, x, y, sample_weight=weight, **options), expected)


@on_each
@pytest.mark.parametrize("n", [1, 7, 8, 9, 17])
def test_slices_neither_lose_nor_repeat_a_sample(lib, n, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "ROWS", 8)
    net, theta, x, y = case("softmax", n, seed=n)
    actual = evaluate(net, theta, x, y, backend=lib.backend, dtype=lib.dtype)
    z = logits(net, theta, x)
    assert_scores(lib, actual, softmax_scores(z, y))
    assert predict(net, theta, x, backend=lib.backend, dtype=lib.dtype).tolist() == z.argmax(axis=1).tolist()


@pytest.mark.parametrize("n", [evaluation.ROWS - 1, evaluation.ROWS, evaluation.ROWS + 1])
def test_slices_of_the_real_length_too(n) -> None:
    net, theta, x, y = case("sigmoid", n)
    actual = evaluate(net, theta, x, y, backend="numpy", dtype="float64")
    expected = sigmoid_scores(logits(net, theta, x), y)
    assert actual["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert actual["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-14)


@on_each
@pytest.mark.parametrize(
    ("output", "k", "expected"),
    [
        ("softmax", None, lambda z: z.argmax(axis=1)),
        ("sigmoid", None, lambda z: (z[:, 0] > 0).astype(int)),
        ("sigmoid", 3, lambda z: (z > 0).astype(int)),
    ],
)
def test_predict_gives_labels(lib, output, k, expected, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "ROWS", 8)
    net, theta, x, _ = case(output, 20, k)
    labels = predict(net, theta, x, backend=lib.backend, dtype=lib.dtype)
    assert type(labels) is np.ndarray
    assert labels.dtype.kind == "i"
    assert labels.tolist() == expected(logits(net, theta, x)).tolist()


@on_each
def test_predict_gives_the_values_of_a_linear_output(lib, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "ROWS", 8)
    net, theta, x, _ = case("linear", 20)
    values = predict(net, theta, x, backend=lib.backend, dtype=lib.dtype)
    assert values.dtype == lib.dtype
    lib.close(lib.put(values), logits(net, theta, x), scale=10)


def test_theta_x_and_y_may_come_from_any_library(lib) -> None:
    net, theta, x, y = case("softmax", 10)
    expected = evaluate(net, theta, x, y, backend="numpy", dtype=lib.dtype)
    given = lib.put(theta), lib.put(x), lib.put(y)
    assert_scores(lib, evaluate(net, *given, backend="numpy", dtype=lib.dtype), expected)
    assert_scores(lib, evaluate(net, *given, backend=lib.backend, dtype=lib.dtype), expected)


@on_each
def test_images_are_scaled_and_a_bright_one_is_no_overflow(lib) -> None:
    net, theta, _, y = case("softmax", 30)
    net = replace(net, inputs=Scaling.images)
    x = np.random.default_rng(0).integers(0, 256, (30, 5)).astype("uint8")
    options = {"backend": lib.backend, "dtype": lib.dtype}
    assert_scores(lib, evaluate(net, theta, x, y, **options), softmax_scores(logits(net, theta, x / 255), y))


def test_evaluation_changes_none_of_its_arguments() -> None:
    net, theta, x, y = case("softmax", 10)
    before = [a.copy() for a in (theta, x, y)]
    evaluate(net, theta, x, y, backend="numpy", dtype="float64")
    predict(net, theta, x, backend="numpy", dtype="float64")
    assert all(np.array_equal(a, b) for a, b in zip((theta, x, y), before, strict=True))


def test_a_cost_beyond_the_largest_number_is_an_error() -> None:
    """Weights of 1e30 saturate the softmax, but its cost stays finite; a squared error overflows."""
    net, theta, x, y = case("softmax", 10)
    assert np.isfinite(evaluate(net, theta * 1e30, x, y, backend="numpy")["loss"])
    net, theta, x, y = case("linear", 10)
    with pytest.raises(ArithmeticError, match="the loss of these samples is inf: .* too large for float32"):
        evaluate(net, theta * 1e30, x, y, backend="numpy")


def test_confusions_are_counted_by_label_and_prediction() -> None:
    """Rows are labels.  One label does not occur, and one is never predicted."""
    y, predicted = np.array([0, 0, 2, 2, 2]), np.array([0, 2, 2, 2, 0])
    assert evaluation.count_confusions(y, predicted, 4).tolist() == [[1, 0, 1, 0], [0] * 4, [1, 0, 2, 0], [0] * 4]


# From disk


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """x as an array that is mapped from a file, and as the parts of two; read 3 rows at a time, or 4."""
    monkeypatch.setattr(disk_inputs, "WINDOW", 3 * 5 * 8 + 8)

    def put(x):
        np.save(tmp_path / "x.npy", x)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        return {"mapped": mapped, "shards": Shards([mapped[:4], mapped[4:]])}

    return put


@pytest.mark.parametrize("kind", ["mapped", "shards"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("output", HEADS)
def test_samples_on_disk_are_evaluated_window_by_window(on_disk, monkeypatch, output, weighted, kind) -> None:
    """The result is that of samples in memory; windows without any weight are left out."""
    net, theta, x, y = case(output, 11)
    weight = np.array([0, 0, 0, 0, 2.5, 1, 0.5, 3, 0, 1, 1]) if weighted else None
    options = {"sample_weight": weight, "backend": "numpy", "dtype": "float64"}
    expected = evaluate(net, theta, x, y, **options)
    read, take = [], Shards.__getitem__
    monkeypatch.setattr(Shards, "__getitem__", lambda self, rows: read.append(len(rows)) or take(self, rows))
    found = evaluate(net, theta, on_disk(x)[kind], y, **options)
    assert found == pytest.approx(expected, rel=1e-14)
    assert max(read) == 3


@pytest.mark.parametrize("kind", ["mapped", "shards"])
@pytest.mark.parametrize("output", HEADS)
def test_samples_on_disk_are_predicted_window_by_window(on_disk, monkeypatch, output, kind) -> None:
    net, theta, x, _ = case(output, 11)
    expected = predict(net, theta, x, backend="numpy", dtype="float64")
    read, take = [], Shards.__getitem__
    monkeypatch.setattr(Shards, "__getitem__", lambda self, rows: read.append(len(rows)) or take(self, rows))
    found = predict(net, theta, on_disk(x)[kind], backend="numpy", dtype="float64")
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert read == [3, 3, 3, 2]


def test_what_is_wrong_on_disk_is_named_by_its_row(on_disk) -> None:
    net, theta, x, y = case("softmax", 11)
    x[7, 2] = np.nan
    for call in (lambda x: predict(net, theta, x), lambda x: evaluate(net, theta, x, y)):
        with pytest.raises(ValueError, match=r"x must be finite, got nan at x\[7, 2\]"):
            call(on_disk(x)["shards"])
    with pytest.raises(ValueError, match=r"x must have shape \(n, 5\)"):
        predict(net, theta, on_disk(x[:, 0])["mapped"])


# Losses of your own


@on_each
def test_a_loss_of_your_own_has_its_cost_and_no_accuracy_without_a_decision(lib) -> None:
    def cost(s, y):
        xp = namespace(s)
        return xp.sum(xp.log(xp.cosh(s - y)), axis=-1)

    (net, theta, x, y), options = case("linear", 40), {"backend": lib.backend, "dtype": lib.dtype}
    own = replace(net, output=Loss(cost))
    z = logits(net, theta, x)
    assert_scores(lib, evaluate(own, theta, x, y, **options), {"loss": np.log(np.cosh(z - y)).sum(axis=1).mean()})
    assert predict(own, theta, x, **options).tolist() == predict(net, theta, x, **options).tolist()


def test_a_classifier_of_your_own_has_an_accuracy_and_checks_its_labels() -> None:
    net, theta, x, y = case("sigmoid", 40)
    twice = binary._replace(cost=lambda s, y: 2 * binary.cost(s, y))
    named, own = (evaluate(n, theta, x, y, backend="numpy") for n in (net, replace(net, output=twice)))
    assert own == {"loss": pytest.approx(2 * named["loss"]), "accuracy": named["accuracy"]}
    with pytest.raises(ValueError, match=r"y must be 0 or 1, got y\[3\] = 2"):
        evaluate(replace(net, output=twice), theta, x, np.where(np.arange(40) == 3, 2, y), backend="numpy")


@pytest.mark.parametrize("output", HEADS)
def test_a_result_that_is_not_finite_is_an_error_and_never_a_label(output) -> None:
    k, labels = HEADS[output]
    rng = np.random.default_rng(0)
    net, x = Network([3, 5, k], output=output), rng.normal(size=(20, 3))
    theta, y = net.initialize(0), labels(rng, 20)
    for scale in (1e30, 1e38):
        with pytest.raises(ArithmeticError, match="the loss of these samples is (nan|inf)"):
            evaluate(net, theta * np.float32(1e9), x * scale, y, backend="numpy")
        if output != "sigmoid" or scale == 1e38:  # sigmoid(inf) is 1
            with pytest.raises(ArithmeticError, match="outputs are not finite"):
                predict(net, theta * np.float32(1e19), x * scale, backend="numpy")
    assert np.isfinite(evaluate(net, theta, x, y, backend="numpy")["loss"])


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_k_networks_predict_by_the_mean_of_their_probabilities(output) -> None:
    net = Network([4, 5, 1 if output == "sigmoid" else 3], output=output)
    theta = np.stack([net.initialize(seed, "float64") for seed in range(3)])
    x = np.random.default_rng(0).normal(size=(7, 4))
    p = np.mean([net.predict_proba(row, x) for row in theta], axis=0)
    expected = p if output == "linear" else net.head.decide(p)
    np.testing.assert_allclose(predict(net, theta, x, backend="numpy", dtype="float64"), expected)
