"""What only PyTorch has: its functions by NumPy's names, that write where they are told."""

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.backends.replay.plan import Plan
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.training.dropout import dropout_masks
from xpdl.training.step import Data, make_step

torch = pytest.importorskip("torch")
TORCH = xpdl.backend("torch")


def trained(net, optimizer, compiled, sizes=(8, 8, 5), epochs=3):
    """theta after a training whose masks, order and last batch change, and the step."""
    rng = np.random.default_rng(0)
    n, k, put, zeros = sum(sizes), net.sizes[-1], TORCH.asarray, TORCH.zeros
    x, y = put(rng.normal(size=(n, net.sizes[0]))), put(np.eye(k)[rng.integers(0, k, n)])
    step = make_step(net, optimizer.fused(TORCH.fuse))
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
    """To the last bit."""
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


def test_an_uncompiled_step_leaves_autograd_alone() -> None:
    assert torch.is_grad_enabled()
    trained(NETS["relu"], xpdl.adam(), compiled=True)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_products_on_a_gpu_are_in_the_precision_asked_for_whatever_was_set(precision) -> None:
    from xpdl.backends.torch import multiplying

    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    for other in ("tf32", "ieee"):
        settings.fp32_precision = other
        with multiplying(precision):
            assert settings.fp32_precision == precision
        assert settings.fp32_precision == other
    settings.fp32_precision = before


def test_a_training_on_a_gpu_is_in_float32_by_default() -> None:
    """As far as a CPU can tell: the setting that PyTorch would obey."""
    seen, settings = [], torch.backends.cuda.matmul
    before, settings.fp32_precision = settings.fp32_precision, "tf32"
    try:
        callback = lambda metrics, step: seen.append(settings.fp32_precision)  # noqa: E731
        x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
        xpdl.train(Network([2, 2]), x, y, epochs=1, backend="torch", callbacks=[callback], progress=False)
    finally:
        settings.fp32_precision = before
    assert seen == ["ieee"]
