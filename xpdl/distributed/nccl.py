"""NCCL (``cupyx.distributed``) for arrays on GPUs.  MPI starts it, and transports the arrays on the host."""

import numpy as np

from xpdl.arrays import Array
from xpdl.distributed.communicators import Communicator


class Nccl:
    """The same ranks as the communicator ``host``, each with its own GPU, which is CuPy's current device."""

    def __init__(self, host: Communicator) -> None:
        from cupyx.distributed import init_process_group

        self.host, self.rank, self.size = host, host.rank, host.size
        self.group = init_process_group(host.size, host.rank, use_mpi=True)

    def allreduce(self, array: Array) -> Array:
        """Return the sum over the ranks; an array on the GPU is overwritten with it."""
        if isinstance(array, np.ndarray):
            return self.host.allreduce(array)
        self.group.all_reduce(array, array)
        return array

    def broadcast(self, array: Array) -> Array:
        """Return the array of rank 0; an array on the GPU is overwritten with it."""
        if isinstance(array, np.ndarray):
            return self.host.broadcast(array)
        self.group.broadcast(array, 0)
        return array
