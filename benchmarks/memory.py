"""Memory of this process, and what it has read from disk.

From /proc, because what ``getrusage`` calls the peak begins with that of the process which started this one.
"""

from pathlib import Path
import resource
import sys


def resident() -> float:
    """MiB in memory now."""
    return _status("VmRSS")


def peak() -> float:
    """The most MiB that were ever in memory."""
    return _status("VmHWM")


def bytes_read() -> int:
    """From disk, not from the system's cache; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/io").read_text().partition("\nread_bytes:")[2].split()[0])
    except OSError:
        return 0


def limit(more: int) -> None:
    """From now on, asking for so many MiB more than are reserved now, used or not, is a ``MemoryError``."""
    most = (int(_status("VmSize")) + more) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _status(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**10
    except (OSError, StopIteration):  # not Linux, or not all of it
        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
