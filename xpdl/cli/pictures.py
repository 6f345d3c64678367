"""Picture files: their formats.  A figure is written as a whole or not at all."""

import io
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from xpdl.cli.options import listed
from xpdl.files.outputs import shown, write_whole
from xpdl.plots.figures import Figure

FORMATS: dict[str, dict[str, Any]] = {".png": {"Software": "xpdl"}, ".svg": {"Creator": "xpdl", "Date": None}}
"""Suffixes, and the metadata of a picture.  SVG files get no date: equal pictures are equal files."""

DPI = 200
"""Pixels per inch.  An SVG has pixels too, where thousands of points are drawn as a bitmap."""


def check_suffix(flag: str, path: Path) -> None:
    """Raise ``ValueError`` unless the path of a picture has the suffix of a format."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{flag} must end in {listed(FORMATS)}, got {shown(path)}")


def save_picture(path: Path, figure: Figure) -> None:
    """Write the figure in the format of the suffix."""
    from matplotlib import rc_context

    suffix, picture = path.suffix.lower(), io.BytesIO()
    with rc_context({"svg.hashsalt": "xpdl"}):
        figure.savefig(picture, dpi=DPI, format=suffix.removeprefix("."), metadata=FORMATS[suffix])
    write_whole(path, picture.getbuffer())


Picture = Annotated[
    Path,
    Parameter(
        help=f"Write the picture to this {listed(FORMATS)} file.",
        validator=lambda _, path: check_suffix("out", path),
    ),
]
