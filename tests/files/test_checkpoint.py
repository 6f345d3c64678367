"""A run that ends anywhere continues from its checkpoint with the same bits; any other file is refused."""

from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
import errno
from functools import partial
from importlib import import_module
import json
import os
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
from typing import Any, NamedTuple
import warnings

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import xpdl
from xpdl import (
    Activation,
    DivergenceError,
    EarlyStopping,
    KeepBest,
    Loss,
    Network,
    Optimizer,
    RunFileError,
    Scaling,
    adam,
    adamw,
    momentum,
    rmsprop,
    schedules,
    sgd,
    train,
)
from xpdl.arrays import namespace
from xpdl.files import checkpoint as checkpoint_file
from xpdl.files.checkpoint import constants
from xpdl.optimizers import OPTIMIZERS, clipped
from xpdl.pytree import tree_map
from xpdl.training import loop
from xpdl.training.signals import Interrupt

ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
ROOT = Path(__file__).parents[2]
on_each = pytest.mark.parametrize("lib", ["numpy", "strict-device1", "jax", "torch", "cupy"], indirect=True)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(26, 6)), np.arange(26) % 3
SEED = 20
STEPS = 4  # of an epoch: 26 samples in batches of 8, the last has 2
NET = Network([6, 7, 5, 3], l2=0.1, dropout=[0.5, 0.0])
PLAIN = Network([6, 7, 3], hidden="tanh")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def run(net=NET, x=X, y=Y, **options):
    """Train in batches of 8, without output."""
    return train(net, x, y, **{"backend": "numpy", "batch_size": 8, "progress": False, "seed": 3, **options})


def timeless(history):
    return [{name: value for name, value in metrics.items() if name != "seconds"} for metrics in history]


def same(actual, expected):
    """Assert that two results are the same bits."""
    assert actual.theta.dtype == expected.theta.dtype
    assert actual.theta.tobytes() == expected.theta.tobytes()
    assert timeless(actual.history) == timeless(expected.history)


@pytest.fixture
def stop_after(monkeypatch):
    """stop_after(k): the next runs are interrupted in their k-th step; stop_after(None): they are not."""

    def set_limit(limit):
        class Limited(Interrupt):
            asked = 0

            @property
            def requested(self):
                return self.asked == limit

        @contextmanager
        def interruptible(*signals):
            interrupt = Limited()
            monkeypatch.setattr(loop.Reporter, "advance", lambda self, n: counted(interrupt, n))
            yield interrupt

        def counted(interrupt, n):
            interrupt.asked += 0 < n <= 8

        monkeypatch.setattr(loop, "interruptible", interruptible)

    return set_limit


# --- bit for bit


@pytest.mark.parametrize("net", [NET, PLAIN], ids=["dropout", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_each
def test_a_run_resumed_after_any_epoch_ends_with_the_same_bits(lib, net, dtype, path) -> None:
    rate = schedules.warmup(schedules.cosine(0.05, 3 * STEPS), 5)
    options = {"optimizer": adam(rate), "backend": lib.backend, "dtype": dtype, "validation": (X, Y)}
    expected = run(net, epochs=3, **options)
    for epochs in range(4) if lib.backend.eager else [2]:
        run(net, epochs=epochs, checkpoint=path, **options)
        same(run(net, epochs=3, resume=path, **options), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_each
def test_a_run_resumed_at_any_step_ends_with_the_same_bits(lib, dtype, path, stop_after, monkeypatch) -> None:
    monkeypatch.setattr("xpdl.training.step.DISPATCH", 1)
    options = {"epochs": 2, "backend": lib.backend, "dtype": dtype, "optimizer": momentum(0.05, nesterov=True)}
    net = {"float32": NET, "float64": PLAIN}[dtype]
    stop_after(None)
    expected = run(net, **options)
    for step in range(1, 2 * STEPS + 1) if lib.backend.eager else [STEPS - 1, STEPS + 2]:
        stop_after(step)
        run(net, checkpoint=path, **options)
        assert checkpoint_file.read_sealed(path)[1]["step"] == (step - 1) % STEPS + 1
        stop_after(None)
        same(run(net, resume=path, **options), expected)


@pytest.mark.parametrize("batch_size", [1, 13, 26, None])
def test_any_batch_size_can_be_resumed(path, batch_size) -> None:
    expected = run(epochs=2, batch_size=batch_size)
    run(epochs=1, batch_size=batch_size, checkpoint=path)
    same(run(epochs=2, batch_size=batch_size, resume=path), expected)


def test_a_run_that_stops_at_every_step_ends_the_same(path, stop_after) -> None:
    """Each run resumes from a checkpoint and writes the next one to the same path."""
    expected, resume = run(epochs=3), None
    stop_after(1)
    for _ in range(3 * STEPS):
        run(epochs=3, checkpoint=path, resume=resume)
        resume = path
    stop_after(None)
    same(run(epochs=3, resume=path), expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_can_be_resumed(path, name) -> None:
    optimizer = OPTIMIZERS[name](0.01)
    run(epochs=1, checkpoint=path, optimizer=optimizer)
    same(run(epochs=3, resume=path, optimizer=optimizer), run(epochs=3, optimizer=optimizer))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
def test_every_output_can_be_resumed(path, output) -> None:
    net, y = Network([6, 4, 1 if output == "sigmoid" else 3], output=output), Y
    y = {"softmax": Y, "sigmoid": Y % 2, "linear": X[:, :3]}[output]
    run(net, y=y, epochs=1, checkpoint=path)
    same(run(net, y=y, epochs=2, resume=path), run(net, y=y, epochs=2))


def test_images_can_be_resumed(path) -> None:
    x = (40 * X % 256).astype("uint8")
    options = {"net": replace(NET, inputs=Scaling.images), "x": x}
    run(epochs=1, checkpoint=path, **options)
    same(run(epochs=2, resume=path, **options), run(epochs=2, **options))


def test_a_run_that_began_at_a_given_theta_can_be_resumed(path) -> None:
    theta = NET.initialize(9)
    run(epochs=1, theta=theta, checkpoint=path)
    same(run(epochs=2, resume=path), run(epochs=2, theta=theta))
    with pytest.raises(ValueError, match="theta and resume cannot both be given"):
        run(theta=theta, resume=path)


BACKENDS = ["numpy", "array_api_strict", "jax", "torch"]


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_a_run_resumed_on_another_backend_agrees_to_rounding(path, first, second) -> None:
    for name in (first, second):
        pytest.importorskip(name)
    options = {"dtype": "float64", "optimizer": adam(0.01)}
    expected = run(epochs=3, **options)
    run(epochs=1, backend=first, checkpoint=path, **options)
    actual = run(epochs=3, backend=second, resume=path, **options)
    np.testing.assert_allclose(actual.theta, expected.theta, rtol=0, atol=1e-12)
    losses, others = ([metrics["loss"] for metrics in result.history] for result in (actual, expected))
    assert losses == pytest.approx(others, rel=1e-12)


@pytest.mark.parametrize("second", BACKENDS)
def test_a_run_that_stopped_in_an_epoch_is_resumed_on_another_backend(path, stop_after, second) -> None:
    pytest.importorskip(second)
    expected = run(PLAIN, epochs=2, dtype="float64")
    stop_after(2)
    run(PLAIN, epochs=2, dtype="float64", checkpoint=path)
    stop_after(None)
    actual = run(PLAIN, epochs=2, dtype="float64", backend=second, resume=path)
    np.testing.assert_allclose(actual.theta, expected.theta, rtol=0, atol=1e-12)


def test_steps_that_are_dispatched_in_groups_stop_and_resume_between_groups(path, stop_after) -> None:
    pytest.importorskip("jax")
    options = {"backend": "jax", "batch_size": 1, "epochs": 2}
    x, y = np.tile(X, (5, 1)), np.tile(Y, 5)
    expected = run(PLAIN, x, y, **options)
    run(PLAIN, x, y, **{**options, "epochs": 1}, checkpoint=path)
    same(run(PLAIN, x, y, resume=path, **options), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpdl.training.step.DISPATCH", 7)
        stop_after(3)
        run(PLAIN, x, y, checkpoint=path, **options)
        assert checkpoint_file.read_sealed(path)[1]["step"] == 21
    stop_after(None)
    same(run(PLAIN, x, y, resume=path, **options), expected)


# --- from a result in memory


@pytest.mark.parametrize("net", [NET, PLAIN], ids=["dropout", "plain"])
@on_each
def test_a_run_resumed_from_its_result_ends_with_the_same_bits(lib, net) -> None:
    options = {"optimizer": adam(0.02), "backend": lib.backend, "dtype": lib.dtype, "validation": (X, Y)}
    expected = run(net, epochs=3, **options)
    result = run(net, epochs=0, **options)
    for epochs in (1, 3):
        result = run(net, epochs=epochs, resume=result, **options)
    same(result, expected)


def test_a_run_that_stopped_in_an_epoch_is_resumed_in_that_epoch(stop_after) -> None:
    """The result that it resumes from is not changed."""
    expected = run(epochs=2)
    stop_after(STEPS + 2)
    stopped = run(epochs=2)
    assert (len(stopped.history), stopped.moment.step) == (1, 2)
    before = stopped.theta.tobytes()
    stop_after(None)
    same(run(epochs=2, resume=stopped), expected)
    assert stopped.theta.tobytes() == before


def test_a_run_with_a_checkpoint_is_resumed_from_its_result(path) -> None:
    expected = run(epochs=3)
    run(epochs=2, resume=run(epochs=1), checkpoint=path)
    same(run(epochs=3, resume=path), expected)


def test_a_run_is_resumed_where_it_ended_and_not_at_its_best_epoch() -> None:
    def keep_the_first():
        return KeepBest("epoch", mode="min")

    kept = run(epochs=1, callbacks=[keep_the_first()])
    result = run(epochs=2, callbacks=[best := keep_the_first()])
    assert result.theta.tobytes() == best.theta.tobytes() == kept.theta.tobytes()
    same(run(epochs=3, resume=result), run(epochs=3))


def test_a_result_is_resumed_with_other_samples_batches_and_rates() -> None:
    result = run(epochs=1, optimizer=sgd(0.1))
    more = run(x=X[:10], y=Y[:10], batch_size=5, epochs=2, optimizer=sgd(0.01), resume=result)
    assert [metrics["epoch"] for metrics in more.history] == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": PLAIN}, r"does not fit: theta is float32 \(107,\) in it and float32 \(73,\) here"),
        ({"dtype": "float64"}, "does not fit: theta is float32 .* in it and float64 .* here"),
        ({"optimizer": adam()}, r"state/2 is nothing in it and float32 \(107,\) here"),
        ({"theta": NET.initialize(0)}, "theta and resume cannot both be given"),
        ({"epochs": 0}, "epochs must be at least 1, the number that the run to resume has begun, got 0"),
    ],
)
def test_a_result_that_does_not_fit_is_refused(options, message) -> None:
    result = run(epochs=1, optimizer=momentum(0.1))
    with pytest.raises(ValueError, match=message):
        run(**{"epochs": 2, "optimizer": momentum(0.1), "resume": result, **options})


def test_a_run_that_diverged_cannot_be_resumed() -> None:
    with pytest.raises(DivergenceError) as caught:
        run(epochs=3, optimizer=sgd(1e30))
    with pytest.raises(ValueError, match="resume must be the result of a run that came to an end"):
        run(epochs=3, resume=caught.value.result)


@on_each
def test_a_result_keeps_the_state_of_ones_own_optimizer(lib) -> None:
    options = {"optimizer": Optimizer(own, own_update), "backend": lib.backend}
    expected = run(PLAIN, epochs=2, **options)
    result = run(PLAIN, epochs=1, **options)
    kinds = {name: type(part) for name, part in result.moment.carry.state.items()}
    assert kinds == {"slots": Slots, "t": int, "rate": float, "flags": tuple, "more": OrderedDict}
    same(run(PLAIN, epochs=2, resume=result, **options), expected)


# --- users' own optimizers and callbacks


class Slots(NamedTuple):
    fast: Any
    slow: Any


def own(theta):
    """Every kind of structure, with arrays, numbers and None."""
    xp = namespace(theta)
    slots = Slots(xp.zeros_like(theta), [xp.ones_like(theta), None])
    return {"slots": slots, "t": 0, "rate": 0.05, "flags": (True, ()), "more": OrderedDict(b=xp.zeros_like(theta))}


def own_update(theta, grad, state):
    slots, t, rate = state["slots"], state["t"] + 1, state["rate"] * 0.99
    fast, slow = 0.9 * slots.fast + grad, 0.99 * slots.slow[0] + 0.01 * grad * grad
    state = {**state, "slots": Slots(fast, [slow, None]), "t": t, "rate": rate, "more": OrderedDict(b=grad)}
    return theta - rate * fast / (slow + 0.1) / (1 + 0.1 * t), state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@on_each
def test_an_own_optimizer_is_resumed_with_any_kind_of_state(lib, dtype, path) -> None:
    options = {"optimizer": Optimizer(own, own_update), "backend": lib.backend, "dtype": dtype}
    expected = run(PLAIN, epochs=3, **options)
    run(PLAIN, epochs=1, checkpoint=path, **options)
    document = checkpoint_file.read_sealed(path)[1]
    assert document["numbers"]["run/state/t"] == STEPS
    assert type(document["numbers"]["run/state/t"]) is int
    same(run(PLAIN, epochs=3, resume=path, **options), expected)


def test_the_structure_comes_back_as_it_was(path) -> None:
    """Every container keeps its type."""
    seen = []

    def update(theta, grad, state):
        seen.append(state)
        return own_update(theta, grad, state)

    for files in ({"checkpoint": path}, {"resume": path}):
        run(PLAIN, epochs=len(seen) // STEPS + 1, optimizer=Optimizer(own, update), **files)
    before, after = seen[0], seen[STEPS]
    assert tree_map(lambda leaf: 0, before) == tree_map(lambda leaf: 0, after)
    assert [type(part) for part in after.values()] == [Slots, int, float, tuple, OrderedDict]
    assert after["flags"] == (True, ())


@pytest.mark.parametrize(
    ("init", "update", "message"),
    [
        (lambda theta: "text", None, "arrays and numbers, got str for run/state"),
        (lambda theta: {"a": [object()]}, None, "arrays and numbers, got object for run/state/a/0"),
        (lambda theta: np.zeros(2, "complex128"), None, "got complex128 for run/state"),
        (lambda theta: {"a/b": 1, "a": {"b": 2}}, None, "two entries .* run/state/a/b"),
        (lambda theta: None, lambda theta, grad, state: (theta, grad), r"keep the structure .*got \['run/state'\]"),
        (lambda theta: (0, 1), lambda theta, grad, state: (theta, (0,)), "keep the structure .*run/state/0"),
    ],
)
def test_a_state_that_cannot_be_resumed_is_an_error_when_it_is_saved(path, init, update, message) -> None:
    optimizer = Optimizer(init, update or (lambda theta, grad, state: (theta, state)))
    with pytest.raises((TypeError, ValueError), match=message):
        run(epochs=1, optimizer=optimizer, checkpoint=path)


WORSE = {"validation": (X, (Y + 1) % 3), "optimizer": adam(0.02)}


@pytest.mark.parametrize("callback", [lambda: EarlyStopping(3), KeepBest], ids=["EarlyStopping", "KeepBest"])
def test_callbacks_that_keep_the_best_are_resumed_with_it(path, callback) -> None:
    expected = run(epochs=9, callbacks=[callback()], **WORSE)
    assert not np.array_equal(expected.theta, run(epochs=len(expected.history), **WORSE).theta)
    for epochs in range(10):
        run(epochs=epochs, callbacks=[callback()], checkpoint=path, **WORSE)
        resumed = callback()
        same(run(epochs=9, callbacks=[print_nothing, resumed], resume=path, **WORSE), expected)
        assert timeless([resumed.metrics]) == timeless([min(expected.history, key=lambda h: h["validation_loss"])])


def print_nothing(metrics, step):
    pass


def test_a_run_that_a_callback_has_stopped_goes_on_only_with_more_patience(path) -> None:
    ended = run(epochs=9, callbacks=[EarlyStopping(2)], checkpoint=path, **WORSE)
    n = len(ended.history)
    assert n < 9
    for callbacks, epochs in [([EarlyStopping(2)], n), ([EarlyStopping(3)], n + 1), ([], 9)]:
        assert len(run(epochs=9, callbacks=callbacks, resume=path, **WORSE).history) == epochs


def test_callbacks_that_are_not_in_the_file_begin_anew(path) -> None:
    stale = EarlyStopping(1)
    run(epochs=5, callbacks=[stale], optimizer=sgd(0.0))
    assert stale.ended
    run(epochs=1, checkpoint=path)
    same(run(epochs=2, callbacks=[stale], resume=path), run(epochs=2))


def test_a_callback_may_add_a_numpy_number_to_the_metrics(path) -> None:
    class Own:
        resume_state: dict = {}  # noqa: RUF012

        def __call__(self, metrics, step):
            metrics["area"] = np.float32(step)
            self.resume_state = {"areas": np.arange(step), "last": [np.int64(step)]}

    own = Own()
    options = {"callbacks": [own, KeepBest("area", mode="min")]}
    expected = run(epochs=3, **options)
    run(epochs=1, checkpoint=path, **options)
    own.resume_state = {}
    same(run(epochs=1, resume=path, **options), run(epochs=1))
    assert own.resume_state["areas"].tolist() == list(range(STEPS))
    assert own.resume_state["last"] == [STEPS]
    same(run(epochs=3, resume=path, **options), expected)


@pytest.mark.parametrize("state", [{"a": object()}, {"a": [np.ones(3)]}])
def test_a_callback_state_that_a_file_cannot_hold_is_an_error(path, state) -> None:
    def callback(metrics, step):
        pass

    callback.resume_state = state
    with pytest.raises(TypeError, match="a run file holds arrays and numbers, got"):
        run(epochs=1, checkpoint=path, callbacks=[callback])


def test_callbacks_see_only_the_epochs_that_are_new(path) -> None:
    seen = []
    run(epochs=2, checkpoint=path)
    run(epochs=4, resume=path, callbacks=[lambda metrics, step: seen.append((metrics["epoch"], step))])
    assert seen == [(3, 3 * STEPS), (4, 4 * STEPS)]


def test_a_resumed_run_diverges_at_the_same_step(path, stop_after) -> None:
    """The error has the parameters from before that epoch, which only the checkpoint holds."""
    exploding = sgd(lambda t: 0.1 / namespace(t).astype(t < STEPS + 2, t.dtype))
    stop_after(STEPS + 2)
    run(epochs=3, optimizer=exploding, checkpoint=path)
    stop_after(None)
    errors = []
    for resume in (None, path):
        with pytest.raises(DivergenceError) as caught:
            run(epochs=3, optimizer=exploding, resume=resume)
        errors.append(caught.value)
    assert str(errors[0]) == str(errors[1])
    same(errors[1].result, errors[0].result)
    assert np.array_equal(errors[1].result.theta, run(epochs=1, optimizer=sgd(0.1)).theta)


# --- when files are written


@pytest.mark.parametrize(("epochs", "every", "written"), [(0, 1, [0]), (3, 1, [0, 1, 2, 3]), (5, 2, [0, 2, 4, 5])])
def test_a_file_is_written_at_the_start_every_few_epochs_and_at_the_end(
    path, monkeypatch, epochs, every, written
) -> None:
    seen, real = [], checkpoint_file.write_sealed

    def watched(path, tensors, document):
        seen.append((document["epoch"], document["step"]))
        real(path, tensors, document)

    monkeypatch.setattr(checkpoint_file, "write_sealed", watched)
    run(epochs=epochs, every=every, checkpoint=path)
    assert seen == [(epoch, 0) for epoch in written]


def test_the_file_is_plain_safetensors(path, stop_after) -> None:
    stop_after(STEPS + 1)
    result = run(epochs=2, checkpoint=path)
    tensors = load_file(path)
    state = {f"run/state/{i}" for i in range(3)}
    assert set(tensors) == {"run/theta", "run/offset", "run/mean", "run/finite", "good", *state}
    assert np.array_equal(tensors["run/theta"], result.theta)
    with safe_open(path, framework="np") as file:
        document = json.loads(file.metadata()["run"])
    assert (document["epoch"], document["step"]) == (1, 1)
    assert document["history"] == result.history
    assert document["configuration"]["network"]["sizes"] == [6, 7, 5, 3]
    assert document["configuration"]["seed"] == 3


def test_strided_and_transposed_arrays_are_saved_correctly(path) -> None:
    """safetensors writes the memory of strided arrays as if they were contiguous."""
    matrix = np.arange(12.0).reshape(3, 4)
    state = (matrix.T, matrix[:, ::2], matrix[::-1], np.broadcast_to(matrix[0], (2, 4)))
    optimizer = Optimizer(lambda theta: state, lambda theta, grad, state: (theta, state))
    run(epochs=1, optimizer=optimizer, checkpoint=path)
    tensors = load_file(path)
    for i, array in enumerate(state):
        assert np.array_equal(tensors[f"run/state/{i}"], array)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"every": 1.5}, "every must be an integer, got 1.5"),
        ({"checkpoint": 5}, "PathLike"),
    ],
)
def test_options_that_are_wrong(path, options, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        run(epochs=1, **{"checkpoint": path, **options})


@pytest.mark.parametrize(("stopped", "least"), [(None, 2), (STEPS + 2, 2)])
def test_epochs_are_those_of_the_whole_run(path, stop_after, stopped, least) -> None:
    stop_after(stopped)
    run(epochs=2, checkpoint=path)
    stop_after(None)
    with pytest.raises(ValueError, match=f"epochs must be at least {least}, .* got 1"):
        run(epochs=1, resume=path)
    same(run(epochs=2, resume=path), run(epochs=2))


# --- what does not fit


WIDE = Network([6, 8, 5, 3], l2=0.1, dropout=[0.5, 0.0])
MISFITS = {
    # what differs: the options of the run that resumes, what the message must say
    "sizes": ({"net": WIDE}, r"network sizes is \[6, 7, 5, 3\] in the file and \[6, 8, 5, 3\] here"),
    "hidden": ({"net": Network([6, 7, 5, 3], hidden="tanh", l2=0.1, dropout=[0.5, 0.0])}, "hidden is 'relu' .*'tanh'"),
    "own hidden": (
        {"net": Network([6, 7, 5, 3], hidden=xpdl.Activation(abs, abs), l2=0.1, dropout=[0.5, 0.0])},
        r"hidden is 'relu' in the file and \['abs', 'abs'\] here",
    ),
    "own output": (
        {"net": Network([6, 7, 5, 3], output=xpdl.losses.softmax._replace(decide=abs), l2=0.1, dropout=[0.5, 0.0])},
        r"output is 'softmax' in the file and \['_cross_entropy', .*'abs', .* here",
    ),
    "l2": ({"net": Network([6, 7, 5, 3], l2=0.2, dropout=[0.5, 0.0])}, "network l2 is 0.1 in the file and 0.2 here"),
    "dropout": ({"net": Network([6, 7, 5, 3], l2=0.1)}, r"dropout is \[0.5, 0.0\] in the file and 0.0 here"),
    "output": ({"net": Network([6, 7, 5, 3], output="linear"), "y": np.eye(3)[Y]}, "network output is 'softmax'"),
    "dtype": ({"dtype": "float64"}, "dtype is 'float32' in the file and 'float64' here"),
    "seed": ({"seed": 4}, "seed is 3 in the file and 4 here$"),
    "order": ({"shuffle": False}, "shuffle is True in the file and False here$"),
    "batch size": ({"batch_size": 9}, "batch_size is 8 in the file and 9 here$"),
    "fewer samples": ({"x": X[1:], "y": Y[1:]}, r"x is 'float32 \(26, 6\) .* 'float32 \(25, 6\) \w+' here"),
    "another sample": ({"x": X + (X[3, 3] == X)}, r"another run: x is 'float32 \(26, 6\) \w{32}' in .* here$"),
    "sample weights": ({"sample_weight": 1 + Y}, r"sample_weight is 'nothing' .* and 'float32 \(26,\) .* here$"),
    "another label": ({"y": np.where(np.arange(26) == 7, 0, Y)}, r"another run: y is 'float32 \(26, 3\) .* here$"),
    "another order": ({"x": X[::-1]}, "x is"),
    "optimizer": ({"optimizer": sgd(0.1)}, r"optimizer run/state/1 is 'float32 \(107,\)' .* 'nothing' here"),
    "own optimizer": ({"optimizer": Optimizer(own, own_update)}, "optimizer run/state/t is 'nothing' .* 'number' here"),
    "seed and batch size": ({"seed": 4, "batch_size": 9}, "seed is .*; batch_size is"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(path, name) -> None:
    run(epochs=1, checkpoint=path)
    before = path.read_bytes()
    options, message = MISFITS[name]
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is another run: .*{message}|{message}") as caught:
        run(epochs=2, resume=path, checkpoint=path, **options)
    assert not isinstance(caught.value, RunFileError)
    assert str(caught.value).startswith(f"{path} is another run: ")
    assert path.read_bytes() == before


def test_what_may_differ(path) -> None:
    run(epochs=1, checkpoint=path)
    run(epochs=2, resume=path, validation=(X, Y), callbacks=[print_nothing], backend="array_api_strict", every=3)
    x = X.astype("float32").tolist()
    same(run(x=x, y=np.eye(3)[Y], epochs=2, resume=path, optimizer=adam(1e-3)), run(epochs=2))


def test_the_optimizers_are_compared_when_a_run_goes_on(path) -> None:
    """Another update rule is refused, from a file and from a result.  What changes otherwise is said, for a file."""
    differing = []
    for name, (before, now, expected) in RULES.items():
        result = run(PLAIN, epochs=1, optimizer=before, checkpoint=path, overwrite=True)
        for resume in (path, result):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    run(PLAIN, epochs=2, optimizer=now, resume=resume)
                except ValueError as error:
                    outcome = f"refused: {error}"
                else:
                    outcome = " ".join(str(warning.message) for warning in said)
            said_of_a_file = expected.startswith("refused") or resume is path
            if not re.search(expected if said_of_a_file else "^$", outcome):
                differing.append((name, type(resume).__name__, outcome))
    assert differing == []


class Rate:
    """A schedule that is an object."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, t):
        return self.rate + 0 * t


def own_rule(rate):
    return Optimizer(adam(rate).init, lambda theta, grad, state: (theta - rate * grad, state))


COSINE = schedules.cosine(0.1, 10)
RULES = {
    # what changes: the optimizer before, the optimizer now, a pattern of what is said
    "momentum -> rmsprop": (momentum(0.1), rmsprop(0.1), "refused: .*'momentum.*' in it and 'rmsprop.*' here"),
    "rmsprop -> momentum": (rmsprop(0.1), momentum(0.1), "refused: .*another optimizer"),
    "adam -> adamw": (adam(0.1), adamw(0.1), "refused: .*weight_decay"),
    "adamw -> adam": (adamw(0.1), adam(0.1), "refused: .*weight_decay"),
    "nesterov": (momentum(0.1), momentum(0.1, nesterov=True), "refused: .*nesterov is False in it and True here"),
    "clipped, too": (clipped(momentum(0.1)), clipped(rmsprop(0.1)), "refused: .*another optimizer"),
    "nothing": (adamw(COSINE), adamw(COSINE), "^$"),
    "the rate": (adam(0.1), adam(0.2), "rate is 0.1 in the file and 0.2 here"),
    "a constant": (adam(0.1), adam(0.1, beta1=0.5), "beta1 is 0.9 in the file and 0.5 here"),
    "the decay of weights": (adamw(0.1), adamw(0.1, weight_decay=0.5), "weight_decay is 0.01 in the file and 0.5 here"),
    "the length of a schedule": (adam(COSINE), adam(schedules.cosine(0.1, 20)), "steps is 10.0 .* and 20.0 here"),
    "no schedule": (adam(COSINE), adam(0.1), "'cosine.* in the file"),
    "warm-up": (adam(COSINE), adam(schedules.warmup(COSINE, 3)), "warmup"),
    "clipping": (adam(0.1), clipped(adam(0.1)), "clip"),
    "the norm": (clipped(adam(0.1)), clipped(adam(0.1), 2.0), "norm is 1.0 in the file and 2.0 here"),
    "an own schedule": (adam(lambda t: 0.1 + 0 * t), adam(lambda t: 0.2 + 0 * t), r"\[0.1\] in .* \[0.2\] here"),
    "an object as schedule": (adam(Rate(0.1)), adam(Rate(0.2)), "rate is 0.1 in the file and 0.2 here"),
    "a partial function": (adam(partial(np.multiply, 0.1)), adam(partial(np.multiply, 0.2)), "argument 0 is 0.1 in"),
    "an own optimizer": (own_rule(0.1), own_rule(0.2), "rate is 0.1 in the file and 0.2 here"),
    "adam -> an own one": (adam(0.1), own_rule(0.1), "own_rule"),
}  # fmt: skip


def test_a_global_number_of_a_schedule_is_compared(path, monkeypatch) -> None:
    run(epochs=1, checkpoint=path, optimizer=adam(global_rate))
    monkeypatch.setattr(sys.modules[__name__], "GLOBAL_RATE", 0.2)
    with pytest.warns(UserWarning, match=r"GLOBAL_RATE is 0.1 in the file and 0.2 here"):
        run(epochs=2, resume=path, optimizer=adam(global_rate))


GLOBAL_RATE = 0.1


def global_rate(t):
    return GLOBAL_RATE + 0 * t


@pytest.mark.parametrize("callback", [lambda: EarlyStopping(3), KeepBest], ids=["EarlyStopping", "KeepBest"])
def test_the_best_of_another_validation_part_is_forgotten(path, callback) -> None:
    before, now = {"validation": (X, Y)}, {"validation": (X[::2], (Y + 1)[::2] % 3)}
    run(epochs=4, callbacks=[callback()], checkpoint=path, **before)
    with pytest.warns(UserWarning, match="validation is .* in the file and .* here"):
        result = run(epochs=5, callbacks=[judge := callback()], resume=path, **now)
    assert judge.metrics["epoch"] == 5
    assert result.theta.tobytes() == run(epochs=5, callbacks=[callback()], resume=run(epochs=4)).theta.tobytes()


def test_the_best_by_a_training_loss_is_kept_whatever_the_validation_part(path) -> None:
    run(epochs=4, checkpoint=path, validation=(X, Y), callbacks=[first := KeepBest("epoch", mode="min")])
    with pytest.warns(UserWarning, match="validation is"):
        result = run(epochs=5, resume=path, validation=(X[1:], Y[1:]), callbacks=[KeepBest("epoch", mode="min")])
    assert result.theta.tobytes() == first.theta.tobytes()


def test_a_checkpoint_of_another_run_is_not_replaced(path) -> None:
    run(epochs=3, checkpoint=path)
    before = path.read_bytes()
    for options in (
        {"epochs": 2},  # it would not come to epoch 3 again
        {"epochs": 3, "seed": 4},
        {"epochs": 3, "theta": NET.initialize(5)},
        {"epochs": 3, "optimizer": adam(0.5)},
        {"epochs": 3, "validation": (X, Y)},
        {"epochs": 3, "resume": run(epochs=1, seed=4)},
    ):
        with pytest.raises(FileExistsError, match="which would be lost: go on with it .*resume='auto'"):
            run(checkpoint=path, **options)
        assert path.read_bytes() == before, options
    again = run(epochs=3, checkpoint=path)  # the same run
    run(epochs=4, checkpoint=path, resume=again)
    assert len(run(epochs=4, resume=path).history) == 4


def test_a_run_from_a_given_theta_is_known_after_it_was_resumed(path) -> None:
    run(epochs=1, checkpoint=path, theta=NET.initialize(5))
    run(epochs=2, checkpoint=path, resume=path)
    with pytest.raises(FileExistsError, match="would be lost"):
        run(epochs=2, checkpoint=path)
    run(epochs=2, checkpoint=path, theta=NET.initialize(5))


# --- damage


def refused(path, reason):
    with pytest.raises(RunFileError, match=reason) as caught:
        run(epochs=2, resume=path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a run of xpdl: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def unreadable(path):
    """Whether reading the file is refused; any error but the documented one is a failure."""
    try:
        checkpoint_file.read_sealed(path)
    except RunFileError:
        return True
    return False


def test_flips_of_single_bits_are_all_detected(path) -> None:
    """This test tries 500 bits; benchmarks/reliability.py tries 20,000."""
    run(epochs=2, checkpoint=path, validation=(X, Y))
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    places = [*range(64), *random.Random(0).sample(range(64, 8 * (8 + header)), 218)]
    places += random.Random(1).sample(range(8 * (8 + header), 8 * len(content)), 218)
    undetected = []
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        if not unreadable(path):
            undetected.append(place)
    assert len(places) == 500
    assert undetected == []
    path.write_bytes(content)
    assert not unreadable(path)


def test_a_file_cut_anywhere_is_refused(path) -> None:
    run(epochs=1, checkpoint=path)
    content = path.read_bytes()
    for length in [*range(100), *range(100, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        assert unreadable(path), length
    path.write_bytes(content + b"\0")
    refused(path, "not fully covered")


@pytest.mark.parametrize(("kind", "count"), [("run", 500), ("resealed", 500)])
def test_files_with_other_content_are_refused_and_run_no_code(kind, count, monkeypatch) -> None:
    """Files of kind "resealed" have a valid SHA-256.  benchmarks/reliability.py reads 20,000 of each kind."""
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("benchmarks/ is not beside tests/: it is no part of the wheel")
    monkeypatch.syspath_prepend(str(ROOT))
    seen = import_module("benchmarks.damage").damaged(kind, count, SEED)
    print(f"python -m benchmarks.damage {kind} --seed {SEED} --count 1 --first NUMBER repeats one of", seen["faults"])
    assert (seen["tried"], seen["held"]) == (count, count)
    assert (sum(seen["read"].values()) > 0) == (kind == "resealed")


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04" + b"\0" * 100])
def test_a_file_of_another_kind_is_refused(path, content) -> None:
    path.write_bytes(content)
    refused(path, "Error while deserializing header")


def test_a_file_larger_than_memory_is_refused_unread(path) -> None:
    """The file has a hole of a terabyte, as file systems allow."""
    run(epochs=1, checkpoint=path)
    for content in (path.read_bytes(), b"junk"):
        path.write_bytes(content)
        os.truncate(path, 2**40)
        refused(path, "Error while deserializing header")


def test_a_model_is_not_a_checkpoint_nor_a_checkpoint_a_model(path, tmp_path) -> None:
    xpdl.save(path, NET, NET.initialize(0))
    refused(path, "no SHA-256")
    run(epochs=1, checkpoint=tmp_path / "run")
    with pytest.raises(xpdl.ModelFileError):
        xpdl.load(tmp_path / "run")


def test_a_damaged_file_is_refused_and_not_overwritten(path, tmp_path) -> None:
    run(epochs=1, checkpoint=path)
    damaged, before = tmp_path / "damaged", path.read_bytes()
    damaged.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(RunFileError, match=r"damaged is not a run of xpdl: it is damaged, the SHA-256"):
        run(epochs=2, resume=damaged, checkpoint=path)
    assert path.read_bytes() == before


DOCUMENTS = {
    # name: what is put in the place of an entry, a part of the reason
    "future format": ({"format": 2}, "its format is 2, this version of xpdl reads 1"),
    "format true": ({"format": True}, "its format is True"),
    "no configuration": ({"configuration": None}, "its configuration is None"),
    "a list of numbers": ({"numbers": [1]}, r"its numbers is \[1\]"),
    "a history of another kind": ({"history": {}}, "its history is {}"),
    "a step that is none": ({"step": "1"}, "its step is '1'"),
    "a step that is true": ({"step": True}, "its step is True"),
    "a step before the first": ({"step": -1}, "its step is -1"),
    "seconds that are true": ({"seconds": True}, "its seconds is True"),
    "an epoch that is none": ({"history": [1]}, r"its history is \[1\]"),
    "a number that is none": ({"numbers": {"run/state/t": "1"}}, "its numbers is {'run/state/t': '1'}"),
    "a callback's state that is none": ({"callbacks": {"KeepBest/0": [1]}}, r"its callbacks is {'KeepBest/0': \[1\]}"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_that_is_whole_but_wrong_is_refused(path, name) -> None:
    run(epochs=1, checkpoint=path)
    tensors, document = checkpoint_file.read_sealed(path)
    changes, reason = DOCUMENTS[name]
    checkpoint_file.write_sealed(path, tensors, document | changes)
    refused(path, reason)


def test_a_file_that_lacks_an_array_is_refused(path) -> None:
    run(epochs=1, checkpoint=path)
    tensors, document = checkpoint_file.read_sealed(path)
    del tensors["run/theta"]
    checkpoint_file.write_sealed(path, tensors, document)
    refused(path, "no entry 'run/theta'")


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("run/theta", lambda theta: theta[:-1], r"its run/theta is float32 \(106,\), expected float32 \(107,\)"),
        ("run/theta", lambda theta: theta.astype("f8"), r"its run/theta is float64 \(107,\), expected float32"),
        ("run/theta", lambda theta: theta[None], r"its run/theta is float32 \(1, 107\)"),
        ("run/offset", lambda offset: offset.astype("i8"), r"its run/offset is int64 \(\), expected int32 \(\)"),
        ("run/mean", lambda mean: mean[None], r"its run/mean is float32 \(1,\), expected float32 \(\)"),
        ("good", lambda good: good[:3], r"its good is float32 \(3,\), expected float32 \(107,\)"),
    ],
)
def test_a_file_whose_arrays_are_of_another_kind_is_refused(path, stop_after, name, change, reason) -> None:
    stop_after(1)
    run(epochs=1, checkpoint=path)
    tensors, document = checkpoint_file.read_sealed(path)
    checkpoint_file.write_sealed(path, tensors | {name: np.array(change(tensors[name]), order="C")}, document)
    refused(path, reason)


IMPOSSIBLE = {
    # what no run can have between two steps: the changes of the document, those of the tensors, a part of the reason
    "a step after the last": ({"step": STEPS + 1}, {}, "its step is 5, expected 4"),
    "a step of 2^63": ({"step": 2**63}, {}, "its step is 9223372036854775808"),
    "another number of samples": ({"step": 2}, {}, "its offset is 0, expected 16"),
    "samples before the first step": ({}, {"run/offset": np.int32(8)}, "its offset is 8, expected 0"),
    "other finite steps": ({}, {"run/finite": np.int32(-1)}, "its finite is {-1}, expected {0}"),
    "a mean of infinity": ({}, {"run/mean": np.float32("inf")}, "its finite mean is False, expected True"),
    "a parameter of NaN": ({}, {"run/theta": np.full(107, np.nan, "f4")}, "finite parameters is 0, expected 107"),
    "NaN before": ({}, {"good": np.full(107, np.nan, "f4")}, "finite parameters before is 0"),
    "epochs from 2": ({"history": [{"epoch": 2}]}, {}, r"its epochs is \[2\], expected \[1\]"),
    "an epoch twice": ({"history": [{"epoch": 1}, {"epoch": 1}]}, {}, r"its epochs is \[1, 1\]"),
    "an epoch without a number": ({"history": [{}]}, {}, r"its epochs is \[None\]"),
}


def test_a_state_that_no_run_can_have_is_refused(path) -> None:
    run(epochs=1, checkpoint=path)
    tensors, document = checkpoint_file.read_sealed(path)
    for changes, others, reason in IMPOSSIBLE.values():
        others = {name: np.asarray(tensor) for name, tensor in others.items()}
        checkpoint_file.write_sealed(path, tensors | others, document | changes)
        refused(path, reason)


def test_a_number_in_the_place_of_an_array_is_refused(path) -> None:
    run(epochs=1, checkpoint=path)
    tensors, document = checkpoint_file.read_sealed(path)
    del tensors["run/offset"]
    checkpoint_file.write_sealed(path, tensors, document | {"numbers": {"run/offset": 0}})
    refused(path, r"its run/offset is number, expected int32 \(\)")


def test_a_file_that_cannot_be_read_is_an_error_of_the_file_system(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        run(resume=tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        run(resume=tmp_path)


def test_a_header_that_looks_like_utf_16_imports_no_codec(path) -> None:
    """Python's JSON reader would import one, because it guesses the encoding of bytes."""
    run(epochs=1, checkpoint=path)
    content = bytearray(path.read_bytes())
    content[8] = 0
    place = checkpoint_file._place_of_seal(content)
    content[place] = checkpoint_file._seal(content, place)
    path.write_bytes(content)
    text = f"""
import sys, xpdl
from xpdl.files import checkpoint as checkpoint_file
import safetensors.numpy
events = []
sys.addaudithook(lambda event, arguments: events.append(event))
try:
    checkpoint_file.read_sealed({str(path)!r})
except xpdl.RunFileError:
    print(*events)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert done.stdout.split() == ["open"]


# --- disks that fail


def failing(number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "open"), (Path, "replace")])
def test_a_disk_that_fails_is_an_error_that_leaves_the_old_file(path, monkeypatch, owner, name, number) -> None:
    run(epochs=1, checkpoint=path)
    before = path.read_bytes()

    def break_the_disk(metrics, step):
        monkeypatch.setattr(owner, name, failing(number))

    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
        run(epochs=3, resume=path, checkpoint=path, callbacks=[break_the_disk])
    monkeypatch.undo()
    assert caught.value.errno == number
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    same(run(epochs=3, resume=path), run(epochs=3))


def test_a_folder_without_permission_is_an_error_before_the_training(tmp_path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        folder = Path("/sys")  # where not even root may write
    if not folder.is_dir() or (folder == Path("/sys") and sys.platform != "linux"):
        pytest.skip("this user may write anywhere")
    seen = []
    with pytest.raises(OSError, match="run"):
        run(epochs=1, checkpoint=folder / "run", callbacks=[lambda metrics, step: seen.append(step)])
    assert seen == []


def test_a_disk_without_room_leaves_the_old_file(path) -> None:
    """Here the write itself fails: the file must not grow beyond 2,000 bytes."""
    pytest.importorskip("resource", reason="limits are of POSIX")
    run(epochs=1, checkpoint=path)
    before = path.read_bytes()
    text = f"""
import resource, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
import test_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
test_checkpoint.run(epochs=2, resume={str(path)!r}, checkpoint={str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert "File too large" in done.stderr
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- processes that are killed


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_9_runs_killed_at_random_times_end_with_the_same_bits(tmp_path, monkeypatch) -> None:
    """A third of the runs are killed while they write a file.  The benchmark kills 100 runs."""
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("benchmarks/ is not beside tests/: it is no part of the wheel")
    monkeypatch.syspath_prepend(str(ROOT))
    reliability = import_module("benchmarks.reliability")
    kills = reliability.killed_runs(tmp_path, 9)
    assert len(kills) >= 9
    assert all(kill.loads and kill.identical for kill in kills)
    assert sum(kill.in_save for kill in kills) >= 3


# --- signals


@pytest.fixture
def handlers():
    """Set Python's own signal handlers, and restore the previous ones afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signalling(*numbers, at):
    """Adam, with signals in its update number ``at``."""
    calls, optimizer, moments = [], adam(0.01), {at}  # a set, because a number would be a constant of the optimizer

    def update(theta, grad, state):
        calls.append(None)
        result = optimizer.update(theta, grad, state)
        for number in numbers if len(calls) in moments else ():
            signal.raise_signal(number)
        return result

    return Optimizer(optimizer.init, update)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 2, STEPS, STEPS + 1])
def test_after_a_signal_the_run_is_saved_and_can_be_resumed(path, handlers, number, step) -> None:
    ended = run(epochs=3, optimizer=signalling(number, at=step), checkpoint=path)
    assert (ended.interrupted, ended.signal) == (True, number)
    document = checkpoint_file.read_sealed(path)[1]
    assert document["epoch"] * STEPS + document["step"] == step
    result = run(epochs=3, optimizer=signalling(at=0), resume=path)
    same(result, run(epochs=3, optimizer=adam(0.01)))
    assert not result.interrupted


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_ends_the_run_at_once(path, handlers, numbers) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(epochs=3, optimizer=signalling(*numbers, at=STEPS + 2), checkpoint=path)
    document = checkpoint_file.read_sealed(path)[1]
    assert (document["epoch"], document["step"]) == (1, 0)
    assert list(path.parent.iterdir()) == [path]


def test_without_a_checkpoint_sigterm_is_not_the_run_s(handlers) -> None:
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    result = run(epochs=2, optimizer=signalling(signal.SIGTERM, at=1))
    assert (received, result.interrupted, len(result.history)) == ([signal.SIGTERM], False, 2)


def test_a_run_with_a_loss_of_your_own_is_resumed(path) -> None:
    """The loss is identified by the names of its functions and their arguments, which are the same in each process."""

    def network(factor):
        return Network([6, 5, 2], output=xpdl.Loss(partial(scaled_squares, factor), lambda s, p, y: s - y))

    net = network(0.5)
    options = {"batch_size": 8, "seed": 3, "backend": "numpy", "progress": False}
    whole = xpdl.train(net, X, X[:, :2], epochs=3, **options)
    xpdl.train(net, X, X[:, :2], epochs=1, checkpoint=path, **options)
    resumed = xpdl.train(net, X, X[:, :2], epochs=3, resume=path, **options)
    assert resumed.theta.tobytes() == whole.theta.tobytes()
    assert " at 0x" not in path.read_bytes().decode("latin-1")
    with pytest.raises(ValueError, match=r"another run: network output is .*, 0\.5\).* here"):
        xpdl.train(network(0.7), X, X[:, :2], epochs=3, resume=path, **options)


def scaled_squares(factor, s, y):
    return factor * np.sum((s - y) ** 2, axis=-1)


# --- constants in functions of the user's own


def test_the_constants_of_a_function_are_the_numbers_in_its_closures() -> None:
    def outer(rate, decay):
        def inner(step):
            return rate * step

        return lambda step: inner(step) * decay

    found = constants(outer(0.5, 2), "update")
    assert {name: value for name, value in found.items() if not isinstance(value, str)} == {
        "update decay": 2,
        "update inner rate": 0.5,
    }
    assert constants(0.1, "lr") == {"lr": 0.1}
    assert constants(None, "update") == {}


def test_a_function_that_calls_itself_has_constants_too() -> None:
    def outer(rate):
        def again(step):
            return rate if step == 0 else again(step - 1)

        return again

    assert constants(outer(3), "f")["f rate"] == 3


def test_functions_that_call_each_other_have_constants_too() -> None:
    def outer(rate):
        def one(step):
            return other(step) if step else rate

        def other(step):
            return one(step - 1)

        return one

    assert constants(outer(3), "f")["f rate"] == 3


def fourth_power(scale):
    return Loss(lambda z, y: scale * namespace(z).sum((z - y) ** 4, axis=-1), lambda z, p, y: 4 * scale * (z - y) ** 3)


def scaled_square(scale):
    return Activation(lambda z: scale * z * z, lambda da, z, a: 2 * scale * z * da)


@pytest.mark.parametrize("kind", ["hidden", "output"])
def test_a_run_with_another_constant_in_a_function_is_another_run(kind, path) -> None:
    """The functions have the same names, so only the constants tell them apart."""
    make = {"hidden": scaled_square, "output": fourth_power}[kind]
    x = np.linspace(-1, 1, 8).reshape(8, 1)

    def run_with(constant, **files):
        net = Network([1, 3, 1], **({"output": "linear"} | {kind: make(constant)}))
        return train(net, x, x, epochs=2, backend="numpy", progress=False, checkpoint=path, **files)

    run_with(0.1)
    run_with(0.1, resume=path)
    with pytest.raises(ValueError, match=rf"constants {kind} .* is 0.1 in the file and 0.5 here"):
        run_with(0.5, resume=path)


def test_a_checkpoint_without_constants_is_read(path, monkeypatch) -> None:
    """Versions before this one did not write them."""
    x = np.linspace(-1, 1, 8).reshape(8, 1)
    net = Network([1, 3, 1], output=fourth_power(0.5))
    options = {"backend": "numpy", "progress": False, "checkpoint": path}
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_file, "_constants_of", lambda **chosen: {})
        train(net, x, x, epochs=1, **options)
    assert len(train(net, x, x, epochs=2, resume=path, **options).history) == 2
