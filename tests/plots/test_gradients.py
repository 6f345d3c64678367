"""The maps and the scatter plot of a gradient check: every wrong entry is marked, and no other."""

import math

import numpy as np
import pytest

import xpdl
from xpdl import plots
from xpdl.gradcheck.report import judge

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure


def report_of(analytic, numeric, bar=1e-9, **options):
    """A report of tensors, from dicts {name: array}."""
    parameters = {
        name: judge(name, np.asarray(g), np.asarray(numeric[name]), np.full(np.shape(g), bar), **options)
        for name, g in analytic.items()
    }
    verdict = max((p.verdict for p in parameters.values()), key=["PASS", "INCONCLUSIVE", "FAIL"].index)
    return xpdl.gradcheck.Report(verdict, 0.25, parameters, "complex step", "float64")


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def marked(ax):
    """The (row, column) of the crosses."""
    return {(int(row), int(column)) for c in ax.collections for column, row in c.get_offsets()}


def test_a_map_marks_exactly_the_entries_that_fail(planted) -> None:
    report = planted
    ax = plots.gradient_map(report.parameters["W1"])
    assert marked(ax) == {(4, 1), (0, 3), (2, 2)}
    assert ax.get_title() == "W1: 3 of 20 wrong"
    bars = ax.get_images()[0].get_array()
    assert bars.shape == (5, 4)
    assert {tuple(map(int, place)) for place in np.argwhere(bars > 1)} == marked(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")


def test_maps_are_in_the_order_of_the_report_and_correct_tensors_have_no_mark(planted) -> None:
    report = planted
    panels = plots.gradient_maps(report)
    assert [ax.get_title() for ax in panels] == ["W1: 3 of 20 wrong", "W2: PASS", "b1: PASS", "b2: 3 of 3 wrong"]
    assert [len(marked(ax)) for ax in panels] == [3, 0, 0, 3]
    assert [ax.get_images()[0].get_array().shape for ax in panels] == [(5, 4), (4, 3), (1, 4), (1, 3)]
    box = [ax.get_subplotspec() for ax in panels]
    assert [(spec.rowspan.start, spec.colspan.start) for spec in box] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    panels[0].figure.canvas.draw()


def test_maps_are_drawn_into_the_given_figure(planted) -> None:
    figure = Figure(layout="constrained")
    left, _ = figure.subfigures(1, 2)
    panels = plots.gradient_maps(planted, figure=left)
    assert all(ax.figure is left for ax in panels)
    assert pyplot.get_fignums() == []
    figure.canvas.draw()


def test_colours_are_errors_in_error_bars_cut_to_the_scale() -> None:
    n = np.ones((1, 5))
    g = n + np.array([[0, 1e-10, 1e-9, 1e-4, math.inf]])
    bars = plots.gradient_map(report_of({"w": g}, {"w": n}).parameters["w"]).get_images()[0].get_array()
    np.testing.assert_allclose(bars[0], [1e-3, 0.1, 1, 1e3, 1e3], rtol=1e-5)


def test_tensors_with_any_number_of_axes_have_a_map() -> None:
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


def test_an_entry_at_a_kink_is_not_marked() -> None:
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
def test_for_directions_a_map_shows_only_the_worst_entry(wrong) -> None:
    report = large(wrong)
    (ax,) = plots.gradient_maps(report)
    assert marked(ax) == ({(3, 4)} if wrong else set())
    assert ax.get_images()[0].get_array().mask.all()
    assert [t.get_text() for t in ax.texts] == ["checked along directions, not entry by entry"]
    (name,) = report.parameters
    labels = legend_of(plots.gradient_scatter(report))
    assert labels[:-1] == (["not wrong: 0", f"{name} wrong directions: 11"] if wrong else ["not wrong: 11"])


def test_the_scatter_shows_every_finite_derivative_and_counts_the_others(planted) -> None:
    report = planted
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
def test_anything_but_a_report_is_refused(draw) -> None:
    with pytest.raises(TypeError, match="must be an xpdl"):
        draw("W1")
