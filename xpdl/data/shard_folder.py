"""A folder of samples that may be larger than memory.

    x.npy, y.npy                the training part; or several files in this order: x-000.npy, x-001.npy, ...
    x_test.npy, y_test.npy      the test part, if there is one; it is read into memory

Other names of arrays (x_train, train_images, ...) work, too.
Files that end in .idx work in the same way.  An x of more than two axes (images) is flattened to (n, d).
"""

from collections.abc import Callable
from pathlib import Path
import re

import numpy as np

from xpdl import checks
from xpdl.data.array_names import role, roles
from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.idx import map_idx
from xpdl.data.parts import dataset_of_arrays
from xpdl.data.roles import Options
from xpdl.data.shards import Array, Shards


def read_shard_folder(folder: str | Path, options: Options = Options()) -> Dataset:  # noqa: B008
    """Open a folder of .npy or .idx files; x and y of the training part stay on disk.

    In x, uint8 and floats stay unchanged, and other integers become float64.  ``DataFormatError`` names the file or
    array and what is wrong with it.
    """
    folder = Path(folder)
    files = _files(folder)
    chosen = roles(files, str(folder))
    arrays = {role: _shards(folder, role, files[name]) for role, name in chosen.items()}
    held = {role: shards[:] for role, shards in arrays.items() if role not in ("x", "y")}
    return dataset_of_arrays(arrays | held, str(folder), task=options.task)


def has_shards(folder: Path) -> bool:
    """Return whether this is a folder with files of samples."""
    return folder.is_dir() and any((role(name) or "").startswith("x") for name in _files(folder))


def _files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each array: x.npy, or x-000.npy, x-001.npy, ..."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in OPENERS):
        found.setdefault(re.sub(r"-\d+$", "", path.stem), []).append(path)
    return found


def _shards(folder: Path, name: str, paths: list[Path]) -> Shards:
    """Open the files of one array."""
    parts = [_opened(path) for path in paths]
    if name.startswith("x"):
        parts = [part.reshape(len(part), -1) if part.ndim > 2 else part for part in parts]
    for part in parts:
        if part.dtype != parts[0].dtype or part.shape[1:] != parts[0].shape[1:]:
            kinds = " and ".join(f"{p.dtype} {p.shape[1:]}" for p in (parts[0], part))
            raise DataFormatError(f"{folder}: the files of {name} hold rows of {kinds}")
    return Shards(parts, _dtype(name, parts[0].dtype))


def _opened(path: Path) -> Array:
    array = OPENERS[path.suffix](path)
    if array.ndim == 0 or 0 in array.shape or array.dtype.kind not in "biufU":
        raise DataFormatError(f"{path}: expected rows of numbers, got {array.dtype} of shape {array.shape}")
    return array


def _dtype(name: str, dtype: np.dtype) -> np.dtype:
    """Return the dtype that a ``Dataset`` needs for x or y."""
    if dtype.kind in "fU" or (name.startswith("x") and dtype == np.uint8):
        return dtype.newbyteorder("=")
    return np.dtype("float64" if name.startswith("x") else "int64")


def map_npy(path: Path) -> Array:
    """Map the array in a file.  NumPy raises many kinds of errors for a bad header; all but ``OSError`` are caught."""
    try:
        with np.errstate(over="ignore"):
            return np.lib.format.open_memmap(checks.regular_file(path), mode="r")
    except OSError:
        raise
    except Exception as error:
        raise DataFormatError(f"{path}: not an .npy file of numbers: {' '.join(str(error).split())}") from error


OPENERS: dict[str, Callable[[Path], Array]] = {".npy": map_npy, ".idx": map_idx}
"""Suffixes, and the functions that map the array in such a file."""
