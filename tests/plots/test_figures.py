"""Figures: new ones are of pyplot unless they are only saved, and colours and markers repeat late."""

import numpy as np
import pytest

from xpdl.plots import figures
from xpdl.plots.figures import COLOURS, MARKERS, axes, colour, legend_beside, marker, new_figure, unshown

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib import pyplot
from matplotlib.colors import to_rgb


def test_new_figures_are_of_pyplot_unless_they_are_only_saved() -> None:
    with unshown():
        new_figure(1, 1)
        assert pyplot.get_fignums() == []
    new_figure(1, 1)
    assert len(pyplot.get_fignums()) == 1


def test_after_an_error_figures_are_shown_again() -> None:
    with pytest.raises(ZeroDivisionError), unshown():
        raise ZeroDivisionError
    assert figures.MAKER.get() == "pyplot.figure"


def test_a_figure_has_its_size_in_inches() -> None:
    assert new_figure(3, 2).get_size_inches().tolist() == [3, 2]
    assert axes(None, 5, 4).figure.get_size_inches().tolist() == [5, 4]


def test_given_axes_are_used() -> None:
    ax = new_figure(1, 1).add_subplot()
    assert axes(ax) is ax
    with pytest.raises(TypeError, match="ax must be the Axes of matplotlib to draw into, got 'ax'"):
        axes("ax")


def test_pairs_of_colour_and_marker_repeat_after_70() -> None:
    pairs = [(colour(number), marker(number)) for number in range(71)]
    assert len(set(pairs[:70])) == len(COLOURS) * len(MARKERS) == 70
    assert pairs[70] == pairs[0]


def test_every_colour_can_be_seen_on_white() -> None:
    """The contrast of WCAG 2 is at least 2 to 1."""
    for name in COLOURS:
        rgb = np.array(to_rgb(name))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) > 2, name


def test_a_legend_beside_the_axes_covers_nothing() -> None:
    ax = axes(None)
    ax.plot([1, 2], label="line")
    legend_beside(ax)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1
