"""Checks of arguments: an error names the argument, the value and what was expected.

They run on the host, once, when a value enters xpdl.  None runs inside a training step.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
import errno
import math
import operator
import os
from pathlib import Path
import re
import stat
from typing import Any

from array_api_compat import array_namespace
import numpy as np

from xpdl.arrays import Array


class BadNumberError(ValueError):
    """An entry of an array cannot be used.  The text says why, with {} for its place; ``index`` is the place."""

    def __init__(self, argument: str, index: Sequence[int], text: str) -> None:
        place = ", ".join(map(str, index))
        super().__init__(f"{argument} must be {text.format(f'{argument}[{place}]')}")
        self.argument, self.index, self.text = argument, index, text

    def in_row(self, row: int) -> "BadNumberError":
        """The same error for a larger array, where the entry is in row ``row``."""
        return BadNumberError(self.argument, (row, *self.index[1:]), self.text)


PASSWORDS = re.compile(
    r"""(://[^/\s:@]*:)\S*(?=@)|(\b\w*(?:passw|pwd|secret|token)\w*\s*=\s*)[^\s&;'"]+""", re.IGNORECASE
)
"""The passwords in URLs, and in settings of databases such as "password=..."; before them stands what may be shown."""


def shorten(value: object, limit: int = 60) -> str:
    """``repr(value)`` on one line, cut to ``limit`` characters, without passwords."""
    text = PASSWORDS.sub(_hidden, " ".join(repr(value).split()))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1] or found[2]}***"


"".encode("unicode_escape")  # Python imports this codec when it is first used: not while a damaged file is read


def plain(text: str) -> str:
    """The text without passwords, and with escapes in place of what a terminal would obey, as to move its cursor."""
    text = PASSWORDS.sub(_hidden, text)
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: object, limit: int = 200) -> str:
    """The text of a file's name or of a message on one line, plain, with its middle cut out beyond ``limit``."""
    line = plain(" ".join(str(text).split()))
    return line if len(line) <= limit else f"{line[: limit // 2]}...{line[-(limit // 2) :]}"


class FileError(ValueError):
    """A file cannot be used; the message may quote it, so it is one plain line of limited length."""

    def __str__(self) -> str:
        return one_line(super().__str__(), 1000)


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file to read; ``OSError`` if it is absent, a folder, or a pipe or device that may never end."""
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device and no regular file", os.fspath(path))
    return Path(path)


def choice(argument: str, value: Any, names: Collection[str]) -> str:
    """``value`` if it is one of ``names``, else an error that suggests the closest of them."""
    if isinstance(value, str) and value in names:
        return value
    known = sorted(names)
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be one of {', '.join(known)}, got {shorten(value)}")
    close = get_close_matches(value.lower(), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{argument} must be one of {', '.join(known)}, got {shorten(value)}{hint}")


def integer(argument: str, value: Any, *, least: int, below: int | None = None) -> int:
    """``value`` as an int in [least, below); a float, even a whole one, is a ``TypeError``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an integer, got {shorten(value)}") from None
    if isinstance(value, bool):
        raise TypeError(f"{argument} must be an integer, got {value}")
    if number < least or (below is not None and number >= below):
        expected = f"at least {least}" if below is None else f"in [{least}, {_power(below)})"
        raise ValueError(f"{argument} must be {expected}, got {shorten(number)}")
    return number


def _power(number: int) -> str:
    """The number, large powers of two as 2**64."""
    bits = number.bit_length() - 1
    return f"2**{bits}" if bits > 15 and number == 2**bits else str(number)


def real(argument: str, value: Any, *, least: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a finite float in [least, below)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    except OverflowError:
        number = math.inf
    if number is None or isinstance(value, (bool, str)):
        raise TypeError(f"{argument} must be a number, got {shorten(value)}")
    if not least <= number < below:
        expected = f"at least {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"
        raise ValueError(f"{argument} must be finite and {expected}, got {number!r}")
    return number


def unmasked(argument: str, values: Any) -> None:
    """Check that values are no masked array: its masked entries are arbitrary numbers."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{argument} must hold a number in every entry, got a masked array")


def finite(argument: str, array: np.ndarray) -> None:
    """Check that an array on the host holds no NaN and no infinity; the error names the first one."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(bad[0].tolist())
        raise BadNumberError(argument, index, f"finite, got {array[index]} at {{}}")


def dtype_name(dtype: Any) -> str:
    """The name that the Array API gives a dtype, from that name or from a dtype object of any library."""
    try:
        return "None" if dtype is None else np.dtype(dtype).name
    except TypeError:
        return str(dtype).rpartition(".")[2]


def float_dtype(argument: str, value: Any) -> str:
    """ "float32" or "float64", from that name or from a dtype object of any library."""
    name = dtype_name(value)
    if name not in ("float32", "float64"):
        raise ValueError(f"{argument} must be float32 or float64, got {shorten(value)}")
    return name


def one_namespace(**arrays: Array) -> None:
    """Check that the named arguments are arrays of one library."""
    if len({type(array) for array in arrays.values()}) <= 1 and all(hasattr(a, "dtype") for a in arrays.values()):
        return
    try:
        array_namespace(*arrays.values())
    except TypeError:
        kinds = ", ".join(f"{name} is a {type(a).__module__}.{type(a).__name__}" for name, a in arrays.items())
        raise TypeError(f"expected arrays of one library: {kinds}") from None


def last_axis(argument: str, theta: Array, size: int) -> None:
    """Check that theta is (..., size)."""
    if theta.shape[-1:] != (size,):
        raise ValueError(f"{argument} must hold {size} parameters on its last axis, got shape {tuple(theta.shape)}")


def rows(argument: str, x: Array, d: int, *, leading: tuple[int, ...] = ()) -> None:
    """Check that x is (n, d) with n > 0; it may have these leading axes."""
    if x.ndim < 2 or x.shape[:-2] not in ((), leading) or x.shape[-2] == 0 or x.shape[-1] != d:
        raise ValueError(f"{argument} must have shape (n, {d}), rows are samples, got shape {tuple(x.shape)}")


def countable(argument: str, x: Any) -> None:
    """Check that int32 can count the samples x (n, d)."""
    n = next(iter(getattr(x, "shape", ())), 0)
    if n >= 2**31:
        raise ValueError(f"{argument} must have fewer than 2**31 samples, got {n}")


def pair(function: str, returned: Any, expected: str = "(theta, state)") -> tuple[Any, Any]:
    """Check that a function has returned a pair."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{function} must return {expected}, got {shorten(returned)}")
    return returned


def functions(argument: str, given: Any, *, besides: Sequence[str] = ()) -> None:
    """Check that each field of a named tuple holds a function, or None if that is its default.

    The fields in ``besides`` are not checked.
    """
    for name, value in given._asdict().items():
        absent = value is None and given._field_defaults.get(name, "") is None
        if not (callable(value) or absent or name in besides):
            raise TypeError(f"{argument} must hold a function as {name}, got {shorten(value)}")


def instance(argument: str, value: Any, kind: type) -> None:
    """Check that the value is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be an xpdl.{kind.__name__}, got {shorten(value)}")
