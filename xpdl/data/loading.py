"""One function for all data: ``load`` takes the name of a data set, or the path of a file or folder.

A new data set is an entry in ``NAMED``; a new file format is an entry in ``FORMATS``.
"""

from collections.abc import Callable
import difflib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpdl.data.csv_file import read_csv
from xpdl.data.dataset import Dataset
from xpdl.data.digits import digits
from xpdl.data.frames import SUFFIXES, is_frame, read_frame_file, table_of_frame
from xpdl.data.glyphs import glyphs
from xpdl.data.idx_folder import is_idx_folder, read_idx_folder
from xpdl.data.mnist import mnist
from xpdl.data.npy_file import read_npy
from xpdl.data.npz_file import read_npz, read_samples
from xpdl.data.points import circles, spiral
from xpdl.data.roles import Options, dataset_of
from xpdl.data.shard_folder import has_shards, read_shard_folder
from xpdl.data.table import Table
from xpdl.randomness import check_seed


def load(source: Any, *, seed: int = 0, **options: Any) -> Dataset:
    """Load the data set of that name, or the data in that file or folder.

    Parameters
    ----------
    source : str, path or DataFrame
        One of the names "glyphs", "digits", "mnist", "circles", "spiral"; or the path of

        - a table: a .csv, .tsv, .txt or .data file (also with .gz), an .npy file of one array, or, with pandas, an
          .xlsx or .parquet file,
        - an .npz file with arrays x and y, and optionally x_test and y_test; x_train, train_images, ... work, too,
        - a folder of x.npy and y.npy, or of x-000.npy, y-000.npy and so on, which stay on disk,
        - a folder of IDX files that are named as those of MNIST or EMNIST.

        Names come first: give a file that is called "glyphs" as "./glyphs".  A frame of pandas is a table, too.
    seed : int, default 0
        Seed of a data set that is drawn at random; files do not depend on it.
    **options
        Options of the function of the data set, such as ``n_train`` of ``xpdl.data.glyphs``.  For tables: label (the
        column's name, its number from 0, "first" or "last"), header ("auto", "yes", "no"), drop and keep (names of
        columns), missing ("error", "mean", "drop").  For all files: task ("auto", "classes", "regression").

    Returns
    -------
    Dataset
        The training part, and the test part if there is one.

    Raises
    ------
    DataFormatError
        If a file is malformed; the message names the file and the reason.
    FileNotFoundError
        If MNIST can be neither found nor downloaded.
    ImportError
        If the source is "digits" and scikit-learn is not installed.
    TypeError
        If the data set has no such option.
    ValueError
        If the source is none of the above.

    Examples
    --------
    >>> import xpdl
    >>> data = xpdl.data.load("circles", n_train=200)
    >>> data.x.shape, data.x_test.shape
    ((200, 2), (100, 2))

    Data of your own, in a file:

    >>> from pathlib import Path
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.csv")
    ...     _ = path.write_text("height,width,label\\n1.5,2,0\\n2.5,1,1\\n")
    ...     data = xpdl.data.load(path)
    >>> data.x.tolist(), data.y.tolist()
    ([[1.5, 2.0], [2.5, 1.0]], [0, 1])
    """
    if is_frame(source):
        return dataset_of(table_of_frame(source), Options(**options))
    if source in NAMED:
        return _named(str(source), seed, options)
    path = Path(source).expanduser()
    given = Options(**options)
    for known in FORMATS:
        if known.matches(path):
            _check_options(known, path, given)
            return known.read(path, given)
    if not path.exists():
        raise ValueError(_unknown(str(source)))
    raise ValueError(f"source {str(source)!r} must be {' or '.join(known.description for known in FORMATS)}")


def load_table(path: str | Path, header: str = "auto") -> Table | None:
    """Return the file as a table, or None if it is none."""
    place = Path(path).expanduser()
    reads = (known.table for known in FORMATS if known.table is not None and known.matches(place))
    return next((read(place, header) for read in reads), None)


def load_samples(path: str | Path) -> tuple[Any, Any]:
    """Return all samples x of a file or folder of arrays, and their labels, or None if it has none."""
    place = Path(path).expanduser()
    if suffix(".npz")(place):
        return read_samples(place)
    data = load(path)
    labels = data.y if data.classes is None else np.array(data.classes)[np.asarray(data.y)]
    return data.x, labels


def _named(source: str, seed: int, options: dict[str, Any]) -> Dataset:
    """Return the data set of that name."""
    for name in (name for name in options if name in Options._fields):
        raise ValueError(f"{name} is for files, and {source} is none")
    return NAMED[source](seed=seed, **options)


def _check_options(known: "Format", path: Path, given: Options) -> None:
    """Refuse options of tables for other files."""
    if known.table is not None:
        return
    for name, default in Options._field_defaults.items():
        if name != "task" and getattr(given, name) != default:
            raise ValueError(f"{name} is for tables, and {path} is none")


def _unknown(source: str) -> str:
    close = difflib.get_close_matches(source, NAMED, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"source {source!r} is no file or folder and none of {', '.join(NAMED)}{hint}"


def _mnist(*, seed: int) -> Dataset:
    """Load MNIST, which is the same for every seed."""
    check_seed(seed)
    return mnist()


NAMED: dict[str, Callable[..., Dataset]] = {
    "glyphs": glyphs,
    "digits": digits,
    "mnist": _mnist,
    "circles": circles,
    "spiral": spiral,
}
"""The data sets that have a name, and the functions that make them."""


class Format(NamedTuple):
    """A kind of file or folder: how it is described, how it is recognized, and how it is read."""

    description: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, Options], Dataset]
    table: Callable[[Path, str], Table] | None = None  # of tables, what reads them


def suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Return a test: whether a path is a file with one of these suffixes."""
    return lambda path: path.name.lower().endswith(suffixes) and path.exists() and not path.is_dir()


def _table_format(description: str, matches: Callable[[Path], bool], table: Callable[[Path, str], Table]) -> Format:
    return Format(description, matches, lambda path, options: dataset_of(table(path, options.header), options), table)


TEXTS = tuple(f".{name}{packed}" for name in ("csv", "tsv", "tab", "txt", "data", "dat") for packed in ("", ".gz"))
"""The suffixes of tables in text files."""

FORMATS = [
    Format("an .npz file of arrays x and y, x_train and y_train, or the like", suffix(".npz"), read_npz),
    _table_format("a table, .csv, .tsv, .txt or .data, also with .gz", suffix(*TEXTS), read_csv),
    _table_format("an .npy table of numbers", suffix(".npy"), lambda path, _: read_npy(path)),
    _table_format("an .xlsx or .parquet table", suffix(*SUFFIXES), lambda path, _: read_frame_file(path)),
    Format(
        "a folder of x.npy and y.npy, or of x-000.npy, y-000.npy and so on, which are read from disk as needed",
        has_shards,
        read_shard_folder,
    ),
    Format("a folder of IDX files that are named as those of MNIST or EMNIST", is_idx_folder, read_idx_folder),
]
"""The formats of files and folders; the first that matches a path reads it."""
