"""Curves: the numbers of each epoch, and how runs are told apart without colour."""

import numpy as np
import pytest

import xpdl
from xpdl import plots

pytest.importorskip("matplotlib", reason="plots need matplotlib")


HISTORY = [
    {"epoch": 1, "loss": 2.0, "validation_loss": 2.5, "validation_accuracy": 0.5, "seconds": 0.1},
    {"epoch": 2, "loss": 1.0, "validation_loss": 1.5, "validation_accuracy": 0.75, "seconds": 0.1, "gradient": 1e-9},
    {"epoch": 3, "loss": 0.5, "validation_loss": 1.75, "validation_accuracy": 0.75, "seconds": 0.1},
]


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


def test_a_run_without_a_label_does_not_shift_the_others() -> None:
    ax = plots.curves({"": HISTORY, "b": HISTORY})
    (handle, *_), lines = ax.get_legend().legend_handles, ax.get_lines()
    assert legend_of(ax)[0] == lines[2].get_label().split()[0] == "b"
    assert (handle.get_marker(), handle.get_color()) == (lines[2].get_marker(), lines[2].get_color())


def test_seventy_runs_have_different_markers_or_colours() -> None:
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
        (
            HISTORY[0],
            {},
            TypeError,
            "runs must be a Result, a history .* with their labels, got 1",
        ),
        ("h.jsonl", {}, TypeError, "runs must be .*, got 'h.jsonl'"),
        ([{"loss": 1.0}], {}, TypeError, "runs must be .*, got .*loss"),
        ([{"epoch": 1, "loss": "1.0"}], {}, TypeError, "runs must hold numbers, got loss = '1.0' in epoch 1"),
        ([{"epoch": 1, "loss": None}], {}, TypeError, "runs must hold numbers, got loss = None in epoch 1"),
    ],
)
def test_anything_but_runs_is_refused(runs, options, error, said) -> None:
    with pytest.raises(error, match=said):
        plots.curves(runs, **options)


def test_each_of_several_networks_has_its_curves() -> None:
    history = [{"epoch": e, "loss": np.array([e, 2.0 * e]), "validation_loss": [e + 1.0, e + 2.0]} for e in (1, 2, 3)]
    lines = plots.curves({"many": history, "one": [{"epoch": 1, "loss": 5.0}]}).get_lines()
    assert [line.get_label() for line in lines] == [
        *("many network 0 training", "many network 0 validation"),
        *("many network 1 training", "many network 1 validation", "one training"),
    ]
    assert lines[2].get_ydata().tolist() == [2, 4, 6]
    assert lines[3].get_ydata().tolist() == [3, 4, 5]
