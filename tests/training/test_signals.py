"""Signals: the first Ctrl-C ends a run after the step in progress, the second at once."""

import signal
import threading

import numpy as np
import pytest

from xpdl import DivergenceError, Network, adam
from xpdl.training.signals import interruptible

TRAINS = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", TRAINS, indirect=True)
DROPPING = Network([6, 16, 8, 3], l2=0.1, dropout=0.5)


@pytest.fixture
def sigint():
    """A way to set the handler of SIGINT; at first it is Python's own, and afterwards what it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_run_after_the_step_in_progress(
    sigint, samples, quiet_train, agree, by_hand, interrupting
) -> None:
    x, y = samples(24)
    optimizer, calls = interrupting(adam(0.01), at=5)
    result = quiet_train(DROPPING, x, y, optimizer=optimizer, epochs=9, batch_size=8, seed=2, dtype="float64")
    assert result.interrupted
    assert len(calls) == 5
    thetas, losses = by_hand(DROPPING, x, y, adam(0.01), epochs=2, batch=8, seed=2)
    agree(result.theta, thetas[4], 1e-12)
    assert [metrics["loss"] for metrics in result.history] == pytest.approx(losses[:1], rel=1e-12)


@on_each
def test_ctrl_c_between_epochs_ends_the_run_on_every_backend(lib, sigint, samples, quiet_train) -> None:
    def press(metrics, step):
        signal.raise_signal(signal.SIGINT)

    x, y = samples(24)
    result = quiet_train(DROPPING, x, y, epochs=9, callbacks=[press], backend=lib.backend, dtype=lib.dtype)
    assert result.interrupted
    assert len(result.history) == 1
    assert np.isfinite(result.theta).all()
    assert not np.array_equal(result.theta, DROPPING.initialize(0, lib.dtype))


def test_a_second_ctrl_c_ends_the_run_at_once(sigint, samples, quiet_train, interrupting) -> None:
    optimizer, calls = interrupting(adam(), at=2, times=2)
    with pytest.raises(KeyboardInterrupt):
        quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=9, batch_size=8)
    assert len(calls) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_a_run_is_not_interrupted(samples, quiet_train) -> None:
    assert not quiet_train(DROPPING, *samples(8), epochs=1).interrupted


@pytest.mark.parametrize("ending", ["as planned", "interrupted", "diverged", "error"])
def test_the_handler_of_ctrl_c_is_restored_however_the_run_ends(
    sigint, ending, samples, quiet_train, exploding, interrupting
) -> None:
    def handler(number, frame):
        raise AssertionError("the first Ctrl-C is for the run")

    sigint(handler)
    optimizer = {"interrupted": interrupting(adam(), at=1)[0], "diverged": exploding(0)}.get(ending, adam())
    callbacks = [lambda metrics, step: 1 / 0] if ending == "error" else []
    try:
        quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=2, batch_size=8, callbacks=callbacks)
    except (DivergenceError, ZeroDivisionError):
        assert ending in ("diverged", "error")
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_second_ctrl_c_goes_to_the_handler_there_was(sigint, samples, quiet_train, interrupting) -> None:
    received = []
    sigint(lambda number, frame: received.append(number))
    optimizer, calls = interrupting(adam(), at=2, times=2)
    result = quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=9, batch_size=8)
    assert (received, len(calls), result.interrupted) == ([signal.SIGINT], 2, True)


def test_ctrl_c_stays_ignored_if_it_was_ignored(sigint, samples, quiet_train, interrupting) -> None:
    """It is ignored in a background job of a shell script, which Ctrl-C in the foreground must not end."""
    sigint(signal.SIG_IGN)
    optimizer, calls = interrupting(adam(), at=2)
    result = quiet_train(DROPPING, *samples(24), optimizer=optimizer, epochs=2, batch_size=8)
    assert (len(calls), result.interrupted) == (6, False)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_training_works_in_a_thread(samples, quiet_train) -> None:
    """Signals cannot be handled in a thread, so their handlers are not changed."""
    results, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: results.append(quiet_train(DROPPING, *samples(8), epochs=2)))
    thread.start()
    thread.join()
    assert np.array_equal(results[0].theta, quiet_train(DROPPING, *samples(8), epochs=2).theta)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_number_of_the_signal_is_told(sigint) -> None:
    with interruptible(signal.SIGINT) as interrupt:
        assert (interrupt.signal, interrupt.requested) == (0, False)
        signal.raise_signal(signal.SIGINT)
        assert (interrupt.signal, interrupt.requested) == (signal.SIGINT, True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
