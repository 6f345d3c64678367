"""A search by scikit-learn on its digits, with ``MLPClassifier`` and with ``NetworkClassifier``.

``python -m benchmarks.sklearn_digits`` runs GridSearchCV over three learning rates of a Pipeline of StandardScaler and
the classifier, on three quarters of the 1797 digits.  The best rate is tested on the last quarter.  This is repeated
for several seeds, which are those of the splits and of the classifiers; other parameters keep their defaults.

    accuracy, accuracy_se   accuracy of the best rate on the last quarter: mean over the seeds, and its standard error
    validation              mean accuracy of the best rate in the cross-validation
    seconds                 median time of a search
"""

import statistics
import time
from typing import Annotated, Any
import warnings

from cyclopts import App, Parameter
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.output import Output
from xpdl.sklearn import NetworkClassifier

app = App(help=__doc__, help_format="plaintext", result_action="return_value")

RATES = (1e-4, 1e-3, 1e-2)
CONTENDERS = {
    "MLPClassifier": MLPClassifier,
    "NetworkClassifier": NetworkClassifier,
    "NetworkClassifier, dropout=0.2": lambda **options: NetworkClassifier(dropout=0.2, **options),
}
COLUMNS = {"contender": "", "accuracy": ".4f", "accuracy_se": ".4f", "validation": ".4f", "seconds": ".2f"}


@app.default
def sklearn_digits(
    *,
    seeds: int = 10,
    epochs: int = 100,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Search with each classifier.

    Parameters
    ----------
    seeds
        Number of seeds.
    epochs
        Largest number of epochs, ``max_iter``.
    """
    warnings.simplefilter("ignore", ConvergenceWarning)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CONTENDERS}
    for seed in range(seeds):
        for name, make in CONTENDERS.items():
            runs[name].append(search(make(max_iter=epochs, random_state=seed), seed))
    rows = [{"contender": name, **summary(found)} for name, found in runs.items()]
    output.publish("sklearn-digits", COLUMNS, rows, settings={"seeds": seeds, "max_iter": epochs, "rates": RATES})


def search(classifier: Any, seed: int) -> tuple[float, float, float]:
    """Return the accuracy of the best rate on the held-out quarter and in the cross-validation, and the seconds."""
    x, x_test, y, y_test = split(seed)
    model = Pipeline([("scale", StandardScaler()), ("network", classifier)])
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    found = GridSearchCV(model, {"network__learning_rate_init": RATES}, cv=folds)
    started = time.perf_counter()
    found.fit(x, y)
    return found.score(x_test, y_test), found.best_score_, time.perf_counter() - started


def split(seed: int) -> list[np.ndarray]:
    """Return x, x_test, y, y_test."""
    x, y = load_digits(return_X_y=True)
    return list(train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed))


def summary(runs: list[tuple[float, float, float]]) -> dict[str, Any]:
    """Return the row of a contender."""
    accuracies, validations, seconds = zip(*runs, strict=True)
    return {
        "accuracy": statistics.mean(accuracies),
        "accuracy_se": statistics.stdev(accuracies) / len(accuracies) ** 0.5 if len(accuracies) > 1 else None,
        "validation": statistics.mean(validations),
        "seconds": statistics.median(seconds),
        "accuracies": accuracies,
    }


if __name__ == "__main__":
    app()
