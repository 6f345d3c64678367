"""The storage of a study: memory, a file, or a database that many machines share.

    study.db        an SQLite file, for processes on one machine
    study.journal   a journal file of Optuna, for machines that share a folder
    scheme://...    a database, by its SQLAlchemy URL: postgresql://user@host/name, mysql://...

In a database every running trial has a heartbeat.  If the heartbeat stops, the process of the trial was killed, and
another process tries the same point again.  A journal has no heartbeats.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
import os
from pathlib import Path
import re
import sqlite3
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from xpdl.backends.shared import ignoring
from xpdl.checks import one_line
from xpdl.files.outputs import Kind, check, is_of, regular, shown

Place: TypeAlias = str | os.PathLike[str] | BaseStorage | None

HEARTBEAT = 10
"""Seconds between two heartbeats of a trial."""

GRACE = 60
"""Seconds without a heartbeat after which a trial counts as dead."""

RETRIES = 3
"""The largest number of new trials of a point whose process was killed: some points kill their process each time."""

PATIENCE = 60
"""Seconds to wait for an SQLite file while another process writes to it."""

BEGINNERS = 20
"""The largest number of processes that can set up the same database at the same time."""

JOURNALS = {".journal", ".log"}


JOURNAL = Kind("a journal of studies", re.compile(rb'\{[^\n]*"op_code": ?\d').match)
SQLITE = Kind("a database of studies", re.compile(rb"SQLite format 3\0").match)

TABLES = {
    "studies": {"study_id", "study_name"},
    "trials": {"trial_id", "study_id", "number", "state"},
    "version_info": {"schema_version", "library_version"},
    "alembic_version": {"version_num"},
    "study_.*": {"study_id"},
    "trial_.*": {"trial_id"},
}
"""Names of the tables of Optuna, and columns that they have.  Optuna makes "studies" first."""


def open_storage(place: Place) -> BaseStorage:
    """Return the storage at this place; return an Optuna storage unchanged.

    ``OSError`` if it is a file that holds anything else than studies.
    """
    if place is None:
        return InMemoryStorage()
    if isinstance(place, BaseStorage):
        return place
    path = _file(place)
    if path is None:
        return _database(os.fspath(place))
    _check_content(path)
    if path.suffix in JOURNALS:
        return _journal(path)
    # In the URI of a file, ? and % in its name are quoted; Optuna then looks for {} in the whole.
    url = URL.create("sqlite", database=path.as_uri(), query={"uri": "true"}).render_as_string()
    return _database(url.replace("{", "{{").replace("}", "}}"))


def check_storage(place: str) -> Path | None:
    """Return the file of a storage, None if it is none; ``OSError`` if it cannot be written or holds anything else."""
    path = _file(place)
    if path is not None:
        check("storage", path, JOURNAL if path.suffix in JOURNALS else SQLITE)
        _check_content(path)
    return path


def _file(place: str | os.PathLike[str]) -> Path | None:
    """Return the file of a place, behind all symlinks; None for a URL, and for a database in memory."""
    name: str | None = os.fspath(place)
    if "://" in str(name):
        name = _file_of(make_url(str(name))) if str(name).startswith("sqlite") else None
    return regular(name, "storage") if name and name != ":memory:" else None


def _file_of(url: URL) -> str | None:
    """Return the file of an SQLite URL, which may hold the URI of a file; None if the database is in memory."""
    name = str(url.database or "")
    if url.query.get("uri") and name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    return None if name in ("", ":memory:") or url.query.get("mode") == "memory" else name


def _check_content(path: Path) -> None:
    """Raise ``FileExistsError`` if a file holds anything else than studies, before anything is written to it."""
    kind = JOURNAL if path.suffix in JOURNALS else SQLITE
    if not is_of(kind, path) or (kind is SQLITE and not _are_optunas(_tables(path))):
        raise FileExistsError(f"storage must be a new file or {kind.name}, but {shown(path)} is not {kind.name}")


def _are_optunas(tables: Mapping[str, set[str]]) -> bool:
    """Return whether these tables, each with its columns, are those of Optuna, or the first of them, or none."""
    known = [
        any(re.fullmatch(name, table) and needed <= columns for name, needed in TABLES.items())
        for table, columns in tables.items()
    ]
    return all(known) and (not tables or "studies" in tables)


def _tables(path: Path) -> dict[str, set[str]]:
    """Return the tables in an SQLite file and their columns, without writing to it."""
    if not path.exists() or not path.stat().st_size:
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            query = "SELECT name FROM pragma_table_info(?)"
            return {str(name): {str(column) for (column,) in database.execute(query, (name,))} for (name,) in names}
    except sqlite3.OperationalError:  # it is in use, or must first recover from a crash: Optuna can do that
        return {}
    except sqlite3.DatabaseError as error:
        raise OSError(f"storage {shown(path)} cannot be read: {error}") from error


def _journal(path: Path) -> JournalStorage:
    """Open a journal, which is read at once; ``OSError`` if a line of it is not one of Optuna's."""
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, OptunaError):
        raise
    except Exception as error:  # Optuna trusts the lines
        raise OSError(f"storage {shown(path)} is no journal of studies: {one_line(repr(error))}") from error


HEARTBEATS_ARE_STABLE = ignoring(ExperimentalWarning)
"""A context without the warning that heartbeats are experimental, as they have been since Optuna 2.9."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Within the block, turn errors of the storage into an ``OSError`` of one line."""
    with HEARTBEATS_ARE_STABLE:
        try:
            yield
        except (OptunaError, SQLAlchemyError) as error:
            raise OSError(f"the storage of the study: {one_line(str(error).partition(chr(10))[0], 500)}") from error


def _database(url: str) -> RDBStorage:
    """Open a database with heartbeats.  If several processes set it up at once, all but one fail and try again."""
    options = _sqlite_options(url) if url.startswith("sqlite") else {}
    retry = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)
    for _ in range(BEGINNERS):
        try:
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=retry,
            )
        except DatabaseError as error:
            if not _exists(error):
                raise
            last = error
    raise last


def _sqlite_options(url: str) -> dict[str, Any]:
    """Close connections to a file after use, because Python 3.13 warns of open ones; keep a database in memory open."""
    pool = {} if _file_of(make_url(url)) is None else {"poolclass": NullPool}
    return {"connect_args": {"timeout": PATIENCE}} | pool


def _exists(error: DatabaseError) -> bool:
    """Return whether the error means that another process has already set up the database."""
    return any(words in str(error).lower() for words in ("already exists", "unique", "duplicate"))
