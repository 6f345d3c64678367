"""xpdl predict: score a saved model."""

from pathlib import Path
from typing import Any

import numpy as np

from xpdl.backends import Backend, backend as choose_backend
from xpdl.checks import one_line
from xpdl.cli import options
from xpdl.data import Dataset, inputs, load as load_data
from xpdl.files.model import load
from xpdl.network import Network
from xpdl.progress import say
from xpdl.training.evaluation import count_confusions, evaluate, predict as predict_labels


def predict(
    model: options.Model,
    *,
    data: options.Data = "glyphs",
    backend: options.Backend = "auto",
    seed: options.DataSeed = 0,
) -> None:
    """Score a saved model on the test part of the data, or on all data if there is no test part.

    For a classifier, also print the accuracy of each class and the confusion matrix: how often each label is predicted
    for each true label.
    """
    loaded, samples = load(model), load_data(data, seed=seed)
    x, y = samples.test or (samples.x, samples.y)
    say(f"{one_line(samples.name)}: {len(x):,} samples")
    say(scores(evaluate(loaded.network, loaded.theta, x, y, backend=backend)))
    if loaded.theta.ndim > 1:
        say(ensemble(loaded.network, loaded.theta, x, y, backend=backend))
    if loaded.network.head.classes(loaded.network.sizes[-1]):
        say(_confusion(np.asarray(y), predict_labels(loaded.network, loaded.theta, x, backend=backend)))


def score(net: Network, theta: np.ndarray, samples: Dataset, backend: Backend, dtype: str, saved: Path | None) -> None:
    """Score a newly trained model on the test part, and say where it was saved."""
    if samples.test:
        say(scores(evaluate(net, theta, *samples.test, backend=backend, dtype=dtype)))
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
    return f"{accuracy}test loss {found['loss']:.4f}"


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


def _confusion(y: np.ndarray, predicted: np.ndarray) -> str:
    """Return the confusion table as text: a row for each true label, with its accuracy and its predicted labels."""
    y = y.argmax(axis=1) if y.shape[1:] and len(predicted) < y.size else y.reshape(-1).astype(int)
    k = max(y.max(), predicted.max()) + 1
    counts = count_confusions(y, predicted, k)
    width = max(5, len(str(counts.max())) + 1)
    head = f"{'class':>6} {'accuracy':>9} {'predicted':>{width + 5}}"
    lines = [head, " " * 16 + "".join(f"{j:>{width}}" for j in range(k))]
    for label, row in enumerate(counts):
        share = f"{100 * row[label] / row.sum():.2f} %" if row.sum() else "-"
        lines.append(f"{label:>6} {share:>9}" + "".join(f"{count:>{width}}" for count in row))
    return "\n".join(lines)
