"""Samples on disk: each once an epoch, shuffled, the same for any number of ranks, and never more than two windows."""

from itertools import chain
import threading

import numpy as np
import pytest

import xpdl
from xpdl import Network, train
from xpdl.data.disk_inputs import DiskInputs
from xpdl.data.shards import Shards
from xpdl.distributed import Serial
from xpdl.files import checkpoint
from xpdl.training import batches as module
from xpdl.training.batches import OnDisk, ahead, batches_of
from xpdl.training.run_config import RunConfig

rng = np.random.default_rng(0)
N, D = 101, 4
X, Y, WEIGHT = np.arange(N * D, dtype="float32").reshape(N, D) / 100, np.arange(N) % 3, rng.uniform(0.1, 3, size=N)
WEIGHT[::10] = 0
NET = Network([D, 5, 3], l2=0.1, dropout=0.2)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Windows of two batches of 8, pages of three samples."""
    monkeypatch.setattr(module, "WINDOW", 2 * 8 * 4 * D)
    monkeypatch.setattr(module, "PAGE", 3 * 4 * D)


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def run(x, y=Y, **options):
    options = {"batch_size": 8, "epochs": 2, "backend": "numpy", "dtype": "float64", "progress": False} | options
    return train(NET, x, y, **options)


def source(communicator=None, *, seed=0, weight=None, batch_size=8):
    config = RunConfig(NET, xpdl.backend("numpy"), "float64", seed, communicator or Serial())
    kept = None if weight is None else np.flatnonzero(weight)
    batches = batches_of(N if kept is None else len(kept), batch_size)
    return OnDisk(config, batches, DiskInputs(Shards([X[:30], X[30:]]), Shards([Y]), weight))


def batches(own, epoch=0, first=0):
    """Return the first feature of every sample that this rank trains on, batch by batch, in the order of the step."""
    taken = []
    for steps, data in own.blocks(epoch, first):
        for step in steps:
            read = data[own.batches[step]]
            rows = read.order[step * own.batches[0] + read.positions]
            weight = None if read.weight is None else read.weight[rows]
            taken.append((read.x[rows, 0], read.y[rows].argmax(axis=1), weight))
    return taken


def numbers(taken):
    """Return the numbers of these samples."""
    return [np.rint(x * 100 / D).astype(int).tolist() for x, *_ in taken]


def flat(lists):
    return list(chain.from_iterable(lists))


def test_every_sample_comes_once_with_its_label_and_weight() -> None:
    weight = WEIGHT + 1
    taken = batches(source(weight=weight))
    rows = flat(numbers(taken))
    assert [len(batch) for batch in numbers(taken)] == [8] * 12 + [5]
    assert sorted(rows) == list(range(N))
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in taken]), Y[rows])
    np.testing.assert_array_equal(np.concatenate([w for *_, w in taken]), weight[rows])


def test_samples_of_weight_0_are_left_out() -> None:
    taken = batches(source(weight=WEIGHT))
    assert sorted(flat(numbers(taken))) == np.flatnonzero(WEIGHT).tolist()
    assert min(w.min() for *_, w in taken) > 0


def test_each_epoch_and_seed_has_its_own_order() -> None:
    orders = [flat(numbers(batches(source(seed=seed), epoch))) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert len({tuple(order) for order in orders}) == 3
    assert orders[0] == flat(numbers(batches(source())))


def test_pages_come_in_any_order_and_samples_in_any_order_within_a_window() -> None:
    """A window of 16 samples holds five or six pages of three, and its samples are not in the order of the disk."""
    order = flat(numbers(batches(source())))
    windows = [order[start : start + 16] for start in range(0, N, 16)]
    assert max(len({row // 3 for row in window}) for window in windows) <= 7
    assert all(window != sorted(window) for window in windows)
    assert len({window[0] // 16 for window in windows}) > 3


@pytest.mark.parametrize("size", [2, 3, 9])
@pytest.mark.parametrize("batch_size", [8, 25, None])
def test_ranks_take_their_shares_of_the_same_batches(size, batch_size) -> None:
    whole = batches(source(batch_size=batch_size))
    shares = [numbers(batches(source(Serial(rank, size), batch_size=batch_size))) for rank in range(size)]
    for batch, *parts in zip(numbers(whole), *shares, strict=True):
        assert flat(parts) == batch


def test_a_rank_reads_no_more_than_its_share() -> None:
    blocks = list(source(Serial(1, 2)).blocks(0, 0))
    assert [next(iter(data.values())).x.shape[0] for _, data in blocks] == [8] * 6 + [3]


@pytest.mark.parametrize("first", [0, 1, 2, 7, 12])
def test_an_epoch_can_begin_in_the_middle(first) -> None:
    assert numbers(batches(source(), first=first)) == numbers(batches(source()))[first:]


@pytest.mark.parametrize("lib", ["numpy", "strict-device1", "jax", "torch"], indirect=True)
def test_training_from_disk_is_training_in_that_order(lib, mapped, monkeypatch) -> None:
    """With a single window and pages of one sample, only the order differs."""
    options = {"backend": lib.backend, "sample_weight": WEIGHT, "epochs": 1}
    result = run(mapped, **options)
    order = flat(numbers(batches(source(weight=WEIGHT))))
    monkeypatch.setattr(RunConfig, "order", lambda config, epoch, n: np.arange(n, dtype="int32"))
    expected = run(X[order], Y[order], **options | {"sample_weight": WEIGHT[order]})
    np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=1e-12)
    assert result.history[0]["loss"] == pytest.approx(expected.history[0]["loss"], rel=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_any_number_of_ranks_computes_the_same_run_from_disk(mapped, size, on_ranks) -> None:
    options = {"sample_weight": WEIGHT, "validation": (X[:9], Y[:9]), "check_gradients": 1}
    expected = run(mapped, **options)
    for result in on_ranks(size, lambda ranks: run(mapped, communicator=ranks, **options)):
        np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5, 13, 14, 26])
def test_a_run_from_disk_is_resumed_at_any_step(mapped, tmp_path, monkeypatch, steps) -> None:
    path, expected, done = tmp_path / "run", run(mapped), iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr("xpdl.training.step.Steps.ended", lambda self, interrupt: next(done) == steps)
        run(mapped, checkpoint=path)
    assert checkpoint.read_sealed(path)[1]["step"] == (steps - 1) % 13 + 1
    assert run(mapped, resume=path).theta.tobytes() == expected.theta.tobytes()


def test_a_run_from_disk_is_not_one_from_memory(mapped, tmp_path) -> None:
    path = tmp_path / "run"
    run(mapped, checkpoint=path)
    for other in (X, np.load(tmp_path / "x.npy") + 1):
        with pytest.raises(ValueError, match="is another run: .*x"):
            run(other, resume=path)
    np.save(tmp_path / "x.npy", X[::-1])
    with pytest.raises(ValueError, match="is another run: x on disk is"):
        run(np.load(tmp_path / "x.npy", mmap_mode="r"), resume=path)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, 1:], Y, r"x must have shape \(n, 4\)"),
        (X, Y[1:], "y must hold one row for each of the 101 samples"),
        (X, np.where(np.arange(N) == 80, 3, Y), r"y must be labels 0..2 for 3 outputs, got y\[80\] = 3"),
        (np.where(np.arange(N)[:, None] == 70, np.nan, X), Y, r"x must be finite, got nan at x\[70, 0\]"),
    ],
)
def test_samples_on_disk_are_checked_when_they_are_read(x, y, message) -> None:
    with pytest.raises(ValueError, match=message):
        run(Shards([x]), y)


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        (3, ValueError, "y must hold a row for each sample, got 3"),
        (None, TypeError, "y must hold real numbers, got dtype object"),
        ([[1], [1, 2]], TypeError, "y must hold real numbers, got dtype object"),
        (np.ma.masked_equal(Y, 2), TypeError, "y must hold a number in every entry, got a masked array"),
    ],
    ids=["one", "none", "ragged", "masked"],
)
def test_labels_of_samples_on_disk_are_checked_like_others(mapped, y, kind, message) -> None:
    with pytest.raises(kind, match=message):
        run(mapped, y)


def test_only_the_next_window_is_loaded_ahead() -> None:
    here, loads, loaded = threading.current_thread(), [], threading.Event()

    def load(item):
        assert threading.current_thread() is not here
        loads.append(item)
        loaded.set()
        return -item

    for item, result in enumerate(ahead(load, list(range(5)))):
        assert result == -item
        if item < 4:
            assert loaded.wait(10)
            while len(loads) < item + 2:
                loaded.wait(0.01)
        assert loads == list(range(min(item + 2, 5)))
        loaded.clear()
    assert list(ahead(load, [])) == []


def test_an_error_while_reading_is_raised_in_training() -> None:
    def load(item):
        if item == 1:
            raise OSError("the disk fails")

    reading = ahead(load, [0, 1, 2])
    next(reading)
    with pytest.raises(OSError, match="the disk fails"):
        next(reading)


def test_windows_hold_at_least_a_batch(monkeypatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 1)
    assert [len(steps) for steps, _ in source().blocks(0, 0)] == [1] * 13
