"""NCCL, for GPUs that speak to one another: ``cupyx.distributed``, with MPI to start it and for what is on the host."""

import numpy as np

from xpdl.arrays import Array
from xpdl.distributed.communicators import Communicator


class Nccl:
    """The same ranks as ``host``, each with a GPU of its own that is CuPy's current device."""

    def __init__(self, host: Communicator) -> None:
        from cupyx.distributed import init_process_group

        self.host, self.rank, self.size = host, host.rank, host.size
        self.group = init_process_group(host.size, host.rank, use_mpi=True)

    def allreduce(self, array: Array) -> Array:
        """The sum over the ranks, in the place of the array if it is on the GPU."""
        if isinstance(array, np.ndarray):
            return self.host.allreduce(array)
        self.group.all_reduce(array, array)
        return array

    def broadcast(self, array: Array) -> Array:
        """What rank 0 has, likewise."""
        if isinstance(array, np.ndarray):
            return self.host.broadcast(array)
        self.group.broadcast(array, 0)
        return array
