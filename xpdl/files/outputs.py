"""Outputs: the one place that opens the files that xpdl writes.

An output never destroys what is not ours.  ``check`` says before the work begins whether a file can be written, and
``distinct`` whether the files of a command are different ones.  ``write_whole`` replaces a file, and ``append_line``
makes one longer: a symlink is followed, mode and owner stay, and after a crash the old or the new content is there.
``locked`` keeps a second run from writing the same file.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
import errno
import hashlib
from itertools import combinations
import json
import os
from pathlib import Path
import re
import stat
import time
from typing import BinaryIO, NamedTuple, TypeAlias

from xpdl.checks import one_line

try:
    import fcntl
except ImportError:  # only POSIX has these locks
    fcntl = None  # type: ignore[assignment]

Place: TypeAlias = str | os.PathLike[str]

CANNOT_SYNC = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}
"""Errors of systems that cannot sync folders: Windows cannot open them, some network file systems cannot sync them."""

CANNOT_LOCK = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}
"""Errors of file systems without locks."""

ABANDONED = 3600.0
"""Seconds after which an unfinished file counts as abandoned by its writer."""

PROBE = 64 << 10
"""Bytes that a disk must take before the work begins."""

HEAD = 64 << 10
"""Bytes at the beginning of a file that tell its kind."""

STEM = 100
"""The most bytes of a file's name in the names of files beside it, which would be too long with all of it."""

OTHERS = {
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


class Kind(NamedTuple):
    """A kind of file: its name, and a function of its first HEAD bytes that tells whether a file is of this kind."""

    name: str
    recognized: Callable[[bytes], object]


def shown(path: Place) -> str:
    """Return a path in quotation marks, for a message."""
    return one_line(repr(os.fspath(path)))


# Before the work


def regular(path: Place, argument: str = "path") -> Path:
    """Return the regular file behind all symlinks, or the place for a new one; ``OSError`` if there is neither."""
    place = Path(os.path.realpath(path))
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFDIR if place.is_dir() or not place.parent.is_dir() else stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{argument} must be a file in a directory that exists, got {shown(path)}")
    for other, name in OTHERS.items():
        if other(mode):
            raise FileExistsError(f"{argument} must be a regular file, but {shown(path)} is {name}")
    return place


def check(argument: str, path: Place, kind: Kind, *, force: bool = False) -> Path:
    """Return the file to write; ``OSError`` if it cannot be written, or holds something that is not of this kind.

    It really writes there, so read-only and full disks, folders without permission and long names fail now.
    """
    place = regular(path, argument)
    if not force and not is_of(kind, place):
        raise FileExistsError(
            f"{argument} must be a new file or {kind.name}, but {shown(path)} is not {kind.name}; "
            "choose another name, or --force to replace it"
        )
    with _unfinished(place) as (_, file):
        file.write(bytes(PROBE))
        file.flush()
        os.fsync(file.fileno())
    return place


def is_of(kind: Kind, place: Path) -> bool:
    """Return whether a regular file is of this kind.  A file that is absent or empty holds nothing to lose."""
    with suppress(FileNotFoundError), place.open("rb") as file:
        head = file.read(HEAD)
        return not head or bool(kind.recognized(head))
    return True


def distinct(
    outputs: Mapping[str, Place], inputs: Mapping[str, Place], *, together: Collection[tuple[str, str]] = ()
) -> None:
    """Raise ``ValueError`` if two outputs are one file, or an output is an input or lies in an input folder.

    The pairs in ``together`` may be one file.
    """
    for (one, path), (other, second) in combinations(outputs.items(), 2):
        if _same(path, second):
            raise ValueError(f"{one} and {other} must be two files, got {shown(path)} for both")
    for one, path in outputs.items():
        for other, source in inputs.items():
            if (one, other) not in together and (_same(path, source) or _in_folder(path, source)):
                raise ValueError(f"{one} must be another file than {other}, got {shown(path)}")


def _same(one: Place, other: Place) -> bool:
    with suppress(OSError):  # one of them does not exist yet
        return Path(one).samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _in_folder(path: Place, folder: Place) -> bool:
    """Return whether an existing file lies in an existing folder; new files beside the data are harmless."""
    return Path(folder).is_dir() and Path(path).exists() and Path(path).parent.samefile(folder)


# Writing


def write_whole(path: Place, *parts: bytes | memoryview) -> None:
    """Write a file so that at any time, even after a crash, either the whole old file or the whole new file is there.

    ``OSError`` if the disk is full, read-only or fails: then the old file is unchanged.  Only a process that is killed
    leaves its unfinished file behind; a later write to the same path removes that.
    """
    place = regular(path)
    _remove_abandoned(place)
    with _unfinished(place) as (unfinished, file):
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
        file.close()  # some systems cannot rename open files
        unfinished.replace(place)
    _sync_folder(place.parent)


def append_line(place: Path, line: bytes) -> None:
    """Add a line to a file; if the disk fails, the file is as long as before."""
    with place.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            if file.write(line + b"\n") <= len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(place))
        except OSError:
            file.truncate(before)
            raise


def mend_last_line(place: Path) -> None:
    """End the last line of a file; remove it if a writer that was killed has left only a part of its JSON."""
    if not place.exists():
        return
    with place.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - HEAD))
        last = file.read().rpartition(b"\n")[2]
        try:
            json.loads(last)
            file.write(b"\n")
        except ValueError:
            file.truncate(end - len(last))


@contextmanager
def _unfinished(place: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Within the block, give a new file beside ``place`` with the mode and the owner of the file there."""
    old = place.stat() if place.exists() else None
    if old is not None and not (old.st_mode & 0o222 and os.access(place, os.W_OK)):
        raise PermissionError(f"{shown(place)} is read-only")
    path = place.parent / f".{_stem(place)}.{os.getpid()}.{os.urandom(4).hex()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if old else 0o666))
    try:
        with path.open("wb") as file:
            if old is not None:
                _take_over(path, old)
            yield path, file
    finally:
        with suppress(OSError):  # it has been renamed; or the first error is the one to report
            path.unlink()


def _take_over(path: Path, old: os.stat_result) -> None:
    """Give a file the owner and the mode of an older one, as far as the system allows."""
    with suppress(AttributeError, OSError):
        os.chown(path, -1, old.st_gid)
        os.chown(path, old.st_uid, -1)
    with suppress(OSError):
        path.chmod(stat.S_IMODE(old.st_mode))


def _stem(place: Path) -> str:
    """Return the name of a file for the names of files beside it: cut if it is long, and then with its hash."""
    name = os.fsencode(place.name)
    cut = name[:STEM] + hashlib.sha256(name).hexdigest()[:16].encode()
    return os.fsdecode(name if len(name) <= STEM else cut)


def _remove_abandoned(target: Path) -> None:
    """Remove unfinished files of the target that are older than ABANDONED.

    The process number in their name cannot tell whether the writer is alive: it may run on another machine or in a
    container.
    """
    unfinished = re.compile(rf"\.{re.escape(_stem(target))}\.\d+\.[0-9a-f]{{8}}")
    with suppress(OSError):  # the folder cannot be listed
        for path in target.parent.iterdir():
            if unfinished.fullmatch(path.name):
                _remove_if_old(path)


def _remove_if_old(path: Path) -> None:
    with suppress(OSError):  # another process has removed it, or it is not a file
        if time.time() - path.stat().st_mtime > ABANDONED:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a crash, if the system can do that; ``OSError`` if the disk fails."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise


# One writer at a time


@contextmanager
def locked(path: Place | None) -> Iterator[None]:
    """Within the block, keep every other run from this file; ``BlockingIOError`` if another one has it.

    The lock lies beside the file, which is replaced again and again.  The system takes it from a process that ends,
    however it ends.
    """
    if path is None or fcntl is None:
        yield
        return
    place = regular(path)
    lock = place.parent / f".{_stem(place)}.lock"
    descriptor = _lock(lock, place)
    try:
        yield
    finally:
        with suppress(OSError):
            if not os.fstat(descriptor).st_size:
                lock.unlink()
        os.close(descriptor)


def _lock(lock: Path, place: Path) -> int:
    """Return the descriptor of a lock file that this run alone holds."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BlockingIOError(f"another run is writing {shown(place)}; give this one another file") from None
        except OSError as error:
            if error.errno not in CANNOT_LOCK:
                os.close(descriptor)
                raise
        made = os.fstat(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(made, lock.stat()) and stat.S_ISREG(made.st_mode) and not made.st_size:
                return descriptor
        os.close(descriptor)
        if made.st_size or not stat.S_ISREG(made.st_mode):
            raise FileExistsError(f"{shown(lock)} must be free to lock {shown(place)}, but it is another file")
        # else the last owner has removed it in the meantime
