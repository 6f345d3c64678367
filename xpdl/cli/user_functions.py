"""Functions in a Python file of the user, ``layers.py:loss``, and the arrays at which they are checked."""

from collections.abc import Callable, Sequence
from pathlib import Path
import re
import runpy
import sys
from typing import Any
import zipfile

import numpy as np

from xpdl import checks
from xpdl.data.npz_file import read_arrays
from xpdl.data.shard_folder import map_npy
from xpdl.gradcheck import Report, check_gradient, check_jvp, check_vjp
from xpdl.randomness import Stream, generator

NAMED = re.compile(r"(.+\.py):(.+)")
"""The path of a Python file, a colon, and the name of a function in it."""

CHECKS: dict[str, Callable[..., Report]] = {"grad": check_gradient, "vjp": check_vjp, "jvp": check_jvp}
"""What the second function is, and the check of it."""


def is_function(name: str) -> bool:
    """Return whether this names a function in a Python file."""
    return NAMED.fullmatch(name) is not None


def check_functions(kind: str, fun: str, derivative: str, args: Sequence[Any], **options: Any) -> Report:
    """Return the report on a function and its derivative, both named "file.py:name"."""
    first, second = find(fun), find(derivative)
    try:
        return CHECKS[kind](first, second, *args, progress=True, **options)
    except Exception as error:
        raise _in_one_line(error, (fun, derivative)) from error


def find(name: str) -> Callable[..., Any]:
    """Return the function that ``name`` names, after its file was run."""
    match = NAMED.fullmatch(name)
    if match is None:
        raise ValueError(f"a function is named file.py:name, got {checks.shorten(name)}")
    path, function = match.groups()
    defined = _run(Path(path))
    functions = {key: value for key, value in defined.items() if callable(value) and not key.startswith("_")}
    if function not in functions:
        raise ValueError(f"{path} has no function {function!r}; it has {', '.join(sorted(functions)) or 'none'}")
    found: Callable[..., Any] = functions[function]
    return found


_RUNS: dict[Path, dict[str, Any]] = {}


def _run(path: Path) -> dict[str, Any]:
    """What a file defines.  It is run once, and may import what lies beside it, as with ``python file.py``."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    place = path.resolve()
    if place not in _RUNS:
        sys.path.insert(0, str(place.parent))
        try:
            _RUNS[place] = runpy.run_path(str(place), run_name=place.stem)
        except Exception as error:
            raise _in_one_line(error, [str(path)]) from error
        finally:
            sys.path.remove(str(place.parent))
    return _RUNS[place]


def _in_one_line(error: Exception, names: Sequence[str]) -> ValueError:
    """An error of the user's code, with the last line of it that ran."""
    files = {str(Path(name.partition(":")[0]).resolve()) for name in names}
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line} of {', '.join(sorted(Path(file).name for file in files))})" if line else ""
    return ValueError(f"{type(error).__name__}: {error}{where}")


def arguments(shapes: Sequence[str], at: Sequence[Path], dtype: str, seed: int) -> list[Any]:
    """Return the arguments: saved arrays, or random ones, for which ``3 4`` is one shape, ``3x4 4`` are two."""
    if bool(shapes) == bool(at):
        raise ValueError("give the arguments of a function by --shape (random numbers) or by --at (.npy files)")
    if at:
        return [_saved(path) for path in at]
    parts = [part.split("x") for part in shapes] if any("x" in part for part in shapes) else [shapes]
    drawn = generator(seed, Stream.DATA)
    return [drawn.standard_normal(tuple(map(_length, part))).astype(dtype) for part in parts]


def _length(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"shape must be whole numbers, as in --shape 3 4 or --shape 3x4 4, got {checks.shorten(text)}")
    return int(text)


def _saved(path: Path) -> Any:
    """An array of an .npy file; of an .npz file a dict of arrays."""
    return read_arrays(path) if zipfile.is_zipfile(checks.regular_file(path)) else np.array(map_npy(path))
