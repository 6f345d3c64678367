"""Replayed steps on PyTorch: its functions by NumPy's names, which write where they are told."""

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.backends.kernels.operations import OPERATIONS
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.recorder import OPERATORS
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

torch = pytest.importorskip("torch")
TORCH = xpdl.backend("torch")

from xpdl.backends.torch_replay import ELEMENTWISE, UNARY, Module  # noqa: E402


def trained(net, optimizer, compiled, sizes=(8, 8, 5), epochs=3):
    """theta after a training whose masks, order and last batch change, and the step."""
    rng = np.random.default_rng(0)
    n, k, put, zeros = sum(sizes), net.sizes[-1], TORCH.asarray, TORCH.zeros
    x, y = put(rng.normal(size=(n, net.sizes[0]))), put(np.eye(k)[rng.integers(0, k, n)])
    step = make_step(net, optimizer.update)
    step = TORCH.compile(step) if compiled else step
    theta = put(net.initialize(0, "float64"), copy=True)
    state, number = optimizer.init(theta), 0
    for _ in range(epochs):
        order = put(rng.permutation(n).astype("int32"))
        run = Carry(theta, state, *(zeros((), t) for t in ("int32", "float64", "int32")))
        for size in sizes:
            masks = dropout_masks(net, size, seed=0, step=number, backend=TORCH, dtype="float64")
            run = step(run, Data(x, y, order, put(np.arange(size, dtype="int32"))), masks)
            number += 1
        theta, state = run.theta, run.state
    return TORCH.to_numpy(theta), step


NETS = {
    "dropout l2": Network([6, 7, 5, 3], l2=0.1, dropout=0.4),
    **{name: Network([6, 4, 3], hidden=name) for name in xpdl.activations.ACTIVATIONS},
    **{output: Network([6, 4, 3], output=output) for output in ("sigmoid", "linear")},
}


@pytest.mark.parametrize("net", NETS)
def test_a_replayed_step_is_the_step(net) -> None:
    """The results are equal to the last bit."""
    optimizer = xpdl.adamw(xpdl.schedules.cosine(1e-2, 9))
    (expected, _), (actual, step) = (trained(NETS[net], optimizer, compiled) for compiled in (False, True))
    assert all(isinstance(run, Plan) for run in step.runs.values())
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_replayed(name) -> None:
    (expected, _), (actual, step) = (trained(NETS["relu"], OPTIMIZERS[name](0.1), c) for c in (False, True))
    assert all(isinstance(run, Plan) for run in step.runs.values())
    assert np.array_equal(actual, expected)


def test_no_result_is_copied_where_it_could_be_written() -> None:
    """Of the step of a network with relu and Adam only ``isfinite`` has no way to write into its place."""
    _, step = trained(NETS["relu"], xpdl.adam(), compiled=True)
    for plan in step.runs.values():
        copied = {number for number, call in plan.calls.items() if "_copying" in getattr(call, "__qualname__", "")}
        assert [plan.record[number].function for number in copied] == [torch.isfinite]


def test_every_operator_is_a_function_by_the_name_of_numpy() -> None:
    """The left operand may be a number, and there may be a place for the result."""
    x = torch.tensor([0.5, 2.0, 3.0])
    for operator, name in OPERATORS.items():
        if name in ("matmul", "bitwise_and", "bitwise_or", "invert"):
            continue
        function, unary = getattr(Module, name), OPERATIONS[name].operands == 1
        for operands in ([x],) if unary else ((x, 2.0), (2.0, x), (x, x + 1)):
            expected = getattr(np, name)(*map(np.asarray, operands)).astype("float32")
            place = torch.empty_like(function(*operands))
            assert function(*operands, out=place) is place, operator
            np.testing.assert_allclose(place.numpy().astype("float32"), expected, rtol=1e-6)


def test_functions_of_the_table_write_into_a_place() -> None:
    x = torch.linspace(0.1, 1, 5)
    for name in UNARY:
        function = getattr(torch, name)
        assert function in ELEMENTWISE
        place = torch.empty_like(x)
        function(x, out=place)
        assert torch.equal(place, function(x))
