"""Whatever ``train`` or an estimator takes can be pickled and copied, and is the same afterwards."""

from copy import deepcopy
import inspect
import pickle

import numpy as np
import pytest

import xpdl
from xpdl import activations, losses, optimizers, schedules
from xpdl.optimizers import OPTIMIZERS, elementwise
from xpdl.pickling import picklable, unwrapped

X, Y = np.linspace(-1, 1, 60).reshape(20, 3), np.arange(20) % 3
SCHEDULES = {
    "constant": schedules.constant(0.1),
    "exponential": schedules.exponential(0.1, 0.5),
    "inverse_time": schedules.inverse_time(0.1),
    "inverse_sqrt": schedules.inverse_sqrt(0.1),
    "step": schedules.step(0.1, every=3),
    "cosine": schedules.cosine(0.1, 5, final=0.01),
    "warmup": schedules.warmup(schedules.cosine(0.1, 9), 4),
}
MADE = {"leaky_relu": activations.leaky_relu(0.2), "elu": activations.elu(alpha=0.5)}
copied = pytest.mark.parametrize("copy", [lambda it: pickle.loads(pickle.dumps(it)), deepcopy], ids=["pickle", "copy"])


def own_rates(t):
    return (0.1 / t,)


def own_kernel(theta, grad, rate):
    theta -= rate * grad
    return (theta,)


def run(optimizer=None, hidden="relu", output="softmax", **options):
    net = xpdl.Network([3, 4, 3], hidden=hidden, output=output)
    return xpdl.train(net, X, Y, optimizer=optimizer, epochs=3, backend="numpy", progress=False, **options)


def test_every_maker_of_schedules_is_here() -> None:
    ours = {name for name, value in vars(schedules).items() if getattr(value, "__module__", "") == schedules.__name__}
    assert {name for name in ours if not name.startswith("_")} - {"as_schedule"} == set(SCHEDULES)


@copied
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_the_same(name, copy) -> None:
    schedule, again = SCHEDULES[name], copy(SCHEDULES[name])
    rates = [[float(rate(np.asarray(float(step)))) for step in range(12)] for rate in (schedule, again)]
    assert rates[0] == rates[1]
    assert again == schedule
    assert hash(again) == hash(schedule)


@copied
@pytest.mark.parametrize("lr", [0.1, *SCHEDULES.values()], ids=["number", *SCHEDULES])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_gives_the_same_run(name, lr, copy) -> None:
    optimizer = OPTIMIZERS[name](lr)
    assert run(copy(optimizer)).theta.tobytes() == run(optimizer).theta.tobytes()
    assert copy(optimizer).constant == optimizer.constant


@copied
def test_an_optimizer_of_ones_own_gives_the_same_run(copy) -> None:
    optimizer = elementwise(0, own_rates, own_kernel)
    assert run(copy(optimizer)).theta.tobytes() == run(optimizer).theta.tobytes()


@copied
@pytest.mark.parametrize("hidden", [*activations.ACTIVATIONS.values(), *MADE.values()])
def test_an_activation_is_the_same(hidden, copy) -> None:
    assert copy(hidden) == hidden
    assert run(hidden=copy(hidden)).theta.tobytes() == run(hidden=hidden).theta.tobytes()


@copied
@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_is_the_same(name, copy) -> None:
    assert copy(losses.LOSSES[name]) == losses.LOSSES[name]


@copied
@pytest.mark.parametrize("hidden", ["tanh", MADE["elu"]], ids=["name", "made"])
def test_a_network_and_a_result_are_the_same(hidden, copy) -> None:
    net = xpdl.Network([3, 4, 3], hidden=hidden, dropout=[0.5])
    assert net.layout.size
    assert copy(net) == net
    result = xpdl.train(net, X, Y, epochs=2, backend="numpy", progress=False)
    more = [xpdl.train(net, X, Y, epochs=4, resume=r, backend="numpy", progress=False) for r in (result, copy(result))]
    assert more[0].theta.tobytes() == more[1].theta.tobytes()


@copied
def test_a_callback_is_the_same(copy) -> None:
    stop = xpdl.EarlyStopping(3, "loss", min_delta=0.1)
    run(callbacks=[stop])
    again = copy(stop)
    assert (again.patience, again.min_delta, again.metrics) == (3, 0.1, stop.metrics)
    assert np.array_equal(again.theta, stop.theta)


@copied
def test_a_backend_is_found_again_by_its_name(lib, copy) -> None:
    if type(lib.backend) is not xpdl.Backend:
        pytest.skip("a class of the tests")
    again = copy(lib.backend)
    assert (again.name, again.device, again.precision) == (lib.backend.name, lib.backend.device, lib.backend.precision)
    assert np.array_equal(again.to_numpy(again.asarray([1.0], "float32")), [1.0])


def test_a_backend_of_ones_own_is_not_mistaken_for_another() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(xpdl.Backend("mine", np, "cpu"))
    assert deepcopy(mine := xpdl.Backend("mine", np, "cpu")) is mine


def test_made_functions_keep_names_and_signatures() -> None:
    assert optimizers.adam.__name__ == "adam"
    assert "eps" in inspect.signature(optimizers.adam).parameters
    assert unwrapped(SCHEDULES["cosine"]).__qualname__ == "cosine.<locals>.rate" == SCHEDULES["cosine"].__qualname__
    assert SCHEDULES["cosine"] != schedules.cosine(0.1, 5)
    assert SCHEDULES["cosine"] != unwrapped(SCHEDULES["cosine"])


def test_only_functions_are_replaced() -> None:
    assert picklable(lambda: 3)() == 3
    assert OPTIMIZERS["sgd"](0.1).constant is True
