"""Starting ranks, and what a launcher tells each of them.

xpdl train --ranks 4 ...    is    mpiexec -n 4 python -m mpi4py -m xpdl train --ranks 4 ...
"""

from collections.abc import Sequence
from importlib.util import find_spec
import os
from pathlib import Path
import shutil
import sys

TOLD = [("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")]
"""Where launchers tell a process which of how many it is: those of MPICH and Intel MPI, and of Open MPI."""


OPEN_MPI = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
"""Settings of Open MPI 5 and 4 without which ranks may not outnumber the cores, and the threads of one share a core."""


class RanksWanted(Exception):
    """Raised by a command that is to be run by several ranks."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks


def started() -> tuple[int, int]:
    """Which of how many processes this is, as its launcher says; (0, 1) without one."""
    told = [(int(os.environ[rank]), int(os.environ[size])) for rank, size in TOLD if {rank, size} <= os.environ.keys()]
    return max(told, key=lambda pair: pair[1], default=(0, 1))


def fail_stop() -> bool:
    """Whether this process was started with ``-m mpi4py``, so that an exception ends all ranks."""
    return "mpi4py.run" in sys.modules


def command(ranks: int, program: Sequence[str]) -> list[str]:
    """The command line for a program, as Python is told it; ``ImportError`` if there is no mpi4py or no mpiexec.

    The mpiexec beside this Python comes first: it was installed with the same MPI.
    """
    beside = os.fspath(Path(sys.executable).parent)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if mpiexec is None or find_spec("mpi4py") is None:
        raise ImportError('ranks need MPI: pip install "xpdl[mpi]", or mpi4py where an MPI is installed')
    return [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py", *program]


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Become the launcher, which hands signals on and gives back the exit code; ``ValueError`` in a rank.

    The ranks share the cores of this machine, so each is given as many threads as there are cores for it, unless that
    is set.  Open MPI gives each a terminal, which is called dumb where this process has none.
    """
    size = started()[1]
    if size > 1:
        raise ValueError(f"ranks must be {size}, as many as there are, got {ranks}")
    line = command(ranks, ["-m", "xpdl", *arguments])
    threads = max(1, (os.cpu_count() or 1) // ranks)
    terminal = {} if sys.stdout.isatty() else {"TERM": "dumb"}
    sys.stdout.flush()
    return os.execve(line[0], line, OPEN_MPI | {"OMP_NUM_THREADS": str(threads)} | os.environ | terminal)
