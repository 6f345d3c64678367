"""xpdl predict: score a saved model."""

from pathlib import Path

import numpy as np

from xpdl.backends import Backend
from xpdl.checks import one_line
from xpdl.cli import options
from xpdl.data import Dataset, load as load_data
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
    if loaded.network.head.classes(loaded.network.sizes[-1]):
        say(_confusion(np.asarray(y), predict_labels(loaded.network, loaded.theta, x, backend=backend)))


def score(net: Network, theta: np.ndarray, samples: Dataset, backend: Backend, dtype: str, saved: Path | None) -> None:
    """Score a newly trained model on the test part, and say where it was saved."""
    if samples.test:
        say(scores(evaluate(net, theta, *samples.test, backend=backend, dtype=dtype)))
    if saved:
        say(f"saved {one_line(saved)}")


def scores(found: dict[str, float]) -> str:
    """Return accuracy and loss as a line of text."""
    accuracy = f"test accuracy {100 * found['accuracy']:.2f} %, " if "accuracy" in found else ""
    return f"{accuracy}test loss {found['loss']:.4f}"


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
