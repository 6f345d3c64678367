"""What the threads of a process share: values that are made once, and settings that hold for the whole process.

Two trainings in two threads must not see each other.  Everything else belongs to one run: its arrays, its plan, its
files.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, wraps
from threading import Condition, RLock, get_ident
from typing import Any, TypeVar
import warnings

F = TypeVar("F", bound=Callable[..., Any])


def once(function: F) -> F:
    """``functools.cache``, but threads that ask for a value at the same time get the same one, made once."""
    kept, lock = cache(function), RLock()

    @wraps(function)
    def locked(*arguments: Any, **named: Any) -> Any:
        with lock:
            return kept(*arguments, **named)

    locked.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return locked  # type: ignore[return-value]


class Shared:
    """A context that changes the whole process: the first thread to enter opens it, the last to leave closes it.

    A thread that restored what it had found would undo the change for the others, or keep it for ever.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]], lock: AbstractContextManager[Any]) -> None:
        self.make, self.lock, self.inside = make, lock, 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.opened = self.make()
                self.opened.__enter__()
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.opened.__exit__(None, None, None)


FILTERS = RLock()
"""A thread holds it while it changes the filters of warnings, which most versions of Python keep once for a process."""


def ignoring(category: type[Warning]) -> Shared:
    """Return a context without warnings of this category."""

    @contextmanager
    def filtered() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category)
            yield

    return Shared(filtered, FILTERS)


class Setting:
    """A setting of the whole process that threads may want in different values, such as a precision of PyTorch.

    Threads that want another value wait.  A thread that already holds one cannot wait: that is a ``RuntimeError``.
    """

    def __init__(self, name: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.name, self.read, self.write = name, read, write
        self.held: list[tuple[int, Any]] = []  # threads and their values, in the order of entering
        self.changed = Condition()

    @contextmanager
    def at(self, value: Any) -> Iterator[None]:
        """Within the block, the setting has this value; after the last block it is what it was before the first."""
        mine = get_ident(), value
        self._enter(*mine)
        try:
            yield
        finally:
            self._leave(mine)

    def _enter(self, thread: int, value: Any) -> None:
        with self.changed:
            while any(other != thread and held != value for other, held in self.held):
                if any(other == thread for other, _ in self.held):
                    raise RuntimeError(f"{self.name} cannot be {value}: another thread uses it, with another value")
                self.changed.wait()
            if not self.held:
                self.before = self.read()
            self.held.append((thread, value))
            self.write(value)

    def _leave(self, mine: tuple[int, Any]) -> None:
        with self.changed:
            last = max(place for place, held in enumerate(self.held) if held == mine)
            del self.held[last]
            self.write(self.held[-1][1] if self.held else self.before)
            self.changed.notify_all()
