"""MPI, the usual way to run processes on a cluster: ``mpiexec -n 4 python -m mpi4py -m xpdl train ...``.

With ``-m mpi4py`` an exception on one rank ends all ranks, with its traceback.  It is required, because without it the
other ranks would wait for ever.  If a rank is killed, the launcher ends the others.
"""

import os
from typing import Any

import numpy as np

from xpdl.arrays import Array, device, namespace
from xpdl.backends.base import to_numpy
from xpdl.distributed.communicators import Communicator, Serial
from xpdl.distributed.launching import fail_stop, started


class Mpi:
    """The ranks of an MPI job.  Arrays on a device go through the host."""

    def __init__(self, world: Any, in_place: Any) -> None:
        self.world, self.in_place, self.rank, self.size = world, in_place, world.rank, world.size

    def allreduce(self, array: Array) -> Array:
        """Return the sum over the ranks; a NumPy array is overwritten with it."""
        host = on_host(array)
        self.world.Allreduce(self.in_place, host)
        return like(array, host)

    def broadcast(self, array: Array) -> Array:
        """Return the array of rank 0; a NumPy array is overwritten with it."""
        host = on_host(array)
        self.world.Bcast(host)
        return like(array, host)


def on_host(array: Array) -> np.ndarray:
    """Return a NumPy array unchanged, and any other array as a NumPy copy."""
    return array if isinstance(array, np.ndarray) else np.array(to_numpy(array))


def like(array: Array, host: np.ndarray) -> Array:
    """Return the numbers as an array of the same library, device and dtype as ``array``."""
    return namespace(array).asarray(host, dtype=array.dtype, device=device(array))


def connect() -> Communicator:
    """Return the communicator of the MPI job that this process belongs to.

    Returns
    -------
    Communicator
        ``Serial`` if this process was not started by a launcher.

    Raises
    ------
    RuntimeError
        If the ranks were started without ``-m mpi4py``, or by the launcher of another MPI.

    Examples
    --------
    >>> from xpdl.distributed import connect
    >>> communicator = connect()
    >>> communicator.rank, communicator.size  # of a process that runs alone
    (0, 1)
    """
    _, size = started()
    if not fail_stop():
        _check_alone(size)
        return Serial()
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if size > 1 and world.size == 1:
        raise RuntimeError(
            f"the launcher has started {size} processes, but mpi4py sees only one: mpiexec belongs to another MPI than "
            f"the library of mpi4py, {MPI.Get_library_version().partition(chr(10))[0].strip()}"
        )
    if world.size > 1:
        claim_gpu(world.Split_type(MPI.COMM_TYPE_SHARED).rank)
    return Mpi(world, MPI.IN_PLACE)


def _check_alone(size: int) -> None:
    """Raise ``RuntimeError`` if a launcher has started other ranks, too."""
    if size > 1:
        raise RuntimeError(
            f"this is one of {size} processes; start them as in 'mpiexec -n {size} python -m mpi4py -m xpdl train "
            "...', or an exception in one of them would leave the others waiting"
        )


def claim_gpu(number: int) -> None:
    """Make a single GPU visible to this process, chosen by the rank's number on this machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = str(number) if visible == [""] else visible[number % len(visible)]
