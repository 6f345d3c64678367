"""Steps as CUDA graphs on the pretend CuPy, whose GPU is NumPy."""

from functools import cache, partial
import gc
from itertools import product

import numpy as np
from pretend_cupy import CUPY, GPU, XP, Cublas, Stream, do, empty, matmul, put, start, zeros
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.arrays import namespace
from xpdl.backends.cuda.cublas import Products
from xpdl.backends.cuda.cublas_3xtf32 import ThreeProducts
from xpdl.backends.cuda.graph import STEPS, Captured, Graphs, Repeated
from xpdl.backends.cuda.streams import SIDE, Use, span, turns
from xpdl.backends.cupy_replay import compile, target
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.replayed import Replayed
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.pytree import flatten, tree_map
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step


@pytest.fixture(autouse=True)
def another_gpu(raw_kernel):
    start(raw_kernel)


# Steps


def products(kind=Products, **options):
    return kind(Cublas(), partial(empty, dtype="uint8"), lambda: GPU.current.ptr, **options)


def as_graph(step, **options):
    return compile(CUPY, XP, step, **{"products": products} | options)


def as_calls(step, products=products):
    """The same plan without a graph."""
    return Replayed(target(CUPY, XP, cache(products)), step)


def unchanged(step):
    return step


def train_by(wrap, net, optimizer, *, sizes=(8, 8, 5), epochs=6, dtype="float32", images=False, seeds=0):
    """The runs after each step of a training whose masks, order and last batch change, and the compiled step."""
    rng = np.random.default_rng(0)
    n, d, k = sum(sizes), net.sizes[0], net.sizes[-1]
    x = rng.integers(0, 256, (n, d)).astype(np.uint8) if images else rng.normal(size=(n, d)).astype(dtype)
    y = net.targets(np.zeros(1, dtype), x, np.eye(k, dtype=dtype)[rng.integers(0, k, n)])
    each = np.shape(seeds)  # (K,) for K networks
    x, y, theta = put(x), put(y), put(np.array([net.initialize(s, dtype) for s in np.atleast_1d(seeds)]))
    theta = theta if each else theta[0]
    step = wrap(make_step(net, optimizer.update))
    state, seen, number = optimizer.init(theta), [], 0
    for _ in range(epochs):
        orders = [rng.permutation(n).astype(np.int32) for _ in np.atleast_1d(seeds)]
        order = put(np.stack(orders) if each else orders[0])
        lanes = {size: put(np.arange(size, dtype=np.int32)) for size in sizes}
        run = Carry(theta, state, zeros((), dtype="int32"), zeros(each, dtype=dtype), zeros(each, dtype="int32"))
        for size in sizes:
            masks = tree_map(put, dropout_masks(net, size, seed=seeds, step=number, dtype=dtype))
            run = step(run, Data(x, y, order, lanes[size]), masks)
            seen.append([leaf.host() for leaf in flatten(run)])
            number += 1
        theta, state = run.theta, run.state
    return seen, step


def same(expected, actual):
    assert len(expected) == len(actual)
    for one, other in zip(expected, actual, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def close(expected, actual, dtype):
    """To rounding: a sum in a chain has an order of its own."""
    assert len(expected) == len(actual)
    for one, other in zip(expected, actual, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e3 * np.finfo(dtype).eps, atol=200 * np.finfo(dtype).eps)


def kinds(step):
    return {type(run) for run in step.runs.values()}


NETS = {
    "relu softmax dropout l2": Network([6, 7, 5, 3], l2=0.1, dropout=0.4),
    "relu softmax l2": Network([6, 7, 5, 3], l2=0.1),
    "logistic regression": Network([6, 1], output="sigmoid"),
    "linear": Network([6, 4, 2], hidden="tanh", output="linear"),
    **{f"{name} softmax": Network([6, 4, 3], hidden=name) for name in xpdl.activations.ACTIVATIONS},
}


def test_a_step_of_k_networks_is_a_graph():
    net, rates = NETS["relu softmax dropout l2"], [0.01, 0.02, 0.03]
    expected, _ = train_by(unchanged, net, xpdl.adam(rates), seeds=[0, 1, 2])
    actual, step = train_by(as_graph, net, xpdl.adam(rates), seeds=[0, 1, 2])
    close(expected, actual, "float32")
    assert kinds(step) == {Captured}


@pytest.mark.parametrize(("net", "dtype"), list(product(NETS, ["float32", "float64"])))
def test_a_graph_is_its_calls_bit_for_bit_and_the_step_to_rounding(net, dtype):
    """Order, masks and the number of samples change; parameters, state, cost and counters must be the same."""
    expected, _ = train_by(as_calls, NETS[net], xpdl.adam(1e-2), dtype=dtype)
    actual, step = train_by(as_graph, NETS[net], xpdl.adam(1e-2), dtype=dtype)
    close(train_by(unchanged, NETS[net], xpdl.adam(1e-2), dtype=dtype)[0], actual, dtype)
    assert kinds(step) == {Captured}
    assert len(GPU.graphs) == 6 * 3 - 2 * 2
    same(expected, actual)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_learning_rate_changes_in_a_graph(name):
    """A rate that was captured as a number would never change."""
    optimizer = OPTIMIZERS[name](schedules.inverse_time(0.1))
    expected, _ = train_by(as_calls, NETS["linear"], optimizer)
    actual, step = train_by(as_graph, NETS["linear"], optimizer)
    assert kinds(step) == {Captured}
    same(expected, actual)


def test_three_products_are_captured_with_their_parts():
    """The parts lie in memory of the graph.  Here the big part of each number is the whole number."""

    def split(x, *places):
        for place, part in zip(places, (1, 0, 1), strict=True):
            do(lambda place, x, part: np.copyto(place, part * x), place, x, part)

    three = partial(products, ThreeProducts, split=split)
    expected, _ = train_by(partial(as_calls, products=three), NETS["relu softmax dropout l2"], xpdl.adam())
    actual, step = train_by(partial(as_graph, products=three), NETS["relu softmax dropout l2"], xpdl.adam())
    assert kinds(step) == {Captured}
    same(expected, actual)
    close(train_by(as_calls, NETS["relu softmax dropout l2"], xpdl.adam())[0], actual, "float32")


def test_images_are_scaled_in_a_graph():
    expected, _ = train_by(as_calls, NETS["linear"], xpdl.sgd(1e-2), images=True)
    same(expected, train_by(as_graph, NETS["linear"], xpdl.sgd(1e-2), images=True)[0])


@pytest.mark.parametrize("order", ["first", "last", "any"])
@pytest.mark.parametrize("net", ["relu softmax dropout l2", "linear", "wide"])
def test_branches_change_no_bit_in_whatever_order_they_run(net, order):
    net = Network([6, 5, 5, 5, 3], l2=0.1) if net == "wide" else NETS[net]
    expected, _ = train_by(as_calls, net, xpdl.adam(1e-2))
    GPU.next = {"first": min, "last": max, "any": np.random.default_rng(0).choice}[order]
    actual, step = train_by(partial(as_graph, branches=True), net, xpdl.adam(1e-2))
    assert kinds(step) == {Captured}
    same(expected, actual)


def test_the_gradients_of_weights_are_on_the_side():
    """So are the operations on them.  The gradient of the first layer is an exception: the update waits for it."""
    _, step = train_by(partial(as_graph, branches=True), NETS["relu softmax l2"], xpdl.adam())
    plan = next(iter(step.runs.values())).plan
    uses = [Use(*([span(x) for x in arrays] for arrays in plan.used(number))) for number in plan.calls]
    side = [number for number, turn in zip(plan.calls, turns(uses), strict=True) if turn.branch == SIDE]
    products = [number for number in side if plan.record[number].function in (matmul, XP.matmul)]
    assert [plan.used(number)[1][0].shape for number in products] == [(5, 3), (7, 5)]
    assert len(side) == 4


def test_a_step_is_one_launch_on_the_current_stream():
    net, optimizer = Network([6, 7, 3], dropout=0.5), xpdl.adam()
    step, theta = as_graph(make_step(net, optimizer.update)), put(net.initialize(0))
    data = Data(
        put(np.ones((9, 6), "f4")), put(np.ones((9, 3), "f4")), *(put(np.arange(n, dtype="i4")) for n in (9, 4))
    )
    run = Carry(theta, optimizer.init(theta), *(zeros((), dtype=t) for t in ("int32", "float32", "int32")))
    for _ in range(5):
        run = step(run, data, [put(np.ones((4, 7), "f4"))])
    with Stream() as stream:
        [other] = stream.previous
        GPU.launches.clear()
        GPU.graphs.clear()
        run = step(run, data, [put(np.ones((4, 7), "f4"))])
        assert GPU.graphs == [stream]
        assert GPU.launches == [stream], "the mask is copied"
    step(run, data, [put(np.ones((4, 7), "f4"))])
    assert GPU.graphs == [stream, other]
    assert len(GPU.captures) == 1


def train_repeated(optimizer, dispatches, *, epochs=3):
    """theta after each dispatch of so many steps, in epochs of 31 and one smaller batch, and the repeated step."""
    rng, net, sizes = np.random.default_rng(0), NETS["relu softmax l2"], (4, 3)
    x, y, theta = put(rng.normal(size=(127, 6))), put(np.eye(3)[rng.integers(0, 3, 127)]), put(net.initialize(0, "f8"))
    repeated = Repeated(as_graph(make_step(net, optimizer.update)))
    lanes, state, seen = {n: put(np.arange(n, dtype=np.int32)) for n in sizes}, optimizer.init(theta), []
    for _ in range(epochs):
        repeated.invalidate()
        order = put(rng.permutation(127).astype(np.int32))
        run = Carry(theta, state, *(zeros((), dtype=t) for t in ("int32", "float64", "int32")))
        for steps in dispatches:
            run = repeated(run, Data(x, y, order, lanes[4]), steps)
        run = repeated(run, Data(x, y, order, lanes[3]), 1)
        seen.append([leaf.host() for leaf in flatten(run)])
        theta, state = run.theta, run.state
    return seen, repeated


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_many_steps_at_a_time_are_the_steps_bit_for_bit(name):
    """The rate, the order and the number of samples change between steps."""
    optimizer = OPTIMIZERS[name](schedules.inverse_time(0.1))
    expected, _ = train_repeated(optimizer, [1] * 31)
    assert set(GPU.captures) == {min(GPU.captures)}
    for dispatches in ([31], [2, 29], [16, 8, 7]):
        actual, repeated = train_repeated(optimizer, dispatches)
        same(expected, actual)
        assert kinds(repeated.step) == {Captured}
    assert set(GPU.captures) == {min(GPU.captures), STEPS * min(GPU.captures)}


def test_fifty_steps_are_eight_launches():
    optimizer = xpdl.adam()
    _, repeated = train_repeated(optimizer, [31], epochs=2)
    step, [captured] = repeated.step, {run for run in repeated.step.runs.values() if STEPS in run.graphs_of}
    run, data = captured.plan.result, step.arrays
    GPU.graphs.clear(), GPU.launches.clear()
    x, y, order, _ = data[-4:]
    repeated(run, Data(x, y, order, put(np.arange(4, dtype=np.int32))), 50)
    assert len(GPU.graphs) == 1 + 49 // STEPS


def test_a_step_whose_results_lie_elsewhere_is_done_one_by_one():
    def step(state, data, masks):
        a, b = state
        a *= 2.0
        return b, a

    repeated = Repeated(as_graph(step))
    state = repeated((put(np.ones(2)), put(np.full(2, 3.0))), put(np.ones(1)), 8)
    assert [x.host().tolist() for x in state] == [[16.0, 16.0], [48.0, 48.0]]


def test_several_steps_that_cannot_be_captured_are_done_one_by_one(monkeypatch):
    """The capture of several steps is tried again only after each capture of one step."""
    expected, _ = train_repeated(xpdl.adam(), [31])
    capture, tried = Graphs.capture, []

    def of_one_step(self, plan, steps, pool):
        tried.append(steps)
        if steps > 1:
            raise OSError("too long a graph")
        return capture(self, plan, steps, pool)

    monkeypatch.setattr(Graphs, "capture", of_one_step)
    with pytest.warns(RuntimeWarning, match="too long a graph") as caught:
        actual, _ = train_repeated(xpdl.adam(), [31])
    same(expected, actual)
    assert len(caught) == 1
    assert 0 < tried.count(STEPS) <= tried.count(1)


def doubling():
    """A step with an argument that is not consumed; its product is CuPy's, as it is of integers."""

    def step(theta, x):
        theta += namespace(x).sum(x * x)
        return theta

    return step


def test_an_argument_that_often_changes_has_a_buffer():
    step, theta = as_graph(doubling()), put(np.zeros(3))
    for k in range(1, 8):
        theta = step(theta, put(np.full(2, float(k))))
    assert theta.host().tolist() == [2.0 * sum(k * k for k in range(1, 8))] * 3
    assert len(GPU.captures) == 1
    [captured] = step.runs.values()
    assert len(captured.buffers) == 1


def test_a_buffer_is_read_again_though_the_array_is_the_same():
    """The content of the array may have changed."""
    step, theta, x = as_graph(doubling()), put(np.zeros(3)), put(np.ones(2))
    for _ in range(4):
        theta, x = step(theta, x), x.copy()
    for k in (2, 3):
        x.values[...] = k
        theta = step(theta, x)
    assert theta.host().tolist() == [2.0 * (4 + 4 + 9)] * 3


def test_an_argument_that_seldom_changes_is_read_where_it_lies():
    step, theta, x = as_graph(doubling()), put(np.zeros(3)), put(np.ones(2))
    for _ in range(200):
        theta = step(theta, x)
    GPU.launches.clear()
    theta = step(theta, x[:])
    assert len(GPU.captures) == 1, "another view of the same memory is no change"
    x = put(np.full(2, 5.0))
    for _ in range(100):
        theta = step(theta, x)
    x.values[...] = 6
    theta = step(theta, x)
    assert theta.host().tolist() == [2.0 * (201 + 100 * 25 + 36)] * 3
    assert (len(GPU.captures), GPU.launches) == (2, [])
    [captured] = step.runs.values()
    assert not captured.buffers


def test_results_may_change_places():
    """The state of the next step is the state of this step in another order."""

    def step(state):
        a, b = state
        a *= 2.0
        return b, a

    graph, state = as_graph(step), (put(np.ones(2)), put(np.full(2, 3.0)))
    for _ in range(8):
        state = graph(state)
    assert kinds(graph) == {Captured}
    assert [x.host().tolist() for x in state] == [[16.0, 16.0], [48.0, 48.0]]


def test_a_new_array_in_place_of_a_consumed_one_is_read():
    graph, theta = as_graph(lambda theta: theta * 2.0), put(np.ones(3))
    for _ in range(6):
        theta = graph(theta)
    assert theta.host().tolist() == [64.0] * 3
    assert graph(put(np.full(3, 5.0))).host().tolist() == [10.0] * 3


def test_what_a_call_allocates_belongs_to_the_graph():
    """``where`` cannot write into a place.  All that is free has been overwritten when the graph is launched."""

    def step(theta, x):
        theta += namespace(x).where(theta > x, theta * 0.5, theta + x)
        return theta

    expected, theta, x, graph = put(np.arange(4.0)), put(np.arange(4.0)), put(np.full(4, 3.0)), as_graph(step)
    for _ in range(8):
        expected, theta = step(expected, x), graph(theta, x)
    assert kinds(graph) == {Captured}
    assert np.array_equal(expected.host(), theta.host())


def test_memory_is_given_back_at_once():
    """Reference counts alone must free it: a GPU is full long before Python looks for cycles."""
    gc.collect()
    gc.disable()
    try:
        _, step = train_by(as_graph, NETS["relu softmax dropout l2"], xpdl.adam())
        assert kinds(step) == {Captured}
        del step
        assert list(GPU.memory) == []
    finally:
        gc.enable()


def test_a_dtype_is_a_constant_of_the_step():
    """CuPy's dtypes are the classes of NumPy: they have the methods of its numbers, and are none."""

    def step(total, x):
        xp = namespace(x)
        total += xp.sum(xp.astype(x > 1.0, xp.int32))
        return total

    graph, total = as_graph(step), zeros((), dtype="int64")
    for _ in range(6):
        total = graph(total, put(np.arange(4.0)))
    assert kinds(graph) == {Captured}
    assert int(total) == 12


# Failures


def check_fallback(step, expected, actual, caught, reason, kind):
    assert [str(w.message).count(reason) for w in caught] == [1]
    if kind is not None:
        assert kinds(step) == {kind}
    else:
        assert kinds(step).isdisjoint({Plan, Captured})
    same(expected, actual)


def failing(message):
    def fail(*arguments, **options):
        raise OSError(message)

    return fail


@pytest.mark.parametrize("method", ["begin_capture", "end_capture"])
def test_without_a_capture_the_calls_are_replayed(monkeypatch, method):
    net = NETS["relu softmax dropout l2"]
    expected, _ = train_by(as_calls, net, xpdl.adam())
    monkeypatch.setattr(Stream, method, failing("no capture today"))
    with pytest.warns(RuntimeWarning) as caught:
        actual, step = train_by(as_graph, net, xpdl.adam())
    check_fallback(step, expected, actual, caught, "OSError: no capture today", Plan)


def test_a_call_that_cannot_be_captured_is_named():
    """A product of integers is CuPy's.  The stream does not go on capturing."""

    def step(theta, x):
        theta += x @ x
        return theta

    def run(wrap):
        wrapped, theta, seen, x = wrap(step), put(np.eye(2, dtype=int)), [], put(np.arange(4).reshape(2, 2))
        for _ in range(6):
            theta = wrapped(theta, x)
            seen.append([theta.host()])
        return seen, wrapped

    expected, _ = run(unchanged)
    with pytest.warns(RuntimeWarning) as caught:
        actual, wrapped = run(as_graph)
    check_fallback(wrapped, expected, actual, caught, "cuBLAS API during stream capture", Plan)
    assert all(stream.capture is None for stream in GPU.streams.values())


def test_without_cublas_the_step_runs_as_it_is():
    net = NETS["relu softmax dropout l2"]
    expected, _ = train_by(unchanged, net, xpdl.adam())
    with pytest.warns(RuntimeWarning) as caught:
        actual, step = train_by(partial(as_graph, products=failing("no libcublas")), net, xpdl.adam())
    check_fallback(step, expected, actual, caught, "OSError: no libcublas", None)


def test_a_plan_that_fails_has_changed_nothing(monkeypatch):
    """It fails halfway through its first run, in the middle of an epoch."""
    net = NETS["linear"]
    expected, _ = train_by(unchanged, net, xpdl.adam())
    monkeypatch.setattr(Cublas, "cublasGemmEx", failing("no product"))
    with pytest.warns(RuntimeWarning) as caught:
        actual, step = train_by(as_graph, net, xpdl.adam())
    check_fallback(step, expected, actual, caught, "OSError: no product", None)


def five_times(step, theta):
    for _ in range(5):
        theta = step(theta)
    return theta


def test_what_is_no_function_of_arrays_runs_as_it_is():
    calls = []

    def step(theta):
        calls.append(1)
        theta += float(len(calls))
        return theta

    with pytest.warns(RuntimeWarning, match="something else the second time"):
        theta = five_times(as_graph(step), put(np.zeros(2)))
    assert theta.host().tolist() == [15.0] * 2


def test_a_host_that_waits_is_named():
    def step(theta):
        theta += float(theta[0])
        return theta

    with pytest.warns(RuntimeWarning, match="a step must not read the values of an array") as caught:
        theta = five_times(as_graph(step), put(np.ones(2)))
    assert len(caught) == 1
    assert theta.host().tolist() == [32.0] * 2
