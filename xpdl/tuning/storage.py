"""The storage of a study: memory, a file, or a database that many machines share.

    study.db        an SQLite file, for processes on one machine
    study.journal   a journal file of Optuna, for machines that share a folder
    scheme://...    a database, by its SQLAlchemy URL: postgresql://user@host/name, mysql://...

In a database every running trial has a heartbeat.  If the heartbeat stops, the process of the trial was killed, and
another process tries the same point again.  A journal has no heartbeats.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
from typing import Any, TypeAlias

from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from xpdl.shared import ignoring

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


def open_storage(place: Place) -> BaseStorage:
    """Return the storage at this place; return an Optuna storage unchanged."""
    if place is None:
        return InMemoryStorage()
    if isinstance(place, BaseStorage):
        return place
    place = os.fspath(place)
    if "://" in place:
        return _database(place)
    if Path(place).suffix in JOURNALS:
        return JournalStorage(JournalFileBackend(place))
    return _database(f"sqlite:///{place}")


HEARTBEATS_ARE_STABLE = ignoring(ExperimentalWarning)
"""A context without the warning that heartbeats are experimental, as they have been since Optuna 2.9."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Within the block, turn errors of the storage into an ``OSError`` of one line."""
    with HEARTBEATS_ARE_STABLE:
        try:
            yield
        except (OptunaError, SQLAlchemyError) as error:
            raise OSError(f"the storage of the study: {str(error).partition(chr(10))[0]}") from error


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
    in_memory = make_url(url).database in (None, "", ":memory:")
    return {"connect_args": {"timeout": PATIENCE}} | ({} if in_memory else {"poolclass": NullPool})


def _exists(error: DatabaseError) -> bool:
    """Return whether the error means that another process has already set up the database."""
    return any(words in str(error).lower() for words in ("already exists", "unique", "duplicate"))
