"""Schedules against numbers worked out by hand, on every library, with the step as a 0-d array of the device."""

import math

import numpy as np
import pytest

from xpdl import schedules

CASES = {  # name: (schedule, {step: rate by hand})
    "exponential": (schedules.exponential(0.8, 0.5), {0: 0.8, 1: 0.4, 3: 0.1}),
    "exponential, by epochs of 4": (schedules.exponential(0.8, 0.25, every=4), {0: 0.8, 2: 0.4, 4: 0.2, 6: 0.1}),
    "inverse_time": (schedules.inverse_time(0.6), {0: 0.6, 1: 0.3, 2: 0.2, 5: 0.1}),
    "inverse_time, with decay": (schedules.inverse_time(0.6, 0.5), {0: 0.6, 2: 0.3, 4: 0.2}),
    "inverse_time, by epochs of 10": (schedules.inverse_time(0.6, 2.0, every=10), {0: 0.6, 5: 0.3, 10: 0.2}),
    "inverse_sqrt": (schedules.inverse_sqrt(0.6), {0: 0.6, 3: 0.3, 8: 0.2}),
    "inverse_sqrt, by epochs of 10": (schedules.inverse_sqrt(0.6, every=10), {0: 0.6, 30: 0.3, 80: 0.2}),
    "step": (schedules.step(0.8, 0.5, every=3), {0: 0.8, 2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2}),
    "step, by ten": (schedules.step(0.8, every=100), {99: 0.8, 100: 0.08, 200: 0.008}),
    "cosine": (schedules.cosine(0.4, 12), {0: 0.4, 4: 0.3, 6: 0.2, 8: 0.1, 12: 0.0, 50: 0.0}),
    "cosine, to a floor": (schedules.cosine(0.5, 12, final=0.1), {0: 0.5, 4: 0.4, 6: 0.3, 8: 0.2, 12: 0.1, 50: 0.1}),
    "warmup": (schedules.warmup(0.4, 4), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.4, 99: 0.4}),
    "warmup, into a schedule": (schedules.warmup(schedules.inverse_time(0.6), 2), {0: 0.3, 1: 0.3, 2: 0.2, 5: 0.1}),
}

ORIGIN = {  # the origin's decays, epochs counted from 1; (its form, ours)
    "decay^epoch lr0": (lambda epoch: 0.95**epoch * 0.5, schedules.exponential(0.95 * 0.5, 0.95)),
    "lr0 / (1 + epoch)": (lambda epoch: 0.5 / (1 + epoch), schedules.inverse_time(0.25, 0.5)),
    "lr0 / (1 + decay epoch)": (lambda epoch: 0.5 / (1 + 0.1 * epoch), schedules.inverse_time(0.5 / 1.1, 0.1 / 1.1)),
    "k / sqrt(epoch)": (lambda epoch: 0.5 / math.sqrt(epoch), schedules.inverse_sqrt(0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_rates_are_those_worked_out_by_hand(lib, name) -> None:
    """And keep the dtype of the step."""
    schedule, rates = CASES[name]
    for step, rate in rates.items():
        got = lib.host(lib.call(schedule, lib.put(float(step))))
        assert got.shape == ()
        assert abs(float(got) - rate) <= lib.tolerance * max(rates.values())
        assert str(got.dtype) == lib.dtype


MAKERS = {
    "constant": schedules.constant,
    "exponential": lambda lr: schedules.exponential(lr, 0.5, every=3),
    "inverse_time": schedules.inverse_time,
    "inverse_sqrt": schedules.inverse_sqrt,
    "step": lambda lr: schedules.step(lr, every=2),
    "cosine": lambda lr: schedules.cosine(lr, 4, final=lr),
    "warmup": lambda lr: schedules.warmup(schedules.cosine(lr, 9), 3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_k_networks_have_k_rates(lib, name) -> None:
    """The step may be that of each network, (K, 1)."""
    alone = [MAKERS[name](rate) for rate in (0.5, 0.125)]
    for given in ([0.5, 0.125], np.array([0.5, 0.125])):
        together = MAKERS[name](given)
        for steps in (2.0, [[2.0], [5.0]]):
            got = lib.host(lib.call(together, lib.put(steps)))
            each = np.broadcast_to(np.ravel(steps), 2)
            rates = [float(one(np.asarray(step))) for one, step in zip(alone, each, strict=True)]
            assert got.shape == (2, 1)
            np.testing.assert_allclose(got[:, 0], rates, rtol=lib.tolerance * 10)


def test_rates_of_networks_are_checked() -> None:
    for wrong in ([], [0.1, -1.0], [0.1, math.nan]):
        with pytest.raises(ValueError, match="lr must be"):
            schedules.constant(wrong)


def test_every_schedule_has_a_case_here() -> None:
    names = {name for name, value in vars(schedules).items() if getattr(value, "__module__", "") == schedules.__name__}
    public = {name for name in names if not name.startswith("_")} - {"as_schedule", "constant"}
    assert {name.partition(",")[0] for name in CASES} == public


@pytest.mark.parametrize("form", ORIGIN)
def test_the_decays_of_the_origin(form) -> None:
    """Its epochs count from 1, our steps from 0: what it has in epoch e, we have in step e - 1."""
    origin, ours = ORIGIN[form]
    for epoch in (1, 2, 3, 10, 1000):
        assert float(ours(np.asarray(epoch - 1.0))) == pytest.approx(origin(epoch), rel=1e-12, abs=0)


@pytest.mark.parametrize("name", CASES)
def test_rates_stay_accurate_in_float32_after_many_steps(name) -> None:
    """To the error of a step / every that is itself rounded to float32."""
    schedule, _ = CASES[name]
    for step in (999.0, 123_456.0):
        single, double = float(schedule(np.asarray(step, dtype="float32"))), float(schedule(np.asarray(step)))
        if double > 1e-30:
            assert single == pytest.approx(double, rel=1e-5)


def test_steps_fall_exactly_on_the_multiples(lib) -> None:
    """Neither one step early nor one late, also in float32 and where a compiler might divide by multiplying."""
    every, k = 49, np.arange(1.0, 100.0)
    schedule = schedules.step(1.0, 0.9, every=every)
    for offset, expected in ((-1, 0.9 ** (k - 1)), (0, 0.9**k)):
        lib.close(lib.call(schedule, lib.put(every * k + offset)), expected)


def test_a_float_and_a_schedule_mix() -> None:
    """A number is the constant schedule, wherever a schedule may stand."""
    step = np.asarray(5.0)
    constant = schedules.as_schedule(0.3)
    assert constant(step) == schedules.constant(0.3)(step) == schedules.as_schedule(constant)(step) == 0.3
    warm, same = schedules.warmup(0.3, 10), schedules.warmup(schedules.constant(0.3), 10)
    assert float(warm(step)) == float(same(step)) == pytest.approx(0.18)


def test_a_schedule_of_your_own_is_taken_as_it_is() -> None:
    def mine(step):
        return 0.1 / (1 + step)

    assert schedules.as_schedule(mine) is mine
    assert float(schedules.warmup(mine, 1)(np.asarray(1.0))) == 0.05


def test_one_trace_serves_every_step() -> None:
    """Inside ``jax.jit`` the rate is computed by the device: nothing is baked in."""
    jax = pytest.importorskip("jax")
    traces = []
    schedule = schedules.warmup(schedules.cosine(0.4, 12), 4)

    @jax.jit
    def rate(step):
        traces.append(step)
        return schedule(step)

    rates = [float(rate(jax.numpy.asarray(float(step)))) for step in range(13)]
    assert len(traces) == 1
    by_hand = [0.2 * (1 + math.cos(math.pi * t / 12)) * min((t + 1) / 4, 1) for t in range(13)]
    assert rates == pytest.approx(by_hand, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.as_schedule(-0.1), ValueError, "lr must be finite and at least 0, got -0.1"),
        (lambda: schedules.as_schedule("0.1"), TypeError, "lr must be a number, got '0.1'"),
        (lambda: schedules.as_schedule(None), TypeError, "lr must be a number, got None"),
        (lambda: schedules.constant(math.inf), ValueError, "lr must be finite and at least 0, got inf"),
        (lambda: schedules.exponential(0.1, 0.0), ValueError, "decay must be greater than 0, got 0"),
        (lambda: schedules.exponential(0.1, 0.5, every=0), ValueError, "every must be finite and at least 1, got 0.0"),
        (lambda: schedules.inverse_time(0.1, -1.0), ValueError, "decay must be finite and at least 0, got -1.0"),
        (lambda: schedules.inverse_sqrt(True), TypeError, "lr must be a number, got True"),
        (lambda: schedules.step(0.1, -0.5, every=3), ValueError, "factor must be finite and at least 0, got -0.5"),
        (lambda: schedules.step(0.1), TypeError, "every"),
        (lambda: schedules.cosine(0.1, 0), ValueError, "steps must be finite and at least 1, got 0.0"),
        (lambda: schedules.cosine(0.1, 10, final=math.nan), ValueError, "final must be finite and at least 0, got nan"),
        (lambda: schedules.warmup(0.1, 0), ValueError, "steps must be finite and at least 1, got 0.0"),
        (lambda: schedules.warmup(-1.0, 5), ValueError, "lr must be finite and at least 0, got -1.0"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()
