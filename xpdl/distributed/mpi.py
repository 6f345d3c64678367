"""MPI, the engine that clusters have: ``mpiexec -n 4 python -m mpi4py -m xpdl train ...``.

``-m mpi4py`` makes it fail-stop: an exception on one rank ends all of them with its traceback.  Without it the others
would wait for ever, so it is asked for.  A rank that is killed is noticed by the launcher, which ends the others.
"""

import os
from typing import Any

import numpy as np

from xpdl.arrays import Array, device, namespace
from xpdl.backends.base import to_numpy
from xpdl.distributed.communicators import Communicator, Serial
from xpdl.distributed.launching import fail_stop, started


class Mpi:
    """The ranks of an MPI job.  What lies on a device goes through the host."""

    def __init__(self, world: Any, in_place: Any) -> None:
        self.world, self.in_place, self.rank, self.size = world, in_place, world.rank, world.size

    def allreduce(self, array: Array) -> Array:
        """The sum over the ranks; a NumPy array is overwritten with it."""
        host = on_host(array)
        self.world.Allreduce(self.in_place, host)
        return like(array, host)

    def broadcast(self, array: Array) -> Array:
        """What rank 0 has; a NumPy array is overwritten with it."""
        host = on_host(array)
        self.world.Bcast(host)
        return like(array, host)


def on_host(array: Array) -> np.ndarray:
    """A NumPy array as it is, and a copy of any other."""
    return array if isinstance(array, np.ndarray) else np.array(to_numpy(array))


def like(array: Array, host: np.ndarray) -> Array:
    """The numbers in the library and on the device of the array."""
    return namespace(array).asarray(host, dtype=array.dtype, device=device(array))


def connect() -> Communicator:
    """The communicator of the MPI job that this process is a rank of; ``Serial`` if it is of none.

    ``RuntimeError`` if the ranks were not started with ``-m mpi4py``, or by the launcher of another MPI.
    """
    _, size = started()
    if not fail_stop():
        if size > 1:
            raise RuntimeError(
                f"this is one of {size} processes; start them as in 'mpiexec -n {size} python -m mpi4py -m xpdl train "
                "...', or an exception in one of them would leave the others waiting"
            )
        return Serial()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if size > 1 and world.size == 1:
        raise RuntimeError(
            f"the launcher has started {size} processes, and to mpi4py each is the only one: mpiexec is of another MPI "
            f"than the library it uses, {MPI.Get_library_version().partition(chr(10))[0].strip()}"
        )
    if world.size > 1:
        claim_gpu(world.Split_type(MPI.COMM_TYPE_SHARED).rank)
    return Mpi(world, MPI.IN_PLACE)


def claim_gpu(number: int) -> None:
    """Of the GPUs that CUDA may show this process leave it one, by its number among the ranks of this machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = str(number) if visible == [""] else visible[number % len(visible)]
