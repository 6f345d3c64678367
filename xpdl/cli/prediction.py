"""xpdl predict: predict the labels of new data, or score a saved model."""

from collections import Counter
from collections.abc import Sequence
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from xpdl.backends import Backend, backend as choose_backend
from xpdl.checks import one_line
from xpdl.cli import options
from xpdl.cli.model_data import Samples, data_of, new_samples, source_of
from xpdl.cli.regression import fit_of
from xpdl.data import DataFormatError, Dataset, inputs
from xpdl.data.labels import SHOWN
from xpdl.data.ranges import foreign_range
from xpdl.data.table import number_text
from xpdl.files.model import Model, load
from xpdl.files.outputs import Kind, check, distinct, write_whole
from xpdl.network import Network
from xpdl.progress import say
from xpdl.training.evaluation import count_confusions, evaluate, predict as predict_labels, predict_proba

PREDICTIONS = Kind("predictions of xpdl", lambda head: False)
"""A table of predictions looks like any other table, so that only --force replaces one."""

IMAGES = 64
"""So many features are an image, whose number is called ImageId, as in Kaggle's competitions."""


def predict(
    model: options.Model,
    new: str | None = None,
    *,
    data: options.OwnData = None,
    out: Path | None = None,
    proba: bool = False,
    columns: options.Names = [],  # noqa: B006
    backend: options.Backend = "auto",
    seed: options.DataSeed = 0,
    force: options.Force = False,
) -> None:
    """Predict the labels of new data, or score a saved model on the test part of its own data.

    Data without a test part are used as a whole. For a classifier, also print the accuracy of each class and the
    confusion matrix: how often each label is predicted for each true label.

    Parameters
    ----------
    new
        File of new samples, with the columns of the training, in any order; labels are not needed. xpdl predict
        model.safetensors new.csv --out predictions.csv
    out
        Write the predictions to this .csv file, a row for each sample.
    proba
        Write the probability of each class, too.
    columns
        The names of the first columns of --out: that of the numbers of the rows, and that of the labels.
    """
    loaded = load(model)
    source = source_of(loaded, new or data)
    if out is not None:
        distinct({"out": out}, {"model": model, "data": Path(source).expanduser()})
        check("out", out, PREDICTIONS, force=force)
    samples = new_samples(loaded, new) if new is not None else _tested(data_of(loaded, data, seed))
    if loaded.coding is not None and (problem := foreign_range(samples.x, loaded.network.inputs)):
        raise DataFormatError(f"{samples.name}: {problem}; give the samples as in the training")
    say(f"{one_line(samples.name)}: {len(samples.x):,} samples")
    if proba and not loaded.classes:
        raise ValueError("proba is for classes, and the model predicts numbers")
    p = predict_proba(loaded.network, loaded.theta, samples.x, backend=backend)
    if samples.y is not None:
        say(scores(evaluated(loaded.network, loaded.theta, samples.x, samples.y, backend=backend)))
        if loaded.theta.ndim > 1:
            say(ensemble(loaded.network, loaded.theta, samples.x, samples.y, backend=backend))
    decide = loaded.network.head.decide
    labels = p if decide is None else decide(p)
    if samples.y is not None and loaded.classes and labels.ndim == 1:
        say(_confusion(np.asarray(samples.y), labels, loaded.classes))
    elif samples.y is None:
        say(_summary(loaded, labels))
    if out is not None:
        write_whole(out, _table(loaded, samples, labels, p if proba else None, columns).encode())
        say(f"saved {one_line(out)}")


def _tested(data: Dataset) -> Samples:
    return Samples(data.name, *(data.test or (data.x, data.y)))


def _summary(model: Model, labels: np.ndarray) -> str:
    """Return what was predicted, in a line."""
    named = _named(model, labels)
    if not model.classes or labels.ndim != 1:
        return f"predictions from {labels.min():g} to {labels.max():g}"
    counts = Counter(named).most_common(SHOWN)
    return f"predicted {', '.join(f'{one_line(label, 40)} {count:,}' for label, count in counts)}"


def _named(model: Model, labels: np.ndarray) -> list[str]:
    """Return labels as they were in the data of the training."""
    if labels.ndim == 1 and model.coding is not None and model.coding.classes is not None:
        return [str(label) for label in model.coding.names_of(labels).tolist()]
    rows = labels.reshape(len(labels), -1).tolist()
    return [" ".join(number_text(float(value)) for value in row) for row in rows]


def _table(model: Model, samples: Samples, labels: np.ndarray, p: np.ndarray | None, columns: Sequence[str]) -> str:
    """Return the predictions as the text of a table."""
    numbers = samples.identifiers or [str(row) for row in range(1, len(labels) + 1)]
    heads = [*columns, *_heads(model, samples)[len(columns) :]]
    values: list[tuple[str, ...]] = [*zip(numbers, _named(model, labels), strict=True)]
    if p is not None:
        p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
        heads += [f"p({label})" for label in model.classes or ()]
        values = [(*row, *map(repr, chances)) for row, chances in zip(values, p.astype(float).tolist(), strict=True)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *values])
    return text.getvalue()


def _heads(model: Model, samples: Samples) -> list[str]:
    """Return the names of the first two columns: those of the training, or those of Kaggle's competitions."""
    coding, image = model.coding, model.network.sizes[0] >= IMAGES
    index = coding.identifier if coding is not None and samples.identifiers is not None else None
    label = coding.label if coding is not None and coding.header else None
    label = "Label" if label is None or label == "label" else label
    return [index or ("ImageId" if image else "Id"), label]


def evaluated(net: Network, theta: np.ndarray, x: Any, y: Any, **where: Any) -> dict[str, Any]:
    """Return loss and accuracy, and for values how well they fit."""
    found = evaluate(net, theta, x, y, **where)
    if theta.ndim == 1 and net.head.decide is None and np.asarray(y).dtype.kind == "f":
        found = fit_of(np.asarray(y), predict_labels(net, theta, x, **where)) | found
    return found


def score(net: Network, theta: np.ndarray, samples: Dataset, backend: Backend, dtype: str, saved: Path | None) -> None:
    """Score a newly trained model on the test part, and say where it was saved."""
    if samples.test:
        say(scores(evaluated(net, theta, *samples.test, backend=backend, dtype=dtype)))
        if theta.ndim > 1:
            say(ensemble(net, theta, *samples.test, backend=backend, dtype=dtype))
    if saved:
        say(f"saved {one_line(saved)}")


def scores(found: dict[str, Any]) -> str:
    """Return accuracy and loss as a line of text; of K networks, a line for each, with what they differ by."""
    if np.ndim(found["loss"]):
        percent = {"accuracy": 100 * found["accuracy"]} if "accuracy" in found else {}
        return "\n".join(_spread(name, values) for name, values in {**found, **percent}.items())
    accuracy = f"test accuracy {100 * found['accuracy']:.2f} %, " if "accuracy" in found else ""
    fit = "".join(f"test {name} {found[name]:.4g}, " for name in ("RMSE", "R2") if name in found)
    return f"{accuracy}{fit}test loss {found['loss']:.4f}"


def _spread(name: str, values: np.ndarray) -> str:
    """Return mean, standard deviation, best and worst of a metric of K networks."""
    digits, unit = (2, " %") if name == "accuracy" else (4, "")
    best, worst = (values.max(), values.min())[:: 1 if name == "accuracy" else -1]
    numbers = {
        "mean": values.mean(),
        "deviation": values.std(ddof=min(1, len(values) - 1)),
        "best": best,
        "worst": worst,
    }
    return f"test {name}: " + ", ".join(f"{what} {value:.{digits}f}{unit}" for what, value in numbers.items())


def ensemble(net: Network, theta: np.ndarray, x: Any, y: Any, **where: Any) -> str:
    """Return how good the mean of the probabilities, or values, of K networks is, as a line of text."""
    found = predict_labels(net, theta, x, **where)
    targets = inputs.targets(net, y, len(x), choose_backend("numpy"), "float64")
    if net.head.decide is None:
        return f"ensemble of {len(theta)}: mean squared error {np.mean((found - targets) ** 2):.4f}"
    right = found.reshape(len(x), -1) == net.head.decide(targets).reshape(len(x), -1)
    return f"ensemble of {len(theta)}: test accuracy {100 * np.mean(right.all(axis=1)):.2f} %"


def _confusion(y: np.ndarray, predicted: np.ndarray, classes: Sequence[Any]) -> str:
    """Return the confusion table as text: a row for each true label, with its accuracy and its predicted labels."""
    y = y.argmax(axis=1) if y.shape[1:] and len(predicted) < y.size else y.reshape(-1).astype(int)
    counts = count_confusions(y, predicted, len(classes))
    names = [one_line(name, 12) for name in classes]
    longest = max(map(len, names))
    width, first = max(5, len(str(counts.max())) + 1, longest + 1), max(6, longest)
    head = f"{'class':>{first}} {'accuracy':>9} {'predicted':>{width + 5}}"
    lines = [head, " " * (first + 10) + "".join(f"{name:>{width}}" for name in names)]
    for label, row in enumerate(counts):
        share = f"{100 * row[label] / row.sum():.2f} %" if row.sum() else "-"
        lines.append(f"{names[label]:>{first}} {share:>9}" + "".join(f"{count:>{width}}" for count in row))
    return "\n".join(lines)
