"""Any number of ranks computes the run of one, to rounding; here the ranks are threads."""

from contextlib import contextmanager
from itertools import chain, repeat

import numpy as np
import pytest

import xpdl
from xpdl import DivergenceError, KeepBest, Network, Optimizer, StopTraining, train
from xpdl.training import loop
from xpdl.training.evaluation import Evaluator
from xpdl.training.signals import Interrupt

rng = np.random.default_rng(0)
X, Y, WEIGHT = rng.normal(size=(45, 6)), np.arange(45) % 3, rng.uniform(0.1, 3, size=45)
WEIGHT[::7] = 0
PLAIN, DROPPING = Network([6, 7, 3], hidden="tanh"), Network([6, 7, 5, 3], l2=0.3, dropout=[0.5, 0.0])
PLAIN_SGD = Optimizer(lambda theta: 0, lambda theta, grad, step: (theta - 0.1 * grad, step + 1))


def run(net=DROPPING, x=X, y=Y, **options):
    """45 samples in batches of 11: the last has one, so that of several ranks all but one have none."""
    return train(
        net, x, y, **{"batch_size": 11, "epochs": 3, "backend": "numpy", "progress": False, "seed": 3} | options
    )


def timeless(history):
    return [{name: value for name, value in metrics.items() if name != "seconds"} for metrics in history]


def close(result, expected, tolerance=1e-12):
    """Assert that two results are the same to rounding."""
    np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=tolerance * np.abs(expected.theta).max())
    assert len(result.history) == len(expected.history)
    for metrics, others in zip(timeless(result.history), timeless(expected.history), strict=True):
        assert metrics == pytest.approx(others, rel=tolerance)


CASES = {
    "plain": {"net": PLAIN},
    "dropout, L2": {},
    "weights": {"sample_weight": WEIGHT},
    "validation": {"net": PLAIN, "validation": (X[:7], Y[:7])},
    "weighted validation": {"validation": (X[:2], Y[:2], WEIGHT[1:3]), "sample_weight": WEIGHT},
    "own optimizer": {"net": PLAIN, "optimizer": PLAIN_SGD},
    "one batch": {"batch_size": None, "optimizer": xpdl.momentum(0.1)},
    "values": {"net": Network([6, 4, 2], output="linear", l2=1.0), "y": rng.normal(size=(45, 2))},
}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lib", ["numpy", "strict-device1"], indirect=True)
def test_any_number_of_ranks_computes_the_same_run(lib, case, size, on_ranks) -> None:
    options = CASES[case] | {"backend": lib.backend, "dtype": "float64"}
    expected = run(**options)
    for result in on_ranks(size, lambda ranks: run(communicator=ranks, **options)):
        close(result, expected)


@pytest.mark.parametrize("lib", ["strict-no_float64", "jax", "torch", "cupy"], indirect=True)
def test_on_every_library(lib, on_ranks) -> None:
    options = {"backend": lib.backend, "dtype": lib.dtype, "sample_weight": WEIGHT, "validation": (X, Y)}
    expected = run(**options)
    for result in on_ranks(2, lambda ranks: run(communicator=ranks, **options)):
        close(result, expected, 10 * lib.tolerance)


def test_one_all_reduce_a_step_of_the_gradient_and_three_numbers(on_ranks) -> None:
    sizes = []

    def spied(ranks):
        real = ranks.allreduce
        ranks.allreduce = lambda array: sizes.append(array.shape) or real(array)
        return run(communicator=ranks)

    on_ranks(2, spied)
    assert sizes.count((DROPPING.size + 3,)) == 2 * 3 * 5
    assert len(sizes) - 2 * 3 * 5 == 2 * 4  # to agree at the start, and on the signal at the end


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (4, 1)])
def test_a_run_is_resumed_on_another_number_of_ranks(tmp_path, before, after, on_ranks) -> None:
    path, expected = tmp_path / "run", run(epochs=4)
    on_ranks(before, lambda ranks: run(epochs=2, checkpoint=path, communicator=ranks))
    for result in on_ranks(after, lambda ranks: run(epochs=4, resume=path, communicator=ranks)):
        close(result, expected, 1e-5)


@pytest.fixture
def interrupted():
    """interrupted(patch, step): one of the next ranks is asked to end in that step of its own."""

    def set_up(patch, step):
        class Asked(Interrupt):
            signal = 15
            calls = 0

            @property
            def requested(self):
                self.calls += 1
                return self.calls >= step

        @contextmanager
        def interruptible(*signals):
            yield next(interrupts)

        interrupts = chain([Asked()], repeat(Interrupt()))
        patch.setattr(loop, "interruptible", interruptible)

    return set_up


@pytest.mark.parametrize(("step", "done"), [(1, 2), (4, 5), (5, 1), (8, 4)])
def test_a_signal_on_one_rank_ends_all_after_the_next_step(tmp_path, step, done, interrupted, on_ranks) -> None:
    path = tmp_path / "run"
    expected = run(dtype="float64")
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, step)
        results = on_ranks(3, lambda ranks: run(communicator=ranks, checkpoint=path, dtype="float64"))
    assert [result.signal for result in results] == [15, 15, 15]
    assert len({result.theta.tobytes() for result in results}) == 1
    document = xpdl.files.checkpoint.read_sealed(path)[1]
    assert (document["epoch"], document["step"]) == ((step + 1 - done) // 5, done)
    close(run(resume=path, dtype="float64"), expected)


def test_a_device_with_a_queue_is_read_less_often(on_ranks, interrupted, monkeypatch) -> None:
    """Reading an array waits for the device, so it is read only after every fourth step here."""
    monkeypatch.setattr("xpdl.training.distributed_step.DISPATCH", 4)
    backend = xpdl.backend("numpy")
    queued = xpdl.Backend("numpy", backend.xp, "cpu", synchronize=lambda: None)
    interrupted(monkeypatch, 1)
    steps = []
    monkeypatch.setattr(loop.Reporter, "advance", lambda self, n: steps.append(n) if 0 < n <= 11 else None)
    on_ranks(2, lambda ranks: run(communicator=ranks, backend=queued))
    assert len(steps) == 2 * 4


def test_only_rank_0_calls_callbacks_and_all_ranks_stop_with_it(on_ranks) -> None:
    called = []

    def train_on(ranks):
        def stop(metrics, step):
            called.append((ranks.rank, metrics["epoch"]))
            if metrics["epoch"] == 2:
                raise StopTraining("enough")

        best = KeepBest("epoch", mode="min")  # the first
        result = run(communicator=ranks, callbacks=[best, stop], epochs=5)
        return result, best.theta

    results, kept = zip(*on_ranks(3, train_on), strict=True)
    assert len({result.moment.carry.theta.tobytes() for result in results}) == 1  # where all have ended, not the best
    assert called == [(0, 1), (0, 2)]
    assert [theta is None for theta in kept] == [False, True, True]
    assert [len(result.history) for result in results] == [2, 2, 2]
    assert all(np.array_equal(result.theta, kept[0]) for result in results)


def test_a_run_that_a_callback_has_stopped_is_over_on_all_ranks(tmp_path, on_ranks) -> None:
    path, data = tmp_path / "run", {"validation": (X, (Y + 1) % 3), "epochs": 50, "optimizer": xpdl.adam(0.05)}

    def early(ranks, **options):
        return run(communicator=ranks, callbacks=[xpdl.EarlyStopping(1)], **data, **options)

    stopped = on_ranks(2, lambda ranks: early(ranks, checkpoint=path))
    assert len(stopped[0].history) < 50
    for result in on_ranks(2, lambda ranks: early(ranks, resume=path)):
        assert np.array_equal(result.theta, stopped[0].theta)
        assert len(result.history) == len(stopped[0].history)


def test_only_rank_0_prints_checks_gradients_and_writes(tmp_path, capsys, on_ranks) -> None:
    def train_on(ranks):
        return run(communicator=ranks, progress=True, checkpoint=tmp_path / f"run{ranks.rank}", check_gradients=1)

    results = on_ranks(2, train_on)
    assert capsys.readouterr().out.count("epoch 1/3") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run0"]
    assert ["gradient_difference" in result.history[0] for result in results] == [True, False]


def test_all_ranks_end_if_the_cost_is_not_finite(on_ranks) -> None:
    def train_on(ranks):
        with pytest.raises(DivergenceError, match="the cost in step 2 of epoch 1") as caught:
            run(
                communicator=ranks,
                net=Network([6, 4, 2], output="linear"),
                y=np.ones((45, 2)),
                optimizer=xpdl.sgd(1e30),
            )
        return caught.value.result

    results = on_ranks(2, train_on)
    assert [len(result.history) for result in results] == [0, 0]


def test_each_rank_evaluates_its_share_of_the_validation_samples(on_ranks, monkeypatch) -> None:
    looked_at = []

    class Spied(Evaluator):
        def __init__(self, net, parts, *rest):
            looked_at.extend(part.x.shape[0] for part in parts)
            super().__init__(net, parts, *rest)

    monkeypatch.setattr("xpdl.training.train.Evaluator", Spied)
    on_ranks(3, lambda ranks: run(communicator=ranks, validation=(X[:11], Y[:11])))
    assert sorted(looked_at) == [3, 4, 4]
