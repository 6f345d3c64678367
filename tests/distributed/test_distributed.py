"""Which transport the arrays of a library take."""

from xpdl.distributed import Serial, transport
from xpdl.distributed.nccl import Nccl


def test_only_cupy_has_a_faster_transport(monkeypatch) -> None:
    class Backend:
        name = "cupy:1"

    monkeypatch.setattr(Nccl, "__init__", lambda self, host: setattr(self, "host", host))
    several = Serial(0, 2)
    assert transport(several, Backend()).host is several
    assert transport(Serial(), Backend()) == Serial()
    Backend.name = "torch:cuda"
    assert transport(several, Backend()) is several
