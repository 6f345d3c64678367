"""xpdl plot: pictures of runs and of saved models, a command for each kind."""

from collections.abc import Callable, Mapping, Sequence
import io
import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from xpdl import checks, plots
from xpdl.cli.flags import Whole, check_writable
from xpdl.data import load as load_data
from xpdl.files.model import Model, load, write_whole
from xpdl.gradcheck import Report, check_network
from xpdl.plots.figures import Figure, new_figure, unshown
from xpdl.training.dropout import dropout_masks

FORMATS: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"metadata": {"Date": None}}}
"""Suffixes, and what to save such a file with: the same picture is the same file, also tomorrow."""

DPI = 200
"""Pixels an inch, and in an SVG those of what is a bitmap there: thousands of points."""


def check_picture(type_: Any, path: Path) -> None:
    """``ValueError`` for a suffix of no format, ``OSError`` for a folder that does not exist."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"out must end in {' or '.join(FORMATS)}, got {str(path)!r}")
    check_writable("out", path)


Picture = Annotated[Path, Parameter(validator=check_picture)]
Shape = Annotated[tuple[Whole, Whole] | None, Parameter(negative="")]

plot = App(name="plot", help="Draw a picture of a run or of a saved model, as PNG or SVG.")


@plot.command
def curves(*histories: Path, out: Picture, log: bool = False) -> None:
    """Draw cost and accuracy of each epoch, of one or several runs.

    Parameters
    ----------
    histories
        Files that ``xpdl train --history`` has written, one for each run.
    out
        The file to write, .png or .svg.
    log
        Cost on a logarithmic scale.
    """
    if not histories:
        raise ValueError("histories must be one file or more, written by xpdl train --history")
    names = [path.name.removesuffix(".jsonl") if len(histories) > 1 else "" for path in histories]
    labels = names if len(set(names)) == len(names) else [str(path) for path in histories]
    _write(out, _draw_curves, dict(zip(labels, map(_read_history, histories), strict=True)), log)


@plot.command
def boundary(model: Path, *, data: str = "circles", out: Picture, seed: Whole = 0) -> None:
    """Draw what a classifier of two features makes of the plane, with the training samples.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    data
        As for ``xpdl train``.
    out
        The file to write, .png or .svg.
    seed
        Of data that is generated.
    """
    loaded, samples = load(model), load_data(data, seed=seed)
    _write(out, plots.decision_boundary, loaded.network, loaded.theta, samples.x, samples.y)


@plot.command
def confusion(model: Path, *, data: str = "glyphs", out: Picture, seed: Whole = 0) -> None:
    """Draw which labels a classifier takes for which, in the test part of the data, or in all of it if there is none.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    data
        As for ``xpdl train``.
    out
        The file to write, .png or .svg.
    seed
        Of data that is generated.
    """
    _write(out, plots.confusion_matrix, *_tested(load(model), data, seed))


@plot.command
def worst(
    model: Path,
    *,
    data: str = "glyphs",
    out: Picture,
    count: Whole = 25,
    shape: Shape = None,
    seed: Whole = 0,
) -> None:
    """Draw the images of the highest cost, in the test part of the data, or in all of it if there is none.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    data
        As for ``xpdl train``.
    out
        The file to write, .png or .svg.
    count
        How many images.
    shape
        Height and width of an image, by default a square.
    seed
        Of data that is generated.
    """
    _write(out, plots.worst_images, *_tested(load(model), data, seed), count=count, shape=shape)


@plot.command
def weights(model: Path, *, out: Picture, count: Whole = 64, shape: Shape = None) -> None:
    """Draw the weights of the first layer as images, one for each unit.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    out
        The file to write, .png or .svg.
    count
        How many units.
    shape
        Height and width of an image, by default a square.
    """
    loaded = load(model)
    _write(out, plots.weight_images, loaded.network, loaded.theta, count=count, shape=shape)


@plot.command
def gradients(model: Path, *, data: str = "glyphs", out: Picture, samples: Whole = 300, seed: Whole = 0) -> None:
    """Check the gradient of a model, and draw where it is wrong and how it compares with the numeric one.

    Parameters
    ----------
    model
        A file that ``xpdl train --save`` has written.
    data
        As for ``xpdl train``.
    out
        The file to write, .png or .svg.
    samples
        How many of the training samples to use.
    seed
        Of dropout masks and of data that is generated.
    """
    loaded, points = load(model), load_data(data, seed=seed)
    net, n = loaded.network, checks.integer("samples", samples, least=1)
    x, y = points.x[:n], points.y[:n]
    masks = dropout_masks(net, len(x), seed=seed, step=0, dtype="float64")
    _write(out, _draw_gradients, check_network(net, loaded.theta, x, y, masks=masks, progress=True))


def _write(out: Path, draw: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Draw, and write the file whole or not at all."""
    with unshown():
        figure = draw(*arguments, **options).figure
    from matplotlib import rc_context

    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "xpdl"}):
        figure.savefig(picture, dpi=DPI, format=out.suffix.lower().removeprefix("."), **FORMATS[out.suffix.lower()])
    write_whole(out, picture.getbuffer())
    print(f"saved {out}")


def _draw_curves(runs: Mapping[str, Sequence[Mapping[str, float]]], log: bool) -> Figure:
    """A panel for the cost, and one for the accuracy if there is any."""
    keys = {key for epochs in runs.values() for epoch in epochs for key in epoch}
    metrics = ["loss", "accuracy"] if keys & {"accuracy", "validation_accuracy"} else ["loss"]
    figure = new_figure(5.5 * len(metrics), 4.2)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for ax, metric in zip(panels, metrics, strict=True):
        plots.curves(runs, metric=metric, ax=ax)
    panels[0].set_yscale("log" if log else "linear")
    return figure


def _draw_gradients(report: Report) -> Figure:
    """The maps, and the scatter beside them."""
    maps = 1.5 + 3 * len(report.parameters) / 2
    figure = new_figure(maps + 5, 5)
    left, right = figure.subfigures(1, 2, width_ratios=[maps, 5])
    plots.gradient_maps(report, figure=left)
    plots.gradient_scatter(report, ax=right.add_subplot())
    return figure


def _tested(loaded: Model, data: str, seed: int) -> tuple[Any, ...]:
    """What an evaluation needs: net, theta, x, y."""
    samples = load_data(data, seed=seed)
    return loaded.network, loaded.theta, *(samples.test or (samples.x, samples.y))


def _read_history(path: Path) -> list[dict[str, float]]:
    """The epochs in a file of JSON objects, one a line; ``ValueError`` if a line holds anything else."""
    epochs = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            epoch = json.loads(line)
        except ValueError:
            epoch = None
        if not isinstance(epoch, dict) or "epoch" not in epoch:
            raise ValueError(f"{path}, line {number}: expected a JSON object of an epoch, got {checks.shorten(line)}")
        epochs.append(epoch)
    return epochs
