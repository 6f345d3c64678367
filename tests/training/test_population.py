"""Each of K networks in one run is the run it would be alone; here on samples that leave a ragged last batch."""

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

import xpdl
from xpdl import EarlyStopping, KeepBest, Network, schedules, train
from xpdl.training.population import check_rows, number_of_networks

rng = np.random.default_rng(0)
N, K = 45, 3
X, LABELS, VALUES = rng.normal(size=(N, 6)), np.arange(N) % 3, rng.normal(size=(N, 2))
SEEDS, RATES = [3, 2**63, 3], [0.01, 0.003, 0.03]
BOOTSTRAPS = np.stack([np.bincount(rng.integers(0, N, N), minlength=N) for _ in range(K)]).astype(float)
BOOTSTRAPS[1, 15:] = 0  # so it has fewer steps in an epoch
CLASSES = Network([6, 7, 5, 3], l2=0.3, dropout=[0.4, 0.0], inputs=xpdl.Scaling([0.1] * 6, 2.0))
REGRESSION = Network([6, 5, 2], output="linear", hidden="tanh", dropout=0.2)
THETA = np.stack([CLASSES.initialize(seed, "float64") for seed in range(K)])

OWN = {
    "seed": SEEDS,
    "theta": THETA,
    "sample_weight": BOOTSTRAPS,
    "optimizer": [xpdl.adam(schedules.cosine(rate, 9)) for rate in RATES],
}
"""What each of three networks may have for itself."""


def run(net=CLASSES, y=LABELS, **options):
    options = {"epochs": 3, "batch_size": 11, "backend": "numpy", "dtype": "float64", "progress": False} | options
    return train(net, X, y, **options)


def together(own):
    """Return these options for the three networks at once."""
    at_once = {"optimizer": xpdl.adam(schedules.cosine(RATES, 9))}
    return {name: at_once.get(name, OWN[name]) for name in own}


def check_alone(result, alone, tolerance=1e-12):
    """Check that each network has the parameters and the numbers of its own run."""
    assert result.theta.shape == (len(alone), alone[0].theta.size)
    for k, expected in enumerate(alone):
        np.testing.assert_allclose(
            result.theta[k], expected.theta, rtol=0, atol=tolerance * np.abs(expected.theta).max()
        )
        for together, metrics in zip(result.history, expected.history, strict=False):
            assert together["epoch"] == metrics["epoch"]
            for name in metrics.keys() - {"seconds", "epoch"}:
                assert together[name].shape == (len(alone),)
                assert together[name][k] == pytest.approx(metrics[name], rel=tolerance)


@given(st.sets(st.sampled_from(sorted(OWN)), min_size=1), st.booleans(), st.sampled_from([None, 8, 11, 45]))
@settings(max_examples=12, deadline=None)
def test_each_network_is_the_run_it_would_be_alone(own, shuffle, batch_size) -> None:
    same = {"shuffle": shuffle, "batch_size": batch_size, "validation": (X[:9], LABELS[:9])}
    alone = [run(**same, **{name: OWN[name][k] for name in own}) for k in range(K)]
    check_alone(run(**same, **together(own)), alone)


@pytest.mark.parametrize("lib", ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"], indirect=True)
def test_on_every_library(lib) -> None:
    options = together(OWN) | {"dtype": lib.dtype, "validation": (X, LABELS)}
    expected, result = run(**options), run(**options, backend=lib.backend)
    np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=20 * lib.tolerance)
    for name in ("loss", "validation_loss", "validation_accuracy"):
        np.testing.assert_allclose(result.history[-1][name], expected.history[-1][name], rtol=20 * lib.tolerance)


def test_weights_of_outputs_and_validation_of_each_network() -> None:
    same = {"net": REGRESSION, "y": VALUES}
    weight = rng.integers(0, 3, size=(K, N, 2)).astype(float)
    alone = [run(**same, sample_weight=w, validation=(X, VALUES, 2 - w)) for w in weight]
    check_alone(run(**same, sample_weight=weight, validation=(X, VALUES, 2 - weight)), alone)
    alone = [run(**same, seed=seed, sample_weight=weight[0]) for seed in SEEDS]
    check_alone(run(**same, seed=SEEDS, sample_weight=weight[0]), alone)


@pytest.mark.parametrize("callback", [lambda: EarlyStopping(2), lambda: KeepBest("validation_accuracy")])
def test_each_network_keeps_its_own_best_epoch(callback) -> None:
    same = {"validation": (X[:20], LABELS[:20]), "epochs": 40, "optimizer": xpdl.adam(0.05)}
    kept = [callback() for _ in range(K)]
    alone = [run(**same, seed=seed, callbacks=[best]) for seed, best in zip(SEEDS, kept, strict=True)]
    best = callback()
    result = run(**same, seed=SEEDS, callbacks=[best])
    assert len(result.history) == max(len(expected.history) for expected in alone)
    check_alone(result, alone)
    assert best.metrics["epoch"].tolist() == [each.metrics["epoch"] for each in kept]


def test_a_run_that_stops_and_goes_on_gives_the_same_bits(tmp_path) -> None:
    path = tmp_path / "run"
    options = {"seed": SEEDS, "sample_weight": BOOTSTRAPS, "validation": (X, LABELS), "optimizer": xpdl.adam(RATES)}
    expected = run(**options, epochs=6, callbacks=[EarlyStopping(2)])
    first = run(**options, epochs=2, checkpoint=path, callbacks=[EarlyStopping(2)])
    for resume in (path, first):
        callbacks = [EarlyStopping(2)] if resume is path else []
        result = run(**options, epochs=6, resume=resume, callbacks=callbacks)
        if resume is path:
            assert result.theta.tobytes() == expected.theta.tobytes()
        for metrics, others in zip(result.history, expected.history, strict=False):
            assert metrics["loss"].tolist() == others["loss"].tolist()
    with pytest.raises(FileExistsError):  # another run
        run(**options | {"optimizer": xpdl.adam(0.5)}, epochs=2, checkpoint=path)


def test_other_rates_are_used_with_a_warning(tmp_path) -> None:
    path = tmp_path / "run"
    run(optimizer=xpdl.adam(RATES), epochs=1, checkpoint=path)
    with pytest.warns(UserWarning, match="resumed with changes: .*0.01.*0.02"):
        run(optimizer=xpdl.adam([0.02, 0.003, 0.03]), resume=path)


def test_initial_parameters_of_k_networks_are_resumed(tmp_path) -> None:
    path = tmp_path / "run"
    run(theta=THETA, epochs=1, checkpoint=path)
    assert run(resume=path).theta.tobytes() == run(theta=THETA).theta.tobytes()


@pytest.mark.parametrize("own", [["seed"], ["theta", "sample_weight"], ["optimizer"]])
def test_any_number_of_ranks_computes_the_same_run(own, on_ranks) -> None:
    options = together(own) | {"validation": (X[:7], LABELS[:7], BOOTSTRAPS[:, :7] + 1)}
    expected = run(**options)
    for result in on_ranks(3, lambda ranks: run(communicator=ranks, **options)):
        np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=1e-12)
        np.testing.assert_allclose(result.history[-1]["validation_loss"], expected.history[-1]["validation_loss"])


def test_the_networks_that_diverge_are_named() -> None:
    with pytest.raises(xpdl.DivergenceError, match="of network 1 and 1 others in step"):
        run(net=REGRESSION, y=VALUES, optimizer=xpdl.sgd([0.01, 1e200, 1e200]))


WRONG = {
    "seed and theta": ({"seed": [0, 1], "theta": THETA}, "seed and theta must be .* got 2 in seed, 3 in theta"),
    "no seed": ({"seed": []}, "seed must be"),
    "no network": ({"theta": THETA[:0]}, "theta must have shape"),
    "a network without samples": ({"sample_weight": BOOTSTRAPS * [[1], [0], [1]]}, "sample_weight must be above 0"),
    "a check of gradients": ({"seed": [0, 1], "check_gradients": 1}, "check_gradients must be None"),
    "rates without the axis": ({"optimizer": xpdl.sgd(lambda t: np.ones(2))}, "a schedule must return"),
    "validation": ({"validation": (X, LABELS, BOOTSTRAPS)}, "validation sample_weight"),
    "state without rows": (
        {"sample_weight": BOOTSTRAPS, "optimizer": xpdl.Optimizer(lambda t: 0, lambda t, g, s: (t, s))},
        "optimizer must have shape",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_possible_is_an_error_that_names_the_argument(case) -> None:
    options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_the_number_of_networks() -> None:
    assert number_of_networks({"seed": None, "theta": 2, "sample_weight": 2}) == 2
    assert number_of_networks({"seed": None}) is None
    check_rows((np.zeros((3, 1)), None), 3)


def test_evaluate_gives_the_numbers_of_each_network() -> None:
    found = xpdl.evaluate(CLASSES, THETA, X, LABELS, sample_weight=BOOTSTRAPS, backend="numpy", dtype="float64")
    for k in range(K):
        alone = xpdl.evaluate(
            CLASSES, THETA[k], X, LABELS, sample_weight=BOOTSTRAPS[k], backend="numpy", dtype="float64"
        )
        assert {name: value[k] for name, value in found.items()} == pytest.approx(alone)
    with pytest.raises(ValueError, match="theta must hold 3 networks"):
        xpdl.evaluate(CLASSES, THETA[0], X, LABELS, sample_weight=BOOTSTRAPS, backend="numpy")


@pytest.mark.parametrize("own", [["seed"], ["theta", "optimizer"]])
def test_steps_of_many_parameters_are_the_same_in_c(own) -> None:
    """All networks together have more than numpy_replay.LONG parameters; alone they have fewer."""
    net, x = Network([784, 60, 3], l2=0.1, inputs=xpdl.Scaling.images), rng.integers(0, 256, (N, 784), dtype=np.uint8)
    theta = np.stack([net.initialize(seed, "float64") for seed in range(K)])
    options = {"batch_size": 15, "epochs": 3, "backend": "numpy", "dtype": "float64", "progress": False}
    at_once = together(own) | ({"theta": theta} if "theta" in own else {})
    each = [{name: (OWN | {"theta": theta})[name][k] for name in own} for k in range(K)]
    alone = [train(net, x, LABELS, **options, **one) for one in each]
    check_alone(train(net, x, LABELS, **options, **at_once), alone)
