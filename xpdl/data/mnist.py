"""The real MNIST, read from disk or downloaded.  If neither is possible there is an error, never a substitute.

The SHA-256 of the uncompressed content is checked before a file is used or kept.
Source: LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition.
"""

from collections.abc import Callable
import os
from pathlib import Path
import tempfile
import textwrap

from xpdl.data.dataset import Dataset
from xpdl.data.errors import DataFormatError
from xpdl.data.idx import find_idx, read_idx, read_pair
from xpdl.progress import say

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
LARGEST = 60_000 * 28 * 28
"""Bytes of elements in the largest file."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def mnist() -> Dataset:
    """Load MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels each.

    The four files are read from the folder that the environment variable XPDL_DATA names, or from its subfolder
    "mnist".  If they are not there, they are read from the cache; files that the cache lacks are downloaded.
    Source: LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition.

    Returns
    -------
    Dataset
        x (n, 784) is uint8, y (n,) holds the labels 0 to 9 as int64.

    Raises
    ------
    DataFormatError
        If a file is there, but its content is not that of MNIST.
    FileNotFoundError
        If a file can be neither found nor downloaded; the message says what was tried.

    Examples
    --------
    The example needs the files or a download, so it is not run as a test.

    >>> from xpdl.data import mnist
    >>> data = mnist()  # doctest: +SKIP
    >>> data.x.shape, data.x_test.shape  # doctest: +SKIP
    ((60000, 784), (10000, 784))
    """
    for folder in _own_folders():
        if any(find_idx(folder, name) for name in SHA256):
            return _read(folder)
    return _read(_cache())


def _read(folder: Path) -> Dataset:
    train, test = (read_pair(folder, part, SHA256, LARGEST) for part in ("train", "t10k"))
    return Dataset(*train, *test, name="mnist")


def _own_folders() -> list[Path]:
    own = os.environ.get("XPDL_DATA")
    return [Path(own, "mnist"), Path(own)] if own else []


def _cache() -> Path:
    """Return pooch's cache folder, after downloading the files that it lacks."""
    try:
        import pooch
    except ImportError:
        raise FileNotFoundError(_not_found(["no cache and no download, because pooch is not installed"])) from None
    folder = Path(pooch.os_cache("xpdl"), "mnist")
    for name in SHA256:
        if find_idx(folder, name) is None:
            _fetch(name, folder, pooch.HTTPDownloader(chunk_size=1 << 16))
    return folder


def _fetch(name: str, folder: Path, download: Callable[..., object]) -> None:
    """Download one file into ``folder``, from the first mirror that has the right one."""
    failures = [f"cache {folder} lacks it"]
    for mirror in MIRRORS:
        url = f"{mirror}{name}.gz"
        try:
            return _fetch_from(url, folder / f"{name}.gz", SHA256[name], download)
        except (OSError, DataFormatError) as error:
            failures.append(f"{url}: {textwrap.shorten(str(error), 300, placeholder='...')}")
    raise FileNotFoundError(_not_found(failures))


def _fetch_from(url: str, path: Path, sha256: str, download: Callable[..., object]) -> None:
    """Download a file, check it, then move it to its place in one step: other processes may use the same file."""
    say(f"xpdl: downloading {url} to {path.parent}", to="stderr")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="download-") as temporary:
        part = Path(temporary, path.name)
        download(url, str(part), None)
        read_idx(part, sha256, LARGEST)
        part.replace(path)


def _not_found(failures: list[str]) -> str:
    own = os.environ.get("XPDL_DATA")
    searched = f"none of its files in $XPDL_DATA ({own})" if own else "$XPDL_DATA is not set"
    names = ", ".join(f"{name}.gz" for name in SHA256)
    return (
        f"MNIST not found: {'; '.join([searched, *failures])}. Put {names} into a folder and set XPDL_DATA to it, "
        'or pip install "xpdl[mnist]" to download them, or use --data glyphs'
    )
