"""Sparse tensors of PyTorch as arguments and outputs; sparse gradients are in test_arguments.py."""

import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.function.sparse import dense, is_sparse, is_stored

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")


@pytest.fixture(params=["to_sparse", "to_sparse_csr"])
def case(request):
    """PyTorch, a sparse tensor one of whose stored entries is 0, and a dense one."""
    torch = pytest.importorskip("torch")
    stored = getattr(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]], dtype=torch.float64), request.param)()
    stored.values().data[1] = 0.0
    return torch, stored, torch.tensor([[1.0, 2.0], [0.5, 1.0], [-1.0, 3.0]], dtype=torch.float64)


def test_what_is_not_sparse_stays(case) -> None:
    torch, stored, w = case
    assert dense(w) is w or torch.equal(dense(w), w)
    assert [is_sparse(stored), is_sparse(w), is_sparse(np.ones(2))] == [True, False, False]
    assert is_stored(stored).tolist() == [[True, False, True], [False, False, True]]


def test_stored_entries_of_an_argument_are_variables(case) -> None:
    torch, stored, w = case

    def fun(s):
        assert s.layout == stored.layout
        return (torch.sparse.mm(s, w) ** 2).sum()

    assert xpdl.check_gradient(fun, None, stored).verdict == "PASS"

    def grad(s, place=(0, 0)):
        g = (2 * torch.sparse.mm(s, w)) @ w.T
        g[place] *= 1.01
        return g

    assert xpdl.check_gradient(fun, lambda s: grad(s, (0, 1)), stored).verdict == "PASS", "it is not stored"
    report = xpdl.check_gradient(fun, grad, stored)
    assert (report.verdict, report.parameters["theta"].worst.index) == ("FAIL", (0, 0))


def test_outputs_may_be_sparse(case) -> None:
    _, stored, w = case
    change = {True: "to_sparse_csr", False: "to_sparse"}["csr" in str(stored.layout)]
    for factor, verdict in ((1.0, "PASS"), (1.01, "FAIL")):
        report = xpdl.check_vjp(lambda t: getattr(t * t, change)(), lambda c, t, f=factor: 2 * f * c * t, w)
        assert report.verdict == verdict, str(report)
    assert xpdl.check_vjp(lambda t: (t * t).to_sparse(), None, w).verdict == "PASS"
