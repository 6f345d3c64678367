"""Files of tensors (safetensors) from anyone: the size of the file bounds what is built from it.

The file is read, not mapped, so a file that is cut short in the meantime ends no process.  Its header is JSON, which
takes many times its size in memory, so its length has a limit.
"""

from collections.abc import Iterable
import json
import math
import os
from typing import Any

from xpdl import checks

KNOWN = 100_000_000
"""The longest header that safetensors reads."""


def read_content(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a file whose header has at most ``most`` bytes.

    ``ValueError`` or ``SafetensorError`` for another header, ``OSError`` if it cannot be read.
    """
    from safetensors import safe_open

    with checks.regular_file(path).open("rb") as file:
        length = header_length(file.read(8))
        if most < length <= min(KNOWN, os.fstat(file.fileno()).st_size - 8):
            raise ValueError(f"its header has {length} bytes, expected at most {most}")
        with safe_open(path, framework="np"):
            pass  # compares the header with the size of the file, which might not fit into memory
        file.seek(0)
        return file.read()


def header_length(content: bytes | memoryview) -> int:
    """Return the number of bytes of the header, which begins after 8 bytes."""
    return int.from_bytes(content[:8], "little")


def read_header(content: bytes) -> dict[str, Any]:
    """Return the header: the tensors by name, and the texts under "__metadata__"."""
    header = read_json(str(content[8 : 8 + header_length(content)], "utf-8"))
    if not isinstance(header, dict):
        raise ValueError(f"its header is {checks.shorten(header)}")
    return header


def read_json(text: str, *, finite: bool = True) -> Any:
    """Return a document of JSON; ``ValueError`` for keys that come twice and, if ``finite``, for NaN and infinity."""
    number = _number if finite else float
    return json.loads(text, object_pairs_hook=_unique, parse_float=number, parse_constant=number)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"its entry {checks.shorten(key)} comes twice")
        found[key] = value
    return found


def _number(text: str) -> float:
    """Return a number of JSON.  Python's own reader would accept NaN, Infinity and numbers too large for a float."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:30]} is not a number of JSON")
    return number
