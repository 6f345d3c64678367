"""A folder of IDX files as they are downloaded: MNIST, Fashion-MNIST, Kuzushiji-MNIST and the sets of EMNIST.

    train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte
    emnist-letters-train-images-idx3-ubyte  ...  emnist-letters-test-labels-idx1-ubyte  emnist-letters-mapping.txt

all of them also with .gz.  The images of EMNIST are transposed, and its mapping gives the letters of the labels.
Source: Cohen, Afshar, Tapson, van Schaik 2017, EMNIST: an extension of MNIST to handwritten letters.
"""

from pathlib import Path

from xpdl import checks
from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.idx import find_idx, read_pair
from xpdl.data.labels import AUTO
from xpdl.data.parts import dataset_of_arrays
from xpdl.data.roles import Options
from xpdl.data.shards import Array

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
TESTS = ("t10k", "test")
"""What the files of the test part are called."""


def is_idx_folder(path: Path) -> bool:
    """Return whether this is a folder, or the beginning of the names of IDX files in one: gzip/emnist-letters."""
    return path.is_dir() or (path.parent.is_dir() and any(path.parent.glob(f"{path.name}-train-images*")))


def read_idx_folder(path: str | Path, options: Options = Options()) -> Dataset:  # noqa: B008
    """Read the images of a folder of IDX files.  Without files of a test part there is none."""
    folder, prefix = _set_of(Path(path))
    arrays = dict(zip(("x", "y"), read_pair(folder, f"{prefix}train"), strict=True))
    for part in TESTS:
        if any(find_idx(folder, f"{prefix}{part}-{rest}") for rest in (IMAGES, LABELS)):
            arrays |= dict(zip(("x_test", "y_test"), read_pair(folder, f"{prefix}{part}"), strict=True))
            break
    if prefix.startswith("emnist-"):
        arrays |= {part: _transposed(arrays[part]) for part in ("x", "x_test") if part in arrays}
    task = "classes" if options.task == AUTO else options.task
    return dataset_of_arrays(arrays, str(path), task=task, classes=_letters(folder, prefix))


def _set_of(path: Path) -> tuple[Path, str]:
    """Return the folder and what the names of the files begin with."""
    if not path.is_dir():
        return path.parent, f"{path.name}-"
    found = sorted({file.name.partition("train-images")[0] for file in path.glob("*train-images*")})
    if len(found) > 1 and "" not in found:
        names = ", ".join(name.rstrip("-") for name in found)
        raise DataFormatError(f"{path}: it holds several data sets, {names}; take one: {path / found[0].rstrip('-')}")
    if not found:
        files = sorted(file.name for file in path.iterdir())
        listed = checks.one_line(", ".join([*files[:20], *(["..."] if len(files) > 20 else [])])) or "nothing"
        raise DataFormatError(f"{path}: there is no file train-{IMAGES}, nor x.npy or x_train.npy, only {listed}")
    return path, found[0]


def _transposed(x: Array) -> Array:
    """Return images whose rows and columns are exchanged."""
    side = round(x.shape[1] ** 0.5)
    return x.reshape(len(x), side, -1).swapaxes(1, 2).reshape(len(x), -1)


def _letters(folder: Path, prefix: str) -> dict[int, str] | None:
    """Return the letter of each label, from lines such as "1 65 97": the label, and the codes of its letters."""
    path = folder / f"{prefix}mapping.txt"
    if not path.is_file():
        return None
    try:
        rows = [[int(word) for word in line.split()] for line in path.read_text("ascii").splitlines() if line.strip()]
        return {row[0]: chr(row[1]) for row in rows}
    except (ValueError, IndexError) as error:
        raise DataFormatError(f"{path}: expected a label and the codes of its letters in a line: {error}") from error
