"""NCCL: one rank on a real GPU; and several ranks as threads, with NumPy's arrays in place of CuPy's."""

import sys
import types

import numpy as np
import pytest

import xpdl
from xpdl import distributed
from xpdl.distributed import Serial
from xpdl.distributed.nccl import Nccl

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(26, 6)), np.arange(26) % 3
NET = xpdl.Network([6, 7, 3], l2=0.1, dropout=0.3)
OPTIONS = {"epochs": 2, "batch_size": 8, "dtype": "float64", "progress": False}


@pytest.fixture
def nccl(monkeypatch):
    """cupyx.distributed as CuPy has it, between ranks that are threads; arrays of array-api-strict are on its GPU."""
    strict = pytest.importorskip("array_api_strict")
    calls, connecting = [], {}

    class Group:
        def __init__(self, size, rank):
            self.ranks = connecting[rank]

        def all_reduce(self, sent, received):
            assert isinstance(sent, type(strict.zeros(1)))
            calls.append("all_reduce")
            received[...] = self.ranks.allreduce(sent)

        def broadcast(self, array, root):
            assert root == 0
            calls.append("broadcast")
            array[...] = self.ranks.broadcast(array)

    def connect(ranks):
        connecting[ranks.rank] = ranks
        return Nccl(ranks)

    module = types.ModuleType("cupyx.distributed")
    module.init_process_group = lambda size, rank, *, use_mpi: Group(size, rank) if use_mpi else None
    monkeypatch.setitem(sys.modules, "cupyx", types.ModuleType("cupyx"))
    monkeypatch.setitem(sys.modules, "cupyx.distributed", module)
    monkeypatch.setitem(distributed.TRANSPORTS, "array_api_strict", connect)
    return types.SimpleNamespace(calls=calls, connect=connect, xp=strict)


def test_arrays_of_the_gpu_go_by_nccl_and_those_of_the_host_by_mpi(nccl, on_ranks) -> None:
    def operations(ranks):
        fast = nccl.connect(ranks)
        assert (fast.rank, fast.size) == (ranks.rank, ranks.size)
        host, device = np.array([ranks.rank, 1.0]), nccl.xp.asarray([ranks.rank, 2.0])
        results = (
            fast.allreduce(host.copy()),
            fast.broadcast(host),
            fast.allreduce(device + 0.0),
            fast.broadcast(device),
        )
        return [[float(x) for x in result] for result in results]

    assert on_ranks(3, operations) == [[[3.0, 3.0], [0.0, 1.0], [3.0, 6.0], [0.0, 2.0]]] * 3
    assert sorted(nccl.calls) == ["all_reduce"] * 3 + ["broadcast"] * 3


@pytest.mark.parametrize("size", [2, 3])
def test_several_ranks_compute_the_run_of_one(nccl, on_ranks, size) -> None:
    expected = xpdl.train(NET, X, Y, backend="array_api_strict", **OPTIONS)

    def train(ranks):
        return xpdl.train(NET, X, Y, backend="array_api_strict", communicator=ranks, **OPTIONS)

    for result in on_ranks(size, train):
        np.testing.assert_allclose(result.theta, expected.theta, rtol=0, atol=1e-12)
    assert nccl.calls == ["all_reduce"] * (size * 2 * 4)  # of the gradients, once a step


def test_one_rank_on_a_gpu() -> None:
    """The real NCCL, as far as it can be tested with one GPU."""
    try:
        cupy = xpdl.backend("cupy").xp
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    pytest.importorskip("mpi4py", reason="NCCL is started by MPI")
    ranks = Nccl(Serial())
    array = cupy.arange(5, dtype=cupy.float32)
    for operation in (ranks.allreduce, ranks.broadcast):
        assert cupy.asnumpy(operation(array.copy())).tolist() == [0, 1, 2, 3, 4]
