"""One function for all data: ``load`` takes the name of a data set, or the path of a file or folder.

A new data set is an entry in ``NAMED``; a new file format is an entry in ``FORMATS``.
"""

from collections.abc import Callable
import difflib
from pathlib import Path
from typing import Any, NamedTuple

from xpdl.data.csv_file import read_csv
from xpdl.data.dataset import Dataset
from xpdl.data.digits import digits
from xpdl.data.glyphs import glyphs
from xpdl.data.idx import read_idx_folder
from xpdl.data.mnist import mnist
from xpdl.data.npz_file import read_npz
from xpdl.data.points import circles, spiral
from xpdl.data.shard_folder import has_shards, read_shard_folder
from xpdl.randomness import check_seed


def load(source: str | Path, *, seed: int = 0, **options: Any) -> Dataset:
    """Load the data set of that name, or the data in that file or folder.

    Parameters
    ----------
    source : str or path
        One of the names "glyphs", "digits", "mnist", "circles", "spiral"; or the path of

        - an .npz file with arrays x and y, and optionally x_test and y_test,
        - a .csv file with the label in the last column,
        - a folder of x.npy and y.npy, or of x-000.npy, y-000.npy and so on, which stay on disk,
        - a folder of IDX files that are named as those of MNIST.

        Names come first: give a file that is called "glyphs" as "./glyphs".
    seed : int, default 0
        Seed of a data set that is drawn at random; files do not depend on it.
    **options
        Options of the function of the data set, such as ``n_train`` of ``xpdl.data.glyphs``.

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
    if source in NAMED:
        return NAMED[str(source)](seed=seed, **options)
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(_unknown(str(source)))
    for known in FORMATS:
        if known.matches(path):
            return known.read(path, **options)
    raise ValueError(f"source {str(source)!r} must be {' or '.join(known.description for known in FORMATS)}")


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
    read: Callable[..., Dataset]


def suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Return a test: whether a path has one of these suffixes and is no folder."""
    return lambda path: path.suffix.lower() in suffixes and not path.is_dir()


FORMATS = [
    Format("an .npz file of arrays x, y and optionally x_test, y_test", suffix(".npz"), read_npz),
    Format("a .csv file with the label in the last column", suffix(".csv"), read_csv),
    Format(
        "a folder of x.npy and y.npy, or of x-000.npy, y-000.npy and so on, which are read from disk as needed",
        has_shards,
        read_shard_folder,
    ),
    Format("a folder of IDX files that are named as those of MNIST", Path.is_dir, read_idx_folder),
]
"""The formats of files and folders; the first that matches a path reads it."""
