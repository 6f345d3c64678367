"""Picture files: which paths are accepted, and that a file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from xpdl.cli.pictures import check_suffix, save_picture

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib.figure import Figure


@pytest.fixture
def figure():
    figure = Figure()
    figure.subplots().plot([1, 2])
    return figure


@pytest.mark.parametrize(("suffix", "first"), [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_suffix_is_the_format(tmp_path, figure, suffix, first) -> None:
    save_picture(tmp_path / f"a{suffix}", figure)
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(first)


def test_the_same_figure_gives_the_same_svg(tmp_path, figure) -> None:
    for name in "ab":
        save_picture(tmp_path / f"{name}.svg", figure)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("a.pdf", ValueError, "out must end in .png or .svg, got 'a.pdf'"),
        ("a", ValueError, "out must end in .png or .svg, got 'a'"),
    ],
)
def test_a_path_that_cannot_be_written_is_named_with_its_flag(path, error, said) -> None:
    with pytest.raises(error, match=said):
        check_suffix("out", Path(path))


def test_a_disk_that_fails_leaves_the_old_file(tmp_path, figure, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        save_picture(path, figure)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
