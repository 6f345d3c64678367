"""Losses against their definitions written with ``math``; delta as the derivative of the mean value by complex step.

A new loss needs one entry in ``DEFINITIONS``.
"""

from collections.abc import Callable
from functools import partial
import math
from typing import NamedTuple

import numpy as np
import pytest

from xpdl import Loss
from xpdl.activations import positive
from xpdl.arrays import namespace
from xpdl.losses import FAMILIES, LOSSES, by_name, huber, linear, name as name_of, quantile

SEED = 20240607
N, K = 5, 3
Z = np.random.default_rng(SEED).normal(scale=2.0, size=(N, K))


def naive_softmax(z):
    total = math.fsum(math.exp(v) for v in z)
    return [math.exp(v) / total for v in z]


def naive_sigmoid(z):
    return [1 / (1 + math.exp(-v)) for v in z]


def naive_cross_entropy(p, y):
    return -math.fsum(t * math.log(q) for q, t in zip(p, y, strict=True))


def naive_binary_cross_entropy(p, y):
    return -math.fsum(t * math.log(q) + (1 - t) * math.log(1 - q) for q, t in zip(p, y, strict=True))


def naive_half_squares(p, y):
    return math.fsum((q - t) ** 2 for q, t in zip(p, y, strict=True)) / 2


def naive_huber(p, y, delta=1.0):
    errors = (abs(q - t) for q, t in zip(p, y, strict=True))
    return math.fsum(e * e / 2 if e <= delta else delta * (e - delta / 2) for e in errors)


def naive_poisson(p, y):
    return math.fsum(q - t * math.log(q) for q, t in zip(p, y, strict=True))


def naive_absolute(p, y):
    return math.fsum(abs(q - t) for q, t in zip(p, y, strict=True))


def naive_quantile(p, y, q=0.5):
    return math.fsum(max(q * (b - a), (1 - q) * (a - b)) for a, b in zip(p, y, strict=True))


def clipped(s, p, y):
    """The error between -1 and 1."""
    e = s - y
    above, below = positive(e - 1), positive(-1 - e)
    return e * (1 - above - below) + above - below


def huber_cost(s, y):
    c = clipped(s, s, y)
    return namespace(s).sum(c * (s - y - 0.5 * c), axis=-1)


class Definition(NamedTuple):
    """What a loss must be."""

    response: Callable  # z (k,) -> p (k,)
    cost: Callable  # (p, y) -> the cost of a sample
    targets: np.ndarray  # (N, K)
    refused: list  # shapes of y that are wrong for (N, K)
    canonical: bool = True  # whether dz is (p - y) / n


COLUMNS = [(), (5,), (5, 1), (3, 5), (5, 3, 1)]
BITS = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=float)
COUNTS = np.random.default_rng(SEED + 2).poisson(2.0, size=(N, K)).astype(float)
VALUES = np.random.default_rng(SEED + 1).normal(size=(N, K))

DEFINITIONS = {
    "softmax": Definition(
        naive_softmax, naive_cross_entropy, np.eye(K)[[0, 2, 1, 1, 0]], [(), (4,), (5, 2), (1, 5), (5, 3, 1)]
    ),
    "sigmoid": Definition(naive_sigmoid, naive_binary_cross_entropy, BITS, COLUMNS),
    "linear": Definition(list, naive_half_squares, VALUES, COLUMNS),
    "poisson": Definition(lambda z: [math.exp(v) for v in z], naive_poisson, COUNTS, COLUMNS),
    "absolute": Definition(list, naive_absolute, VALUES, COLUMNS, canonical=False),
    "huber": Definition(list, naive_huber, VALUES, COLUMNS, canonical=False),
    "huber:0.3": Definition(list, partial(naive_huber, delta=0.3), VALUES, COLUMNS, canonical=False),
    "quantile": Definition(list, naive_quantile, VALUES, COLUMNS, canonical=False),
    "quantile:0.9": Definition(list, partial(naive_quantile, q=0.9), VALUES, COLUMNS, canonical=False),
    "own huber": Definition(list, naive_huber, VALUES, COLUMNS, canonical=False),
}
NUMBERED = {name: by_name(name) for name in ("huber:0.3", "quantile:0.9")}
TESTED = LOSSES | NUMBERED | {"own huber": Loss(huber_cost, clipped)}

every_loss = pytest.mark.parametrize("name", TESTED)


def naive(name, z, y):
    """p and the cost of each sample."""
    definition = DEFINITIONS[name]
    p = [definition.response(row) for row in z.tolist()]
    return np.array(p), np.array([definition.cost(q, t) for q, t in zip(p, y.tolist(), strict=True)])


def complex_step(lib, name, y, step):
    """d(mean value)/dz (n, k): all entries of z (N, K) perturbed one by one, in one stack."""
    dtype = {"float64": "complex128", "float32": "complex64"}[lib.dtype]
    stack = Z + step * 1j * np.eye(N * K).reshape(N * K, N, K)
    value = lib.host(lib.call(TESTED[name].value, lib.put(stack, dtype), lib.put(y)))
    return (value.imag.mean(axis=-1) / step).reshape(N, K)


def mean_cost(lib, name, z, labels):
    """The mean cost of labels that are encoded first, as a Python number."""
    loss, z = TESTED[name], lib.put(z)
    y = loss.encode(lib.put(np.asarray(labels)), tuple(z.shape), z.dtype)
    return float(lib.host(loss.value(z, y)).mean())


def test_every_loss_has_its_definition_here() -> None:
    assert TESTED.keys() == DEFINITIONS.keys()


@every_loss
def test_predict_and_value_are_the_definitions(lib, name) -> None:
    y = DEFINITIONS[name].targets
    p, cost = naive(name, Z, y)
    lib.close(lib.call(TESTED[name].predict, lib.put(Z)), p)
    lib.close(lib.call(TESTED[name].value, lib.put(Z), lib.put(y)), cost)


@every_loss
def test_delta_is_the_derivative_of_the_mean_value(lib, name) -> None:
    delta = lib.call(TESTED[name].delta, lib.put(Z), lib.put(DEFINITIONS[name].targets))
    lib.close(delta, complex_step(lib, name, DEFINITIONS[name].targets, 1e-30))


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if DEFINITIONS[name].canonical])
def test_delta_of_a_canonical_link_is_p_minus_y_over_n(lib, name) -> None:
    y = DEFINITIONS[name].targets
    lib.close(lib.call(TESTED[name].delta, lib.put(Z), lib.put(y)), (naive(name, Z, y)[0] - y) / N)


@every_loss
def test_value_and_delta_are_value_and_delta(lib, name) -> None:
    loss, z, y = TESTED[name], lib.put(Z), lib.put(DEFINITIONS[name].targets)
    value, delta = lib.call(loss.value_and_delta, z, y)
    lib.close(value, lib.host(lib.call(loss.value, z, y)))
    lib.close(delta, lib.host(lib.call(loss.delta, z, y)))


@every_loss
def test_leading_axes_are_a_stack_of_logits(lib, name) -> None:
    loss, y = TESTED[name], lib.put(DEFINITIONS[name].targets)
    stack = np.stack([Z, -Z, 0.5 * Z])
    value, delta = lib.call(loss.value_and_delta, lib.put(stack), y)
    alone = [lib.call(loss.value_and_delta, lib.put(z), y) for z in stack]
    lib.close(value, np.stack([lib.host(v) for v, _ in alone]))
    lib.close(delta, np.stack([lib.host(d) for _, d in alone]))


@every_loss
def test_dtypes_are_kept(lib, name) -> None:
    z, y = lib.put(Z, "float32"), lib.put(DEFINITIONS[name].targets, "float32")
    for result in (*lib.call(TESTED[name].value_and_delta, z, y), lib.call(TESTED[name].predict, z)):
        assert str(lib.host(result).dtype) == "float32"


@every_loss
def test_arguments_are_left_alone(lib, name) -> None:
    loss, z, y = TESTED[name], lib.put(Z), lib.put(DEFINITIONS[name].targets)
    before = [lib.host(a).tobytes() for a in (z, y)]
    loss.predict(z)
    loss.value_and_delta(z, loss.encode(y, (N, K), z.dtype))
    assert [lib.host(a).tobytes() for a in (z, y)] == before


@every_loss
def test_nan_logits_give_a_nan_cost(lib, name) -> None:
    z = Z.copy()
    z[2, 1] = math.nan
    value = lib.host(lib.call(TESTED[name].value, lib.put(z), lib.put(DEFINITIONS[name].targets)))
    assert np.isnan(value).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("name", "z", "y", "cost", "delta"),
    [
        ("softmax", [1e4, -1e4], [1.0, 0.0], 0.0, [0.0, 0.0]),
        ("softmax", [1e4, -1e4], [0.0, 1.0], 2e4, [1.0, -1.0]),
        ("softmax", [1e4, 1e4], [0.0, 1.0], math.log(2), [0.5, -0.5]),
        ("sigmoid", [1e4, -1e4], [1.0, 0.0], 0.0, [0.0, 0.0]),
        ("sigmoid", [1e4, -1e4], [0.0, 1.0], 2e4, [1.0, -1.0]),
        ("linear", [1e4, -1e4], [0.0, 0.0], 1e8, [1e4, -1e4]),
    ],
)
def test_saturated_outputs_have_exact_costs(lib, name, z, y, cost, delta) -> None:
    value, dz = lib.call(TESTED[name].value_and_delta, lib.put([z]), lib.put([y]))
    lib.close(value, [cost])
    lib.close(dz, [delta])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_class_is_certain(lib, shape) -> None:
    """A column of labels is no column of targets: class 0 is the target 1."""
    loss, z = LOSSES["softmax"], lib.put([[3.0], [-1e4]])
    y = loss.encode(lib.put(np.zeros(shape, dtype=int)), (2, 1), z.dtype)
    value, dz = lib.call(loss.value_and_delta, z, y)
    assert lib.host(value).tolist() == [0.0, 0.0]
    assert lib.host(dz).tolist() == [[0.0], [0.0]]
    assert lib.host(loss.predict(z)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("uint8", (4,)), ("int8", (4, 1)), ("int32", (4,)), ("int64", (4, 1)), ("float32", (4,)), ("float32", (4, 1))],
)
def test_labels_of_any_dtype_become_one_hot_rows(lib, dtype, shape) -> None:
    labels = np.array([2, 0, 1, 2]).reshape(shape)
    y = lib.call(lambda y: LOSSES["softmax"].encode(y, (4, 3), lib.put(Z).dtype), lib.put(labels, dtype))
    assert lib.host(y).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert str(lib.host(y).dtype) == lib.dtype


@pytest.mark.parametrize(("name", "k", "rows"), [("softmax", 2, [[0, 1], [1, 0]]), ("sigmoid", 1, [[1], [0]])])
def test_boolean_labels_are_classes_0_and_1(lib, name, k, rows) -> None:
    y = lib.call(lambda y: TESTED[name].encode(y, (2, k), lib.put(Z).dtype), lib.put(np.array([True, False])))
    assert lib.host(y).tolist() == rows


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (4,)), ("int64", (4, 1)), ("float32", (4,))])
def test_labels_of_one_sigmoid_may_be_a_column_or_flat(lib, dtype, shape) -> None:
    labels = np.array([1, 0, 0, 1]).reshape(shape)
    y = lib.call(lambda y: LOSSES["sigmoid"].encode(y, (4, 1), lib.put(Z).dtype), lib.put(labels, dtype))
    assert lib.host(y).tolist() == [[1], [0], [0], [1]]
    assert str(lib.host(y).dtype) == lib.dtype


def test_one_hot_rows_and_probabilities_stay_what_they_are(lib) -> None:
    soft = np.array([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    lib.close(LOSSES["softmax"].encode(lib.put(soft), (2, 3), lib.put(Z).dtype), soft)
    hard = lib.put(np.array([[0, 1, 0], [1, 0, 0]]), "uint8")
    lib.close(LOSSES["softmax"].encode(hard, (2, 3), lib.put(Z).dtype), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def test_soft_labels_cost_the_mixture_of_the_hard_ones(lib) -> None:
    z = Z[:1]
    hard = [mean_cost(lib, "softmax", z, [label]) for label in range(K)]
    soft = mean_cost(lib, "softmax", z, np.array([[0.2, 0.3, 0.5]]))
    assert soft == pytest.approx(0.2 * hard[0] + 0.3 * hard[1] + 0.5 * hard[2], rel=10 * lib.tolerance)


@pytest.mark.parametrize("label", [-1, 3, 0.5, math.nan, 2**31 - 1])
def test_a_label_that_is_no_class_gives_a_nan_cost_for_its_sample_alone(lib, label) -> None:
    loss, z = LOSSES["softmax"], lib.put(Z[:2])
    value, dz = lib.call(
        lambda z, labels: loss.value_and_delta(z, loss.encode(labels, (2, K), z.dtype)),
        z,
        lib.put(np.array([1, label])),
    )
    assert np.isnan(lib.host(value)).tolist() == [False, True]
    assert np.isnan(lib.host(dz)).tolist() == [[False] * K, [True] * K]


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name in DEFINITIONS for shape in DEFINITIONS[name].refused]
)
def test_targets_of_another_shape_are_refused(name, shape) -> None:
    """The message has the shape that came and one that would do."""
    with pytest.raises(ValueError, match=r"^y must .*\(5, 3\).*got ") as error:
        TESTED[name].encode(np.zeros(shape), (N, K), np.dtype("float64"))
    assert str(error.value).endswith(str(shape))


def test_decisions(lib) -> None:
    """The most probable class, the first of equals; more than one half for sigmoids; none for values."""
    p = lib.put([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    assert lib.host(lib.call(LOSSES["softmax"].decide, p)).tolist() == [1, 0]
    decided = lib.host(lib.call(LOSSES["sigmoid"].decide, lib.put([[0.5], [0.75], [0.25]])))
    assert decided.tolist() == [[0], [1], [0]]
    assert decided.dtype.kind == "i"
    assert LOSSES["linear"].decide is None


def test_a_cost_alone_is_a_loss_of_values() -> None:
    """All else is that of ``linear``."""
    alone, y = Loss(linear.cost), DEFINITIONS["linear"].targets
    for ours, theirs in zip(alone.value_and_delta(Z, y), linear.value_and_delta(Z, y), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert alone.predict(Z) is Z
    assert alone.decide is None
    assert alone.classes(2) == 0


@pytest.mark.parametrize(
    ("name", "classes", "outputs"),
    [("softmax", 1, 1), ("softmax", 10, 10), ("sigmoid", 1, 1), ("sigmoid", 2, 1), ("sigmoid", 3, 1), ("linear", 5, 1)],
)
def test_outputs_that_tell_classes_apart(name, classes, outputs) -> None:
    assert LOSSES[name].outputs(classes) == outputs


@pytest.mark.parametrize(
    ("name", "y", "good"),
    [
        ("softmax", [0, 2, 3, -1], [True, True, False, False]),
        ("softmax", [[0.0], [0.5], [2.0]], [[True], [False], [True]]),
        ("softmax", [[0.2, 0.3, 0.5], [0.2, 0.3, 0.6], [1.5, -0.5, 0.0]], [True, False, False]),
        ("sigmoid", [[0, 1, 2], [1, 0.5, -1]], [[True, True, False], [True, True, False]]),
        ("poisson", [[0, 1.5, -1]], [[True, True, False]]),
    ],
)
def test_labels_that_are_accepted(name, y, good) -> None:
    accepted, _ = LOSSES[name].accepts(np.array(y), 3)
    assert accepted.tolist() == good


def test_any_finite_number_is_accepted_as_a_value() -> None:
    assert LOSSES["linear"].accepts is None


@pytest.mark.parametrize("name", LOSSES)
def test_targets_that_are_encoded_stay_what_they_are(lib, name) -> None:
    y = lib.put(DEFINITIONS[name].targets)
    again = lib.call(lambda y: TESTED[name].encode(y, (N, K), y.dtype), y)
    assert lib.host(again).tobytes() == lib.host(y).tobytes()


def test_weights_of_samples_are_divided_by_their_sum(lib) -> None:
    weight = np.array([1.0, 0.0, 2.0, 3.0, 0.5])
    for name, definition in DEFINITIONS.items():
        slope = TESTED[name].delta(Z, definition.targets) * N
        delta = lib.call(TESTED[name].delta, lib.put(Z), lib.put(definition.targets), lib.put(weight))
        lib.close(delta, slope * weight[:, None] / weight.sum())


PER_OUTPUT = [name for name in DEFINITIONS if TESTED[name].per_output]


def test_only_outputs_that_meet_have_no_weights_of_their_own() -> None:
    assert set(LOSSES) - set(PER_OUTPUT) == {"softmax"}


@pytest.mark.parametrize("name", PER_OUTPUT)
def test_weights_of_outputs_weigh_their_costs(lib, name) -> None:
    weight = np.random.default_rng(0).uniform(size=(N, K)) * np.array(
        [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 0]]
    )
    loss, y = TESTED[name], DEFINITIONS[name].targets
    each = np.stack([naive(name, Z[:, [j]], y[:, [j]])[1] for j in range(K)], axis=1)
    value, dz = lib.call(loss.value_and_delta, lib.put(Z), lib.put(y), lib.put(weight))
    lib.close(value, (weight * each).sum(axis=1))
    lib.close(lib.call(loss.value, lib.put(Z), lib.put(y), lib.put(weight)), (weight * each).sum(axis=1))
    lib.close(dz, loss.delta(Z, y) * N * weight * K / weight.sum())
    of_samples = loss.delta(Z, y, weight[:, 0] + 1)
    lib.close(loss.delta(Z, y, np.repeat(weight[:, :1] + 1, K, axis=1)), of_samples)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_logarithms_of_probabilities_come_from_the_logits(lib, name) -> None:
    lib.close(lib.call(LOSSES[name].log_predict, lib.put(Z)), np.log(naive(name, Z, DEFINITIONS[name].targets)[0]))
    z = lib.put([[-1e4, 0.0, 1e4]])
    log_p = lib.host(lib.call(LOSSES[name].log_predict, z))
    assert np.isfinite(log_p).all()
    assert log_p[0, 0] == {"softmax": -2e4, "sigmoid": -1e4}[name]


def test_the_other_class_has_its_logarithm_too(lib) -> None:
    z = np.array([[-1e4], [-2.0], [30.0], [1e4]])
    found = lib.host(lib.call(lambda z: LOSSES["sigmoid"].log_predict(z, complement=True), lib.put(z)))
    np.testing.assert_allclose(found, -np.logaddexp(0, z), rtol=1e-5)


def test_logarithms_of_a_loss_of_ones_own_are_finite(lib) -> None:
    own = LOSSES["sigmoid"]._replace(log_response=None)
    for complement in (False, True):
        log_p = lib.host(
            lib.call(lambda z, c=complement: own.log_predict(z, complement=c), lib.put([[-1e4, 0.5, 1e4]]))
        )
        assert np.isfinite(log_p).all()
        assert log_p[0, 1] == pytest.approx(-np.logaddexp(0, 0.5 if complement else -0.5), rel=1e-5)


def test_names_and_losses_belong_together() -> None:
    for name in (*LOSSES, *NUMBERED):
        assert name_of(by_name(name)) == name
    assert (
        (by_name("huber:1.0"), by_name("quantile:0.5"))
        == (LOSSES["huber"], LOSSES["quantile"])
        == (huber(), quantile())
    )
    assert name_of(huber(delta=2)) == "huber:2.0"
    assert name_of(huber(2.0)._replace(near_one=True)) is None
    assert name_of(Loss(huber_cost)) is None
    assert FAMILIES.keys() < LOSSES.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hubr", "output must be one of .*; did you mean 'huber'"),
        ("huber:", "output must have a number behind 'huber:', got 'huber:'"),
        ("huber:x", "output must have a number behind 'huber:', got 'huber:x'"),
        ("huber:-1", "delta must be finite and at least 0"),
        ("huber:0", "delta must be greater than 0"),
        ("quantile:1", r"q must be finite and in \[0, 1\)"),
        ("quantile:0", "q must be greater than 0"),
        ("linear:2", "output must be one of"),
    ],
)
def test_what_is_no_name_is_an_error(name, message) -> None:
    with pytest.raises(ValueError, match=message):
        by_name(name)


@pytest.mark.parametrize("name", ["absolute", "quantile", "huber"])
def test_where_the_error_is_zero_so_is_the_derivative(lib, name) -> None:
    assert lib.host(lib.call(LOSSES[name].delta, lib.put(VALUES), lib.put(VALUES))).any() == np.False_


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("poisson", "HalfPoissonLoss"),
        ("absolute", "AbsoluteError"),
        ("huber:0.3", "HuberLoss"),
        ("quantile:0.9", "PinballLoss"),
        ("linear", "HalfSquaredError"),
        ("sigmoid", "HalfBinomialLoss"),
    ],
)
def test_losses_are_those_of_scikit_learn(name, theirs) -> None:
    loss = pytest.importorskip("sklearn._loss.loss")
    options = {"huber:0.3": {"delta": 0.3}, "quantile:0.9": {"quantile": 0.9}}.get(name, {})
    reference, y, z = getattr(loss, theirs)(**options), DEFINITIONS[name].targets[:, 0].copy(), Z[:, 0].copy()
    cost, slope = reference.loss_gradient(y, z)
    ours = TESTED[name].value_and_delta(Z[:, :1], DEFINITIONS[name].targets[:, :1])
    np.testing.assert_allclose(ours[0], cost, rtol=1e-6)
    np.testing.assert_allclose(N * ours[1][:, 0], slope, rtol=1e-6)
