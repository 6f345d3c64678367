"""The memory of this process, and the bytes that it has read from disk.

The numbers come from /proc: the peak of ``getrusage`` includes that of the process which started this one.
"""

from pathlib import Path
import resource
import sys


def resident() -> float:
    """Return the MiB in memory now."""
    return _status("VmRSS")


def peak() -> float:
    """Return the largest number of MiB that were ever in memory."""
    return _status("VmHWM")


def bytes_read() -> int:
    """Return the bytes read from disk, not from the system's cache; 0 if the system does not tell."""
    try:
        return int(Path("/proc/self/io").read_text().partition("\nread_bytes:")[2].split()[0])
    except OSError:
        return 0


def limit(more: int) -> None:
    """From now on, reserving this many MiB more than are reserved now is a ``MemoryError``."""
    most = (int(_status("VmSize")) + more) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _status(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**10
    except (OSError, StopIteration):  # not Linux, or without this field
        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
