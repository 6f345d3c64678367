"""xpdl plot: pictures of runs and of saved models, a command for each kind."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App

from xpdl import checks, plots
from xpdl.cli import options
from xpdl.cli.model_data import data_of
from xpdl.cli.options import Whole
from xpdl.cli.outputs import check_outputs, valid_epochs
from xpdl.cli.pictures import Picture, save_picture
from xpdl.files.model import Model, load
from xpdl.files.tensors import read_json
from xpdl.gradcheck import Report, check_network
from xpdl.plots.figures import Figure, literal, new_figure, unshown
from xpdl.progress import say
from xpdl.training.dropout import dropout_masks

plot = App(name="plot", help="Draw a picture of a run or of a saved model, as PNG or SVG.")


@plot.command
def curves(*histories: Path, out: Picture, log: bool = False, force: options.Force = False) -> None:
    """Draw the cost and the accuracy of each epoch, for one run or several.

    Parameters
    ----------
    histories
        Files that xpdl train --history has written, one for each run.
    log
        Show the cost on a logarithmic scale.
    """
    if not histories:
        raise ValueError("histories must be one or more files that xpdl train --history has written")
    check_outputs({f"history {number}": path for number, path in enumerate(histories, 1)}, force=force, out=out)
    _write(out, _draw_curves, dict(zip(_labels(histories), map(_read_history, histories), strict=True)), log)


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return a different label for each file: its name, its path, or a number and its path; "" for a single file."""
    names = [literal(path.name.removesuffix(".jsonl")) for path in paths]
    whole = [literal(path) for path in paths]
    numbered = [f"{number}: {name}" for number, name in enumerate(whole, 1)]
    return [""] if len(paths) == 1 else next(way for way in (names, whole, numbered) if len({*way}) == len(way))


@plot.command
def boundary(
    model: options.Model,
    *,
    data: options.OwnData = None,
    out: Picture,
    seed: options.DataSeed = 0,
    force: options.Force = False,
) -> None:
    """Draw the regions in which a classifier of two features predicts each class, with the training samples."""
    check_outputs({"model": model, "data": data}, force=force, out=out)
    loaded = load(model)
    samples = data_of(loaded, data, seed)
    _write(out, plots.decision_boundary, loaded.network, loaded.theta, samples.x, samples.y)


@plot.command
def confusion(
    model: options.Model,
    *,
    data: options.OwnData = None,
    out: Picture,
    seed: options.DataSeed = 0,
    force: options.Force = False,
) -> None:
    """Draw the confusion matrix of a classifier: how often each label is predicted for each true label.

    It counts the samples of the test part, or all samples if there is no test part.
    """
    check_outputs({"model": model, "data": data}, force=force, out=out)
    _write(out, plots.confusion_matrix, *_tested(load(model), data, seed))


@plot.command
def worst(
    model: options.Model,
    *,
    data: options.OwnData = None,
    out: Picture,
    count: Whole = 25,
    shape: options.Shape = None,
    seed: options.DataSeed = 0,
    force: options.Force = False,
) -> None:
    """Draw the images with the highest cost, each with its true and its predicted label.

    They come from the test part of the data, or from all data if there is no test part.

    Parameters
    ----------
    count
        Number of images.
    """
    check_outputs({"model": model, "data": data}, force=force, out=out)
    _write(out, plots.worst_images, *_tested(load(model), data, seed), count=count, shape=shape)


@plot.command
def weights(
    model: options.Model,
    *,
    out: Picture,
    count: Whole = 64,
    shape: options.Shape = None,
    force: options.Force = False,
) -> None:
    """Draw the weights of the first layer as images, one for each unit.

    Parameters
    ----------
    count
        Number of units.
    """
    check_outputs({"model": model}, force=force, out=out)
    loaded = load(model)
    _write(out, plots.weight_images, loaded.network, loaded.theta, count=count, shape=shape)


@plot.command
def gradients(
    model: options.Model,
    *,
    data: options.OwnData = None,
    out: Picture,
    samples: options.Samples = 300,
    seed: Whole = 0,
    force: options.Force = False,
) -> None:
    """Check the gradient of a model, and draw its errors and a comparison with the numeric gradient.

    Parameters
    ----------
    seed
        Seed of the dropout masks and of generated data.
    """
    check_outputs({"model": model, "data": data}, force=force, out=out)
    loaded = load(model)
    points = data_of(loaded, data, seed)
    net, n = loaded.network, checks.integer("samples", samples, least=1)
    x, y = points.x[:n], points.y[:n]
    masks = dropout_masks(net, len(x), seed=seed, step=0, dtype="float64")
    _write(out, _draw_gradients, check_network(net, loaded.theta, x, y, masks=masks, progress=True))


def _write(out: Path, draw: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Draw a picture and write it to the file ``out``."""
    with unshown():
        figure = draw(*arguments, **options).figure
    save_picture(out, figure)
    say(f"saved {checks.one_line(out)}")


def _draw_curves(runs: Mapping[str, Sequence[Mapping[str, float]]], log: bool) -> Figure:
    """Draw a panel for the cost, and one for the accuracy if a run has accuracies."""
    keys = {key for epochs in runs.values() for epoch in epochs for key in epoch}
    metrics = ["loss", "accuracy"] if keys & {"accuracy", "validation_accuracy"} else ["loss"]
    figure = new_figure(5.5 * len(metrics), 4.2)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for ax, metric in zip(panels, metrics, strict=True):
        plots.curves(runs, metric=metric, ax=ax)
    panels[0].set_yscale("log" if log else "linear")
    return figure


def _draw_gradients(report: Report) -> Figure:
    """Draw the gradient maps, and the scatter plot beside them."""
    maps = 1.5 + 3 * len(report.parameters) / 2
    figure = new_figure(maps + 5, 5)
    left, right = figure.subfigures(1, 2, width_ratios=[maps, 5])
    plots.gradient_maps(report, figure=left)
    plots.gradient_scatter(report, ax=right.add_subplot())
    return figure


def _tested(loaded: Model, data: str | None, seed: int) -> tuple[Any, ...]:
    """Return net, theta, x, y: the model, and the test part of the data or all of it."""
    samples = data_of(loaded, data, seed)
    return loaded.network, loaded.theta, *(samples.test or (samples.x, samples.y))


MOST = 2**53
"""Epochs of a history are below this number, so that they are exact as places in a picture."""


def _read_history(path: Path) -> list[dict[str, float]]:
    """Read the epochs from a file with one JSON object per line; ``ValueError`` if a line holds anything else."""
    epochs, text = [], checks.regular_file(path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            epoch = read_json(line, finite=False)
        except (ValueError, RecursionError):
            epoch = None
        if not isinstance(epoch, dict) or type(epoch.get("epoch")) is not int or not 0 < epoch["epoch"] < MOST:
            raise ValueError(f"{path}, line {number}: expected an epoch as a JSON object, got {checks.shorten(line)}")
        epochs.append(epoch)
    return valid_epochs(epochs)
