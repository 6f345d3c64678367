"""Data-parallel training: several processes, the ranks, that train one network on their shares of each batch.

The modules of this folder are the only ones that import mpi4py and cupyx, and only when they are asked for.
"""

from xpdl.backends import Backend
from xpdl.distributed.communicators import Communicator, Serial, gather, share
from xpdl.distributed.mpi import connect
from xpdl.distributed.nccl import Nccl

__all__ = ["Communicator", "Serial", "connect", "gather", "share", "transport"]

TRANSPORTS = {"cupy": Nccl}
"""What is faster than through the host, for the arrays of a library."""


def transport(communicator: Communicator, backend: Backend) -> Communicator:
    """The same ranks, by what is fastest for the arrays of the backend."""
    if communicator.size == 1:
        return communicator
    faster = TRANSPORTS.get(backend.name.partition(":")[0])
    return communicator if faster is None else faster(communicator)
