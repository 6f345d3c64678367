"""Plots: what is drawn is what was handed in, on the Axes that were handed in, and told apart without colour."""

import math
import sys

import numpy as np
import pytest

import xpdl
from xpdl import Network, plots
from xpdl.gradcheck.report import judge
from xpdl.plots import figures, images

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402


@pytest.fixture(autouse=True)
def _no_display():
    """Figures of pyplot need none, and are closed."""
    matplotlib.use("Agg")
    yield
    pyplot.close("all")


HISTORY = [
    {"epoch": 1, "loss": 2.0, "validation_loss": 2.5, "validation_accuracy": 0.5, "seconds": 0.1},
    {"epoch": 2, "loss": 1.0, "validation_loss": 1.5, "validation_accuracy": 0.75, "seconds": 0.1, "gradient": 1e-9},
    {"epoch": 3, "loss": 0.5, "validation_loss": 1.75, "validation_accuracy": 0.75, "seconds": 0.1},
]

DIGITS = Network([4, 3])
"""Images of 2 x 2 pixels, with the logits of ``PIXELS``: the first three pixels."""
PIXELS = DIGITS.pack([(np.eye(4, 3) * 4.0, np.zeros(3))])

LINE = Network([2, 1], output="sigmoid")
"""With the theta of ``HALF`` it is class 1 where the first feature is above 0.5."""
HALF = LINE.pack([(np.array([[2.0], [0.0]]), np.array([-1.0]))])


def samples(n=40, d=2, k=2):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 2, size=(n, d)), np.arange(n) % k


def report_of(analytic, numeric, bar=1e-9, **options):
    """A report of tensors, from dicts {name: array}."""
    parameters = {
        name: judge(name, np.asarray(g), np.asarray(numeric[name]), np.full(np.shape(g), bar), **options)
        for name, g in analytic.items()
    }
    verdict = max((p.verdict for p in parameters.values()), key=["PASS", "INCONCLUSIVE", "FAIL"].index)
    return xpdl.gradcheck.Report(verdict, 0.25, parameters, "complex step", "float64")


def planted():
    """A report of a network with three wrong entries of W1, one of them NaN, and all of b2 wrong by a factor."""
    net = Network([5, 4, 3], hidden="tanh")
    theta = net.initialize(0, "float64")
    x, y = np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3

    def grad(theta):
        grad = net.loss_and_grad(theta, x, y)[1]
        grad[net.layout.slices[-1]] *= 20
        dw = net.unpack(grad)[0][0]
        dw[4, 1], dw[0, 3], dw[2, 2] = dw[4, 1] + 1e-6, -dw[0, 3], math.nan
        return grad

    return xpdl.check_network(net, theta, x, y, grad)


DRAWINGS = {
    "curves": lambda ax: plots.curves(HISTORY, ax=ax),
    "decision_boundary": lambda ax: plots.decision_boundary(LINE, HALF, *samples(), ax=ax),
    "confusion_matrix": lambda ax: plots.confusion_matrix(LINE, HALF, *samples(), ax=ax),
    "worst_images": lambda ax: plots.worst_images(DIGITS, PIXELS, *samples(d=4, k=3), ax=ax),
    "weight_images": lambda ax: plots.weight_images(DIGITS, PIXELS, ax=ax),
    "gradient_map": lambda ax: plots.gradient_map(planted().parameters["W1"], ax=ax),
    "gradient_scatter": lambda ax: plots.gradient_scatter(planted(), ax=ax),
}
every_drawing = pytest.mark.parametrize("name", DRAWINGS)


def test_every_function_is_drawn_here() -> None:
    assert DRAWINGS.keys() | {"gradient_maps"} == set(plots.__all__)


@every_drawing
def test_it_is_drawn_on_the_axes_given_and_they_come_back(name) -> None:
    figure = Figure(layout="constrained")
    empty, ax = figure.subplots(1, 2)
    assert DRAWINGS[name](ax) is ax
    assert ax.has_data()
    assert not empty.has_data()
    assert pyplot.get_fignums() == []
    figure.canvas.draw()


@every_drawing
def test_without_axes_there_is_a_new_figure_of_pyplot(name) -> None:
    ax = DRAWINGS[name](None)
    assert pyplot.gcf() is ax.figure
    assert ax.figure is not DRAWINGS[name](None).figure
    ax.figure.canvas.draw()


@every_drawing
def test_saved_only_it_is_no_figure_of_pyplot(name) -> None:
    with figures.unshown():
        figure = DRAWINGS[name](None).figure
    assert pyplot.get_fignums() == []
    figure.canvas.draw()
    DRAWINGS[name](None)
    assert len(pyplot.get_fignums()) == 1


@every_drawing
def test_whatever_has_axes_has_names_for_them(name) -> None:
    ax = DRAWINGS[name](None)
    if ax.axison:
        assert ax.get_xlabel()
        assert ax.get_ylabel()


@every_drawing
@pytest.mark.parametrize("ax", [1, "ax", [None]], ids=str)
def test_other_things_than_axes_are_refused(name, ax) -> None:
    with pytest.raises(TypeError, match="ax must be the Axes of matplotlib to draw into, got "):
        DRAWINGS[name](ax)


@every_drawing
@pytest.mark.parametrize("saved", [False, True])
def test_without_matplotlib_it_says_what_to_install(name, saved, monkeypatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        figures, "MAKER", figures.ContextVar("M", default="figure.Figure" if saved else "pyplot.figure")
    )
    with pytest.raises(ImportError, match=r'plots need matplotlib: pip install "xpdl\[plot\]"'):
        DRAWINGS[name](None)


# --- curves


def lines_of(ax):
    """{label: (x, y)} of the lines."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.get_lines()}


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(
    "runs", [HISTORY, xpdl.Result(np.zeros(1), HISTORY), {"": HISTORY}], ids=lambda r: type(r).__name__
)
def test_the_curves_of_a_run_are_its_numbers(runs) -> None:
    ax = plots.curves(runs)
    assert lines_of(ax) == {"training": ([1, 2, 3], [2.0, 1.0, 0.5]), "validation": ([1, 2, 3], [2.5, 1.5, 1.75])}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "cost")
    assert legend_of(ax) == ["training", "validation"]


def test_other_metrics_are_drawn_in_the_epochs_that_have_them() -> None:
    ax = plots.curves(HISTORY, metric="accuracy")
    assert lines_of(ax) == {"validation": ([1, 2, 3], [0.5, 0.75, 0.75])}
    assert ax.get_ylabel() == "accuracy"
    assert ax.yaxis.get_major_formatter()(0.75) == "75.0 %"
    assert lines_of(plots.curves(HISTORY, metric="gradient")) == {"training": ([2], [1e-9])}


def test_several_runs_are_told_apart_without_colour() -> None:
    """A marker for each run; training is solid and filled, validation dashed and hollow."""
    ax = plots.curves({0.1: HISTORY, "adam": xpdl.Result(np.zeros(1), HISTORY[:2])})
    assert list(lines_of(ax)) == ["0.1 training", "0.1 validation", "adam training", "adam validation"]
    styles = {line.get_label(): (line.get_linestyle(), line.get_marker()) for line in ax.get_lines()}
    assert styles == {
        "0.1 training": ("-", "o"),
        "0.1 validation": ("--", "o"),
        "adam training": ("-", "s"),
        "adam validation": ("--", "s"),
    }
    assert [line.get_markerfacecolor() == "white" for line in ax.get_lines()] == [False, True] * 2
    assert legend_of(ax) == ["0.1", "adam", "training", "validation"]
    assert [handle.get_marker() for handle in ax.get_legend().legend_handles] == ["o", "s", "None", "None"]


def test_a_run_without_a_name_leaves_the_others_theirs() -> None:
    ax = plots.curves({"": HISTORY, "b": HISTORY})
    (handle, *_), lines = ax.get_legend().legend_handles, ax.get_lines()
    assert legend_of(ax)[0] == lines[2].get_label().split()[0] == "b"
    assert (handle.get_marker(), handle.get_color()) == (lines[2].get_marker(), lines[2].get_color())


def test_seventy_runs_have_seventy_looks() -> None:
    ax = plots.curves({i: [{"epoch": 1, "loss": float(i)}] for i in range(70)})
    assert len({(line.get_color(), line.get_marker()) for line in ax.get_lines()}) == 70


def test_the_legend_of_many_runs_is_beside_them() -> None:
    ax = plots.curves({f"run {i}": HISTORY for i in range(20)})
    ax.figure.canvas.draw()
    legend, box = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= box.x1
    assert box.width > 0.6 * ax.figure.bbox.width
    assert ax.figure.bbox.x1 >= legend.x1
    assert legend.y0 >= ax.figure.bbox.y0


@pytest.mark.parametrize("epochs", [1, 7, 8, 9, 100])
def test_every_curve_has_a_few_markers(epochs) -> None:
    """Also that of a single epoch, which is no line."""
    runs = {i: [{"epoch": e, "loss": 1.0 + i} for e in range(1, epochs + 1)] for i in range(12)}
    for line in plots.curves(runs).get_lines():
        first, every = line.get_markevery()
        assert 1 <= len(range(epochs)[first::every]) <= 8


@pytest.mark.parametrize(
    ("runs", "options", "error", "said"),
    [
        (HISTORY, {"metric": "los"}, ValueError, "metric must be one of .*, got 'los'; did you mean 'loss'"),
        (HISTORY, {"metric": "epoch"}, ValueError, "metric must be one of"),
        (HISTORY, {"metric": 1}, TypeError, "metric must be one of"),
        ([], {}, ValueError, "at least one epoch each"),
        ({"a": HISTORY, "b": []}, {}, ValueError, "at least one epoch each"),
        ({}, {}, ValueError, "runs must hold at least one run"),
        (HISTORY[0], {}, TypeError, "runs must be a Result, a history .* or several by their labels, got 1"),
        ("h.jsonl", {}, TypeError, "runs must be .*, got 'h.jsonl'"),
        ([{"loss": 1.0}], {}, TypeError, "runs must be .*, got .*loss"),
        ([{"epoch": 1, "loss": "1.0"}], {}, TypeError, "runs must hold numbers, got loss = '1.0' in epoch 1"),
        ([{"epoch": 1, "loss": None}], {}, TypeError, "runs must hold numbers, got loss = None in epoch 1"),
    ],
)
def test_what_is_no_run_has_no_curves(runs, options, error, said) -> None:
    with pytest.raises(error, match=said):
        plots.curves(runs, **options)


# --- decision boundary


def boundary_lines(ax):
    """The points of all contour lines, (m, 2)."""
    sets = [c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet)]
    return np.concatenate([path.vertices for contour in sets for path in contour.get_paths()])


def region_at(ax, points):
    """The classes whose tints are at points (n, 2)."""
    image = ax.get_images()[0]
    assert image.origin == "lower"
    left, right, bottom, top = image.get_extent()
    colours = image.get_array()
    rows, columns = colours.shape[:2]
    i = ((points[:, 1] - bottom) / (top - bottom) * rows).astype(int)
    j = ((points[:, 0] - left) / (right - left) * columns).astype(int)
    pure = np.array([to_rgb(figures.colour(c)) for c in range(len(figures.COLOURS))])
    return np.argmin(np.linalg.norm((colours[i, j][:, None] - 1) / 0.28 + 1 - pure, axis=-1), axis=1)


def test_the_boundary_of_two_classes_lies_where_the_logit_is_0() -> None:
    x, y = samples()
    ax = plots.decision_boundary(LINE, HALF, x, y)
    line = boundary_lines(ax)
    np.testing.assert_allclose(line[:, 0], 0.5, atol=1e-12)
    assert np.ptp(line[:, 1]) >= np.ptp(x[:, 1])
    far = x[np.abs(x[:, 0] - 0.5) > 0.02]
    assert np.array_equal(region_at(ax, far), far[:, 0] > 0.5)
    assert ax.get_title() == f"accuracy {100 * np.mean((x[:, 0] > 0.5) == y):.2f} % of 40 samples"


@pytest.mark.parametrize("k", [2, 3, 7])
def test_regions_are_those_that_the_network_predicts(k) -> None:
    net = Network([2, 8, k], hidden="tanh", init=2.0)
    theta = net.initialize(1, "float64")
    x, y = samples(300, 2, k)
    ax = plots.decision_boundary(net, theta, x, y)
    p = np.sort(net.predict_proba(theta, x), axis=1)
    sure = p[:, -1] - p[:, -2] > 0.1
    assert np.array_equal(region_at(ax, x[sure]), net.predict(theta, x[sure]))
    on_line = np.sort(net.predict_proba(theta, boundary_lines(ax)), axis=1)
    np.testing.assert_allclose(on_line[:, -1], on_line[:, -2], atol=0.02)


def test_every_sample_is_a_point_with_the_marker_of_its_class() -> None:
    net = Network([2, 3])
    x, y = samples(31, 2, 3)
    ax = plots.decision_boundary(net, net.initialize(0), x, y)
    points = [c for c in ax.collections if not isinstance(c, matplotlib.contour.ContourSet)]
    assert [len(c.get_offsets()) for c in points] == [11, 10, 10]
    for j, c in enumerate(points):
        np.testing.assert_allclose(c.get_offsets(), x[y == j])
    assert len({c.get_paths()[0].vertices.tobytes() for c in points}) == 3
    assert len({c.get_facecolor().tobytes() for c in points}) == 3
    assert legend_of(ax) == ["class 0", "class 1", "class 2"]


def test_images_of_two_pixels_are_scaled_as_the_network_scales_them() -> None:
    x = np.array([[0, 0], [255, 255], [102, 204]], dtype=np.uint8)
    ax = plots.decision_boundary(LINE, HALF, x, [0, 1, 0])
    np.testing.assert_allclose(boundary_lines(ax)[:, 0], 0.5, atol=1e-12)
    np.testing.assert_allclose(ax.collections[-2].get_offsets(), [[0, 0], [0.4, 0.8]])


@pytest.mark.parametrize("x", [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 1e-6]]])
def test_points_in_a_line_have_a_plane_around_them(x) -> None:
    ax = plots.decision_boundary(LINE, HALF, x, [0, 1])
    left, right, bottom, top = ax.get_images()[0].get_extent()
    assert all(left < a < right and bottom < b < top for a, b in x)


# --- confusion matrix


def test_cells_hold_counts_and_shares_of_the_row() -> None:
    x = np.eye(4)[[0, 0, 0, 1, 2, 2, 2, 2]]
    y = np.array([0, 0, 1, 1, 0, 2, 2, 2])
    ax = plots.confusion_matrix(DIGITS, PIXELS, x, y)
    texts = {tuple(map(int, t.get_position()[::-1])): t.get_text() for t in ax.texts}
    assert texts == {
        (0, 0): "2\n66.7 %",
        (0, 2): "1\n33.3 %",
        (1, 0): "1\n50.0 %",
        (1, 1): "1\n50.0 %",
        (2, 2): "3\n100.0 %",
    }
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[2 / 3, 0, 1 / 3], [0.5, 0.5, 0], [0, 0, 1]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted label", "true label")
    assert ax.get_title() == "accuracy 75.00 % of 8 samples"
    assert ax.yaxis_inverted()  # label 0 is above


def test_one_sigmoid_has_two_classes_and_a_class_of_nobody_has_a_row() -> None:
    ax = plots.confusion_matrix(LINE, HALF, [[0.0, 0], [1.0, 0]], [0, 0])
    np.testing.assert_allclose(ax.get_images()[0].get_array(), [[0.5, 0.5], [0, 0]])
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == [0, 1]


def test_one_hot_labels_are_labels() -> None:
    x, y = samples(30, 4, 3)
    shown = [
        plots.confusion_matrix(DIGITS, PIXELS, x, labels).get_images()[0].get_array() for labels in (y, np.eye(3)[y])
    ]
    assert np.array_equal(*shown)


def test_arrays_may_be_of_any_library(lib) -> None:
    x, y = samples(30, 4, 3)
    shown = [
        plots.confusion_matrix(DIGITS, put(PIXELS), put(x), put(y)).get_images()[0].get_array()
        for put in (lib.put, np.asarray)
    ]
    assert np.array_equal(*shown)


def test_cells_of_many_classes_are_too_small_for_numbers() -> None:
    net = Network([4, 30])
    ax = plots.confusion_matrix(net, net.initialize(0), *samples(60, 4, 30))
    assert len(ax.texts) == 0
    assert ax.get_images()[0].get_array().shape == (30, 30)


@pytest.mark.parametrize("draw", [plots.decision_boundary, plots.confusion_matrix, plots.worst_images])
@pytest.mark.parametrize(
    ("sizes", "output", "said"),
    [
        ([2, 3], "linear", "'linear' of 3 units"),
        ([2, 1], "linear", "'linear' of 1 unit"),
        ([2, 3], "sigmoid", "'sigmoid' of 3 units"),
        ([2, 1], "softmax", "'softmax' of 1 unit"),
    ],
)
def test_a_network_that_is_no_classifier_is_refused(draw, sizes, output, said) -> None:
    net = Network(sizes, output=output)
    with pytest.raises(ValueError, match=f"net must tell classes apart, .*, got output {said}$"):
        draw(net, net.initialize(0), np.zeros((2, 2)), np.zeros(2))


@pytest.mark.parametrize("draw", [plots.decision_boundary, plots.confusion_matrix, plots.worst_images])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": "net"}, "net must be an xpdl.Network"),
        ({"theta": np.zeros(3)}, r"theta must have shape \(12,\)"),
        ({"x": np.zeros((2, 5))}, r"x must have shape \(n, 3\)"),
        ({"x": np.full((2, 3), np.nan)}, "x must be finite"),
        ({"y": [0, 3]}, r"y must be labels 0..2 .*, got y\[1\] = 3"),
        ({"y": [0]}, "y must hold one row for each of the 2 samples"),
        ({}, "net must have 2 inputs .*, got 3|shape must be given as .*: 3 inputs are no square image"),
    ],
)
def test_bad_samples_are_refused_as_in_training(draw, change, said) -> None:
    net = Network([3, 3])
    given = {"net": net, "theta": net.initialize(0), "x": np.zeros((2, 3)), "y": [0, 1]} | change
    if draw is plots.confusion_matrix and not change:
        pytest.skip("it draws any classifier")
    with pytest.raises((TypeError, ValueError), match=said):
        draw(**given)


# --- images


def test_the_worst_images_come_first_with_their_labels() -> None:
    x = np.array([[1.0, 0, 0, 0.5], [0, 1.0, 0, 0.25], [0.5, 0, 0, 0.125], [0, 0, 1.0, 0.75]])
    y = np.array([1, 1, 2, 2])
    ax = plots.worst_images(DIGITS, PIXELS, x, y, count=3)
    cost = [4 + math.log(1 + 2 * math.exp(-4)), 2 + math.log(1 + 2 * math.exp(-2)), math.log(1 + 2 * math.exp(-4))]
    labels = ["1 → 0", "2 → 0", "1 → 1"]
    assert [t.get_text() for t in ax.texts] == [f"{a}\ncost {c:.3g}" for a, c in zip(labels, cost, strict=True)]
    mosaic = ax.get_images()[0].get_array().filled(np.nan)
    shown = mosaic[np.isfinite(mosaic)]
    assert shown.size == 12
    np.testing.assert_array_equal(mosaic[:2, :2], x[0].reshape(2, 2))
    np.testing.assert_array_equal(mosaic[:2, 3:5], x[2].reshape(2, 2))
    np.testing.assert_array_equal(mosaic[4:6, :2], x[1].reshape(2, 2))
    assert "of 4 samples" in ax.get_title()


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("caption", [0.0, 0.4])
def test_a_mosaic_has_every_image_once_and_captions_below_them(count, caption) -> None:
    pictures = np.arange(count * 30.0).reshape(count, 5, 6)
    mosaic = images._mosaic(pictures, caption)
    found = []
    for column, row in images._feet(pictures, caption):
        left, below = round(column - 2.5), int(row)
        found.append(mosaic[below - 5 : below, left : left + 6])
        assert np.isnan(mosaic[below : below + 1 + round(5 * caption), left : left + 6]).all()
    np.testing.assert_array_equal(found, pictures)
    assert np.isfinite(mosaic).sum() == pictures.size


def test_at_most_so_many_images_as_there_are() -> None:
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(7, 4, 3)).texts) == 7
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(40, 4, 3)).texts) == 25
    assert len(plots.worst_images(DIGITS, PIXELS, *samples(40, 4, 3), count=4).texts) == 4


def test_weights_are_images_on_a_scale_around_0() -> None:
    net = Network([6, 5, 2])
    theta = net.initialize(0, "float64")
    ax = plots.weight_images(net, theta, count=4, shape=(2, 3))
    image = ax.get_images()[0]
    w, _ = net.unpack(theta)[0]
    mosaic = image.get_array().filled(np.nan)
    np.testing.assert_array_equal(mosaic[:2, :3], w[:, 0].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[:2, 4:7], w[:, 1].reshape(2, 3))
    np.testing.assert_array_equal(mosaic[3:5, :3], w[:, 2].reshape(2, 3))
    low, high = image.get_clim()
    assert low == -high
    assert 0.9 * np.abs(w[:, :4]).max() < high <= np.abs(w[:, :4]).max()
    assert ax.get_title() == "W1, units 0 to 3 of 5"


def test_weights_of_zero_have_a_scale_too() -> None:
    ax = plots.weight_images(DIGITS, 0 * PIXELS)
    assert ax.get_images()[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "shape must be given as .height, width.: 6 inputs are no square image"),
        ({"shape": (2, 2)}, "shape must have as many pixels as net has inputs, 6, got 2 x 2"),
        ({"shape": (2, 3, 1)}, r"shape must be \(height, width\), got \(2, 3, 1\)"),
        ({"shape": 6}, r"shape must be \(height, width\), got 6"),
        ({"shape": (2.0, 3)}, "shape must be an integer, got 2.0"),
        ({"shape": (-2, -3)}, "shape must be at least 1, got -2"),
        ({"shape": (2, 3), "count": 0}, "count must be at least 1, got 0"),
        ({"shape": (2, 3), "count": 1.5}, "count must be an integer, got 1.5"),
    ],
)
def test_a_shape_or_count_that_does_not_fit_is_refused(options, said) -> None:
    net = Network([6, 3])
    for draw, arguments in ((plots.worst_images, samples(9, 6, 3)), (plots.weight_images, ())):
        with pytest.raises((TypeError, ValueError), match=said):
            draw(net, net.initialize(0), *arguments, **options)


# --- gradients


def marked(ax):
    """The (row, column) of the crosses."""
    return {(int(row), int(column)) for c in ax.collections for column, row in c.get_offsets()}


def test_a_map_marks_exactly_the_entries_that_fail() -> None:
    report = planted()
    ax = plots.gradient_map(report.parameters["W1"])
    assert marked(ax) == {(4, 1), (0, 3), (2, 2)}
    assert ax.get_title() == "W1: 3 of 20 wrong"
    bars = ax.get_images()[0].get_array()
    assert bars.shape == (5, 4)
    assert {tuple(map(int, place)) for place in np.argwhere(bars > 1)} == marked(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")


def test_maps_come_in_the_order_of_the_report_and_right_tensors_have_no_mark() -> None:
    report = planted()
    panels = plots.gradient_maps(report)
    assert [ax.get_title() for ax in panels] == ["W1: 3 of 20 wrong", "W2: PASS", "b1: PASS", "b2: 3 of 3 wrong"]
    assert [len(marked(ax)) for ax in panels] == [3, 0, 0, 3]
    assert [ax.get_images()[0].get_array().shape for ax in panels] == [(5, 4), (4, 3), (1, 4), (1, 3)]
    box = [ax.get_subplotspec() for ax in panels]
    assert [(spec.rowspan.start, spec.colspan.start) for spec in box] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    panels[0].figure.canvas.draw()


def test_maps_are_drawn_into_the_figure_given() -> None:
    figure = Figure(layout="constrained")
    left, _ = figure.subfigures(1, 2)
    panels = plots.gradient_maps(planted(), figure=left)
    assert all(ax.figure is left for ax in panels)
    assert pyplot.get_fignums() == []
    figure.canvas.draw()


def test_colours_are_errors_in_bars_within_reach() -> None:
    n = np.ones((1, 5))
    g = n + np.array([[0, 1e-10, 1e-9, 1e-4, math.inf]])
    bars = plots.gradient_map(report_of({"w": g}, {"w": n}).parameters["w"]).get_images()[0].get_array()
    np.testing.assert_allclose(bars[0], [1e-3, 0.1, 1, 1e3, 1e3], rtol=1e-5)


def test_tensors_of_any_number_of_axes_have_a_map() -> None:
    analytic = {"s": np.array(2.0), "v": np.ones(3), "t": np.ones((2, 3, 4))}
    wrong = {"s": np.array(1.0), "v": np.ones(3), "t": np.ones((2, 3, 4))}
    wrong["t"][1, 2, 3] = 3
    panels = dict(zip("svt", plots.gradient_maps(report_of(analytic, wrong)), strict=True))
    assert {name: marked(ax) for name, ax in panels.items()} == {"s": {(0, 0)}, "v": set(), "t": {(1, 11)}}
    assert panels["t"].get_images()[0].get_array().shape == (2, 12)
    panels["s"].figure.canvas.draw()


def test_thousands_of_failing_entries_are_painted() -> None:
    """Crosses would cover each other, and what they are on."""
    n = np.ones((60, 50))
    g = 2 * n
    g[7, 8] = 1
    ax = plots.gradient_map(report_of({"w": g}, {"w": n}).parameters["w"])
    assert len(ax.collections) == 0
    paint = ax.get_images()[1]
    np.testing.assert_array_equal(paint.get_array().mask, g == n)
    assert paint.get_cmap()(0.0)[:3] == to_rgb("#D55E00")


def test_an_entry_at_a_kink_is_no_failure() -> None:
    report = report_of(
        {"b": np.array([0.2, 0.2])}, {"b": np.array([0.5, 0.5])}, between=(np.array([0, 0.5]), np.ones(2))
    )
    ax = plots.gradient_map(report.parameters["b"])
    assert marked(ax) == {(0, 1)}
    assert (ax.get_images()[0].get_array() > 1).all()


def large(wrong):
    """A report on a tensor of 300 entries, looked at along directions."""
    a = np.random.default_rng(0).normal(size=(20, 15))
    theta = np.random.default_rng(1).normal(size=(20, 15))

    def grad(w):
        g = a * np.cos(w)
        g[3, 4] *= 1 + wrong
        return g

    return xpdl.check_gradient(lambda w: np.sum(a * np.sin(w)), grad, theta)


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_of_directions_a_map_shows_the_worst_entry_only(wrong) -> None:
    report = large(wrong)
    (ax,) = plots.gradient_maps(report)
    assert marked(ax) == ({(3, 4)} if wrong else set())
    assert ax.get_images()[0].get_array().mask.all()
    assert [t.get_text() for t in ax.texts] == ["not looked at entry by entry"]
    (name,) = report.parameters
    labels = legend_of(plots.gradient_scatter(report))
    assert labels[:-1] == (["not wrong: 0", f"{name} wrong directions: 11"] if wrong else ["not wrong: 11"])


def test_the_scatter_shows_every_finite_derivative_and_counts_the_others() -> None:
    report = planted()
    ax = plots.gradient_scatter(report)
    drawn = {line.get_label(): np.array(line.get_data()) for line in ax.get_lines()}
    assert list(drawn) == ["not wrong: 33", "W1 wrong: 3 (1 not finite)", "b2 wrong: 3", "analytic = numeric"]
    b2 = report.parameters["b2"]
    np.testing.assert_array_equal(drawn["b2 wrong: 3"], [b2.numeric, b2.analytic])
    w1 = report.parameters["W1"]
    places = ([0, 4], [3, 1])
    np.testing.assert_array_equal(drawn["W1 wrong: 3 (1 not finite)"], [w1.numeric[places], w1.analytic[places]])
    right = drawn["not wrong: 33"]
    np.testing.assert_allclose(right[1], right[0], atol=1e-12)
    assert np.array_equal(*drawn["analytic = numeric"])
    markers = {line.get_label().split()[0]: line.get_marker() for line in ax.get_lines()}
    assert len(set(markers.values())) == 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("numeric derivative", "analytic derivative")
    assert ax.get_title() == f"FAIL: difference {report.difference:.1e}"


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 2.0, -3.0], "linear"),
        ([0.0, 0.0], "linear"),
        ([0.0, 5.0], "linear"),
        ([math.nan, 1.0], "linear"),
        ([-1e-5, 1e-3, 1.0], "symlog"),
        ([1e-300, 1e300], "symlog"),
        ([5e-324, 1.0], "symlog"),
    ],
)
def test_scales_fit_the_derivatives(values, scale) -> None:
    """The same on both axes, so that the diagonal is straight."""
    report = report_of({"w": np.array(values)}, {"w": np.nan_to_num(values)})
    ax = plots.gradient_scatter(report)
    assert (ax.get_xscale(), ax.get_yscale()) == (scale, scale)
    ax.figure.canvas.draw()
    start, end = ax.transAxes.inverted().transform(ax.transData.transform([[0, 0], [max(np.nan_to_num(values))] * 2]))
    np.testing.assert_allclose([start[0], end[0]], [start[1], end[1]], atol=1e-9)


def test_many_points_are_a_bitmap_in_an_svg() -> None:
    n = np.random.default_rng(0).normal(size=3000)
    dots = plots.gradient_scatter(report_of({"w": n}, {"w": n})).get_lines()[0]
    assert dots.get_rasterized()
    assert len(dots.get_xdata()) == 3000


def test_a_check_that_was_refused_has_no_derivatives() -> None:
    report = xpdl.check_gradient(lambda w: np.sum(w), lambda w: np.random.default_rng().normal(size=3), np.ones(3))
    assert report.method == "none"
    with pytest.raises(ValueError, match="report must hold derivatives to be drawn"):
        plots.gradient_scatter(report)
    (ax,) = plots.gradient_maps(report)
    assert ax.get_title().endswith("INCONCLUSIVE")


@pytest.mark.parametrize("draw", [plots.gradient_map, plots.gradient_maps, plots.gradient_scatter])
def test_what_is_no_report_is_refused(draw) -> None:
    with pytest.raises(TypeError, match="must be an xpdl"):
        draw("W1")


# --- losses of your own


def test_a_classifier_of_your_own_is_drawn() -> None:
    binary = xpdl.losses.binary
    own = Network([2, 1], output=binary._replace(cost=lambda s, y: 3 * binary.cost(s, y)))
    x, y = [[0.0, 0], [1.0, 0], [0.4, 1], [2.0, 3]], [0, 0, 1, 1]
    shown = [plots.confusion_matrix(net, HALF, x, y).get_images()[0].get_array() for net in (LINE, own)]
    assert np.array_equal(*shown)
    assert plots.decision_boundary(own, HALF, x, y).get_title() == "accuracy 50.00 % of 4 samples"


def test_values_of_your_own_loss_are_no_classes() -> None:
    net = Network([2, 1], output=xpdl.Loss(lambda s, y: s))
    with pytest.raises(ValueError, match=r"net must tell classes apart, .*, got output Loss\(cost=.* of 1 unit$"):
        plots.confusion_matrix(net, HALF, [[0.0, 0]], [0])
