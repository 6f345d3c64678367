"""One door to all data: ``load`` takes a name from a table, or a path."""

from collections.abc import Callable
import difflib
from pathlib import Path
from typing import Any

from xpdl.data.dataset import Dataset
from xpdl.data.digits import digits
from xpdl.data.files import read_csv, read_npz
from xpdl.data.glyphs import glyphs
from xpdl.data.idx import read_idx_folder
from xpdl.data.mnist import mnist
from xpdl.data.points import circles, spiral
from xpdl.data.shard_folder import has_shards, read_shard_folder
from xpdl.randomness import check_seed


def load(source: str | Path, *, seed: int = 0, **options: Any) -> Dataset:
    """The data set of that name, made with ``seed`` and the options of its function; or the data at that path.

    Names: glyphs, digits, mnist, circles, spiral.  Paths: an .npz with arrays x, y and optionally x_test, y_test; a
    .csv with the label in the last column; a folder of IDX files named as MNIST's; or a folder of x.npy, y.npy or many
    such files, which stay on disk (shard_folder.py).  A file called like a name is "./glyphs".
    ``ValueError`` for anything else, ``DataFormatError`` (a ValueError) for malformed data.
    """
    if source in NAMED:
        return NAMED[str(source)](seed=seed, **options)
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(_unknown(str(source)))
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in READERS:
        raise ValueError(
            f"source {str(source)!r} must be an .npz or .csv file or a folder of IDX or .npy files, got {kind!r}"
        )
    return READERS[kind](path, **options)


def _unknown(source: str) -> str:
    close = difflib.get_close_matches(source, NAMED, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"source {source!r} is no file or folder and none of {', '.join(NAMED)}{hint}"


def _mnist(*, seed: int) -> Dataset:
    """MNIST is the same whatever the seed."""
    check_seed(seed)
    return mnist()


def _read_folder(folder: Path) -> Dataset:
    return (read_shard_folder if has_shards(folder) else read_idx_folder)(folder)


NAMED: dict[str, Callable[..., Dataset]] = {
    "glyphs": glyphs,
    "digits": digits,
    "mnist": _mnist,
    "circles": circles,
    "spiral": spiral,
}
READERS: dict[str, Callable[..., Dataset]] = {".npz": read_npz, ".csv": read_csv, "folder": _read_folder}
