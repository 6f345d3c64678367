"""Picture files: their formats.  A figure is written as a whole or not at all."""

import io
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from xpdl.cli.flags import check_writable
from xpdl.cli.options import listed
from xpdl.files.outputs import write_whole
from xpdl.plots.figures import Figure

FORMATS: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"metadata": {"Date": None}}}
"""Suffixes, and the options with which a figure is saved.  SVG files get no date: equal pictures are equal files."""

DPI = 200
"""Pixels per inch.  An SVG has pixels too, where thousands of points are drawn as a bitmap."""


def check_picture(flag: str, path: Path) -> None:
    """Check a path for a picture: ``ValueError`` for a wrong suffix, ``OSError`` if it cannot be written."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{flag} must end in {listed(FORMATS)}, got {str(path)!r}")
    check_writable(**{flag: path})


def save_picture(path: Path, figure: Figure) -> None:
    """Write the figure in the format of the suffix."""
    from matplotlib import rc_context

    suffix, picture = path.suffix.lower(), io.BytesIO()
    with rc_context({"svg.hashsalt": "xpdl"}):
        figure.savefig(picture, dpi=DPI, format=suffix.removeprefix("."), **FORMATS[suffix])
    write_whole(path, picture.getbuffer())


Picture = Annotated[
    Path,
    Parameter(
        help=f"Write the picture to this {listed(FORMATS)} file.",
        validator=lambda _, path: check_picture("out", path),
    ),
]
