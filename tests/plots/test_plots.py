"""All plots: each draws into the given Axes or into a new figure, and says what to install without matplotlib."""

import sys

import numpy as np
import pytest

from xpdl import Network, plots
from xpdl.plots import figures

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib import pyplot
from matplotlib.figure import Figure

HISTORY = [
    {"epoch": 1, "loss": 2.0, "validation_loss": 2.5, "validation_accuracy": 0.5, "seconds": 0.1},
    {"epoch": 2, "loss": 1.0, "validation_loss": 1.5, "validation_accuracy": 0.75, "seconds": 0.1, "gradient": 1e-9},
    {"epoch": 3, "loss": 0.5, "validation_loss": 1.75, "validation_accuracy": 0.75, "seconds": 0.1},
]


DIGITS = Network([4, 3])
"""Images of 2 x 2 pixels; with the parameters PIXELS, the logits are the first three pixels times 4."""
PIXELS = DIGITS.pack([(np.eye(4, 3) * 4.0, np.zeros(3))])


LINE = Network([2, 1], output="sigmoid")
"""With the parameters HALF it predicts class 1 where the first feature is above 0.5."""
HALF = LINE.pack([(np.array([[2.0], [0.0]]), np.array([-1.0]))])


DRAWINGS = {  # by the fixtures below and the Axes
    "curves": lambda samples, planted, ax: plots.curves(HISTORY, ax=ax),
    "decision_boundary": lambda samples, planted, ax: plots.decision_boundary(LINE, HALF, *samples(), ax=ax),
    "confusion_matrix": lambda samples, planted, ax: plots.confusion_matrix(LINE, HALF, *samples(), ax=ax),
    "worst_images": lambda samples, planted, ax: plots.worst_images(DIGITS, PIXELS, *samples(d=4, k=3), ax=ax),
    "weight_images": lambda samples, planted, ax: plots.weight_images(DIGITS, PIXELS, ax=ax),
    "gradient_map": lambda samples, planted, ax: plots.gradient_map(planted.parameters["W1"], ax=ax),
    "gradient_scatter": lambda samples, planted, ax: plots.gradient_scatter(planted, ax=ax),
    "gradient_slope": lambda samples, planted, ax: plots.gradient_slope(np.sum, np.ones_like, HALF[:3], ax=ax),
}


every_drawing = pytest.mark.parametrize("name", DRAWINGS)


@pytest.fixture
def draw(samples, planted):
    """draw(name, ax) draws the picture of that name."""
    return lambda name, ax: DRAWINGS[name](samples, planted, ax)


def test_every_public_function_is_tested_here() -> None:
    assert DRAWINGS.keys() | {"gradient_maps"} == set(plots.__all__)


@every_drawing
def test_a_picture_is_drawn_into_the_given_axes_and_returns_them(draw, name) -> None:
    figure = Figure(layout="constrained")
    empty, ax = figure.subplots(1, 2)
    assert draw(name, ax) is ax
    assert ax.has_data()
    assert not empty.has_data()
    assert pyplot.get_fignums() == []
    figure.canvas.draw()


@every_drawing
def test_without_axes_there_is_a_new_figure_of_pyplot(draw, name) -> None:
    ax = draw(name, None)
    assert pyplot.gcf() is ax.figure
    assert ax.figure is not draw(name, None).figure
    ax.figure.canvas.draw()


@every_drawing
def test_within_unshown_a_picture_is_no_figure_of_pyplot(draw, name) -> None:
    with figures.unshown():
        figure = draw(name, None).figure
    assert pyplot.get_fignums() == []
    figure.canvas.draw()
    draw(name, None)
    assert len(pyplot.get_fignums()) == 1


@every_drawing
def test_visible_axes_have_labels(draw, name) -> None:
    ax = draw(name, None)
    if ax.axison:
        assert ax.get_xlabel()
        assert ax.get_ylabel()


@every_drawing
@pytest.mark.parametrize("ax", [1, "ax", [None]], ids=str)
def test_anything_but_axes_is_refused(draw, name, ax) -> None:
    with pytest.raises(TypeError, match="ax must be the Axes of matplotlib to draw into, got "):
        draw(name, ax)


@every_drawing
@pytest.mark.parametrize("saved", [False, True])
def test_without_matplotlib_it_says_what_to_install(draw, name, saved, monkeypatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        figures, "MAKER", figures.ContextVar("M", default="figure.Figure" if saved else "pyplot.figure")
    )
    with pytest.raises(ImportError, match=r'plots need matplotlib: pip install "xpdl\[plot\]"'):
        draw(name, None)
