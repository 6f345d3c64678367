"""Transport between the ranks of a job: several processes that train one network, each on its share of each batch.

Only the modules of this folder import mpi4py and cupyx, and only when they need them.
"""

from xpdl.backends import Backend
from xpdl.distributed.communicators import Communicator, Serial, gather, share
from xpdl.distributed.mpi import connect
from xpdl.distributed.nccl import Nccl

__all__ = ["Communicator", "Serial", "connect", "gather", "share", "transport"]

TRANSPORTS = {"cupy": Nccl}
"""Libraries whose arrays can be sent without a copy to the host."""


def transport(communicator: Communicator, backend: Backend) -> Communicator:
    """Return a communicator of the same ranks that is the fastest for the arrays of a backend.

    Parameters
    ----------
    communicator : Communicator
        The ranks.
    backend : Backend
        Where the arrays are.

    Returns
    -------
    Communicator
        The same ranks, connected by NCCL if the arrays are CuPy's.

    Examples
    --------
    >>> import xpdl
    >>> from xpdl.distributed import Serial, transport
    >>> transport(Serial(), xpdl.backend("numpy"))
    Serial(rank=0, size=1)
    """
    if communicator.size == 1:
        return communicator
    faster = TRANSPORTS.get(backend.name.partition(":")[0])
    return communicator if faster is None else faster(communicator)
