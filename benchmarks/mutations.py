"""Damaged files: what can happen to a safetensors file on a disk, in transfer, or through an attacker.

    content    length of the header (8 bytes), header (JSON), tensors one after the other
    header     {"__metadata__": {key: document (JSON in a string)}, name: {"dtype", "shape", "data_offsets"}, ...}

``MUTATIONS`` is a table of functions f(content, dice) -> content.  Most change bytes without regard to the format.
The last three give a well-formed file with other contents, which passes the first checks of a reader.
"""

from collections.abc import Callable, Iterator
import json
import math
from random import Random
import re
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as deserialize, save as serialize

Mutation = Callable[[bytes, Random], bytes]

NUMBERS = [0, 1, 2, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324]
NONE = [None, True, False, math.nan, math.inf, -math.inf]
TEXTS = ["", "relu", "F64", "2", "NaN", "__class__", "../../etc/passwd", "é😀", "\ud800", "\0", "A" * 10_000]
NESTED: list[Any] = [[], {}, [[]], [1, 1], [None], [["a", 1]], {"": {}}, {"sizes": [2]}, [2] * 1000, [{}] * 1000]
VALUES = [*NUMBERS, *NONE, *TEXTS, *NESTED]
"""Values that replace an entry."""

LENGTHS = [0, 1, 2**16, 10**8, 10**8 + 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
"""Lengths that a header may announce; 2^40 is a terabyte."""

DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool", "complex64"]
LOST = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""Errors of splitting a file that is already damaged."""


def mutated(content: bytes, dice: Random) -> tuple[str, bytes]:
    """Return the name of a mutation, and the content after one to three applications of it."""
    name = dice.choice(list(MUTATIONS))
    changed = MUTATIONS[name](content, dice)
    for _ in range(dice.choice([0, 0, 1, 2])):
        try:
            changed = MUTATIONS[name](changed, dice)
        except LOST:
            break
    return name, changed


# Bytes


def _flip(content: bytes, dice: Random) -> bytes:
    place = _place(content, dice)
    return _with(content, place, bytes([content[place] ^ 1 << dice.randrange(8)]))


def _change(content: bytes, dice: Random) -> bytes:
    return _with(content, _place(content, dice), dice.randbytes(dice.randint(1, 8)))


def _zero(content: bytes, dice: Random) -> bytes:
    return _with(content, _place(content, dice), bytes(dice.choice([1, 16, 512])))


def _cut(content: bytes, dice: Random) -> bytes:
    return content[: _place(content, dice)]


def _lose(content: bytes, dice: Random) -> bytes:
    start, stop = _block(content, dice)
    return content[:start] + content[stop:]


def _insert(content: bytes, dice: Random) -> bytes:
    start = dice.choice([_place(content, dice), len(content)])
    return content[:start] + dice.choice([bytes(8), b"\xff", b"{", dice.randbytes(5)]) + content[start:]


def _repeat(content: bytes, dice: Random) -> bytes:
    start, stop = _block(content, dice)
    return content[:stop] + content[start:]


def _swap(content: bytes, dice: Random) -> bytes:
    (a, b), (c, d) = sorted([_block(content, dice), _block(content, dice)])
    c, d = max(b, c), max(b, d)
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _length(content: bytes, dice: Random) -> bytes:
    near = abs(int.from_bytes(content[:8], "little") + dice.randint(-9, 9)) % 2**64
    return _with(content, 0, dice.choice([*LENGTHS, near, near, near]).to_bytes(8, "little"))


def _with(content: bytes, start: int, new: bytes) -> bytes:
    return content[:start] + new + content[start + len(new) :]


def _place(content: bytes, dice: Random) -> int:
    """Return the place of a random byte, every second time in the header."""
    header = 8 + int.from_bytes(content[:8], "little")
    return dice.randrange(min(len(content), dice.choice([len(content), header])))


def _block(content: bytes, dice: Random) -> tuple[int, int]:
    start = _place(content, dice)
    return start, start + dice.choice([1, 4, 8, 100])


# The contents of the file


def _header(content: bytes, dice: Random) -> bytes:
    header, tensors = _taken_apart(content)
    return _put_together(_text(_edited(header, dice), dice, (",", ":")), tensors)


def _document(content: bytes, dice: Random) -> bytes:
    header, tensors = _taken_apart(content)
    ((key, document),) = header["__metadata__"].items()
    header["__metadata__"] = {key: _text(_edited(json.loads(document), dice), dice)}
    return _put_together(json.dumps(header, separators=(",", ":")), tensors)


def _tensors(content: bytes, dice: Random) -> bytes:
    header, tensors = _taken_apart(content)[0], deserialize(content)
    name = dice.choice(list(tensors))
    tensors |= {name: np.array(dice.choice(CHANGES)(tensors[name], dice), order="C")}
    dice.choice([lambda: None, lambda: tensors.pop(name), lambda: tensors.update(W9=tensors[name])])()
    return serialize(tensors, header["__metadata__"])


CHANGES: list[Callable[[np.ndarray, Random], np.ndarray]] = [
    lambda tensor, dice: np.full(tensor.shape, dice.randrange(2), dice.choice(DTYPES)),
    lambda tensor, dice: np.frombuffer(tensor.tobytes(), dice.choice(["uint8", "int32", "float16"])),
    lambda tensor, dice: (
        np.full(tensor.nbytes, dice.choice([0x7F, 0xFF]), "u1").view(tensor.dtype).reshape(tensor.shape)
    ),
    lambda tensor, dice: tensor.T,
    lambda tensor, dice: tensor.reshape(-1),
    lambda tensor, dice: tensor.reshape(-1)[:0],
    lambda tensor, dice: tensor[None],
]
"""Changes of a tensor: another dtype, reinterpreted bytes, NaN or huge numbers, other shapes."""


def _taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(str(content[8:end], "utf-8")), content[end:]


def _put_together(header: str, tensors: bytes) -> bytes:
    text = header.encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def _text(tree: Any, dice: Random, separators: tuple[str, str] = (", ", ": ")) -> str:
    """The tree as JSON, now and then as something that is not quite JSON."""
    text = json.dumps(tree, separators=separators)
    return dice.choice(MISCHIEF)(text, dice) if dice.random() < 0.2 else text


MISCHIEF: list[Callable[[str, Random], str]] = [
    lambda text, dice: text[:-1] + f',"format":{json.dumps(dice.choice(VALUES))}' + text[-1:],
    lambda text, dice: text[:1] + f'"format":{json.dumps(dice.choice(VALUES))},' + text[1:],
    lambda text, dice: text + dice.choice([" ", "x", "\0", "{}", text]),
    lambda text, dice: dice.choice(["[", '{"a":']) * 20_000 + text,
    lambda text, dice: text.replace("1", "1" * dice.choice([400, 5000]), 1),
    lambda text, dice: text.replace("0", dice.choice(["1e999", "-1e999", "0x1", "01", "1e-999999999"]), 1),
    lambda text, dice: text.encode().decode("latin-1").replace('"', dice.choice(["'", "\ufeff", "\u2028"]), 1),
    lambda text, dice: "\ufeff" + text,
]


def _edited(tree: Any, dice: Random) -> Any:
    """Return a copy of a JSON tree with one entry replaced, removed, doubled or moved."""
    root = [json.loads(json.dumps(tree))]
    holder, key = dice.choice(list(_entries(root)))
    dice.choice(EDITS)(holder, key, dice)
    return root[0]


def _entries(holder: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], (dict, list)):
            yield from _entries(holder[key])


def _replace(holder: Any, key: Any, dice: Random) -> None:
    holder[key] = dice.choice(VALUES)


def _wrap(holder: Any, key: Any, dice: Random) -> None:
    holder[key] = dice.choice([lambda entry: [entry], lambda entry: {"": entry}, str, lambda entry: [entry, entry]])(
        holder[key]
    )


def _remove(holder: Any, key: Any, dice: Random) -> None:
    holder[key] = None
    if len(holder) > 1:
        del holder[key]


def _add(holder: Any, key: Any, dice: Random) -> None:
    value = dice.choice([holder[key], dice.choice(VALUES)])
    if isinstance(holder, dict):
        holder[dice.choice(TEXTS)] = value
    else:
        holder.insert(key, value)


def _exchange(holder: Any, key: Any, dice: Random) -> None:
    other = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


EDITS = [_replace, _replace, _replace, _wrap, _remove, _add, _exchange]

MUTATIONS: dict[str, Mutation] = {
    "a bit is another": _flip,
    "bytes are others": _change,
    "bytes are zero": _zero,
    "the end is missing": _cut,
    "bytes are missing": _lose,
    "bytes are too many": _insert,
    "a block is there twice": _repeat,
    "blocks have changed places": _swap,
    "the header has another length": _length,
    "the header says something else": _header,
    "the document says something else": _document,
    "the tensors are others": _tensors,
}


# Files of other formats


def mutated_text(content: bytes, dice: Random) -> tuple[str, bytes]:
    """Return the name of a mutation of any other file, and the content: bytes, or a word of a text, are others."""
    name = dice.choice([*list(MUTATIONS)[:-3], "a word is another"])
    return name, (_word if name == "a word is another" else MUTATIONS[name])(content, dice)


def mutated_metadata(content: bytes, dice: Random) -> tuple[str, bytes]:
    """Return a safetensors file whose document alone says something else."""
    return "the document says something else", _document(content, dice)


def _word(content: bytes, dice: Random) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+", content)) or [re.match(b"", content)]
    place = dice.choice(words).span()  # type: ignore[union-attr]
    new = str(dice.choice([*VALUES, "\x1b[2J", "1" * 100_000, "1,2", "\n", '"'])).encode("utf-8", "surrogatepass")
    return content[: place[0]] + new + content[place[1] :]
