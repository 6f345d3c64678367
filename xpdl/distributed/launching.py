"""Start ranks, and read the rank and the number of ranks that a launcher gives to a process.

xpdl train --ranks 4 ...    runs    mpiexec -n 4 python -P -m mpi4py -m xpdl train --ranks 4 ...

With -P, Python looks for no module in the current folder, where anyone may have put an mpi4py.py.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
import os
from pathlib import Path
import re
import shutil
import sys

from xpdl.progress import SILENT, on_terminal

TOLD = [("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")]
"""Environment variables with the rank and the number of ranks: of MPICH and Intel MPI, and of Open MPI."""


NUMBER = re.compile(r"\d{1,9}", re.ASCII)
"""A number that a launcher may give; others may use the same names for something else."""

OPEN_MPI = {
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
"""Settings of Open MPI 5 and 4: there may be more ranks than cores, and a rank may use more than one core."""


class RanksWanted(Exception):
    """A command raises this to be run by several ranks."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks


def started() -> tuple[int, int]:
    """Return (rank, size) from the launcher of this process; (0, 1) without a launcher."""
    told = [(os.environ.get(rank, ""), os.environ.get(size, "")) for rank, size in TOLD]
    numbers = [(int(rank), int(size)) for rank, size in told if NUMBER.fullmatch(rank) and NUMBER.fullmatch(size)]
    return max(numbers, key=lambda pair: pair[1], default=(0, 1))


def fail_stop() -> bool:
    """Return whether this process was started with ``-m mpi4py``, so that an exception ends all ranks."""
    return "mpi4py.run" in sys.modules


def command(ranks: int, program: Sequence[str]) -> list[str]:
    """Return the command line that runs Python with ``program`` on several ranks.

    The mpiexec beside this Python is preferred, because it was installed with the same MPI.  ``ImportError`` if there
    is no mpi4py or no mpiexec.
    """
    beside = os.fspath(Path(sys.executable).parent)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if mpiexec is None or find_spec("mpi4py") is None:
        raise ImportError('ranks need MPI: pip install "xpdl[mpi]", or mpi4py where an MPI is installed')
    return [mpiexec, "-n", str(ranks), sys.executable, "-P", "-m", "mpi4py", *program]


def launch(ranks: int, arguments: Sequence[str]) -> int:
    """Replace this process by the launcher, which forwards signals and returns the exit code.

    The ranks share the cores of this machine, so each gets its share of threads, unless OMP_NUM_THREADS is set.  Open
    MPI makes each rank believe that it has a terminal.  If this process has none, TERM=dumb tells the ranks so.
    ``ValueError`` if this process is a rank itself.
    """
    size = started()[1]
    if size > 1:
        raise ValueError(f"ranks must be {size}, the number of running ranks, got {ranks}")
    line = command(ranks, ["-m", "xpdl", *arguments])
    threads = max(1, (os.cpu_count() or 1) // ranks)
    terminal = {} if on_terminal() else {"TERM": "dumb"}
    with suppress(*SILENT):
        sys.stdout.flush()
    return os.execve(line[0], line, OPEN_MPI | {"OMP_NUM_THREADS": str(threads)} | os.environ | terminal)
