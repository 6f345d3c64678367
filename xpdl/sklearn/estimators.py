"""``NetworkClassifier`` and ``NetworkRegressor``: what y means to the network, and its outputs to the caller."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import Tags, compute_sample_weight
from sklearn.utils._array_api import get_namespace_and_device, move_to
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from xpdl.arrays import Array, namespace
from xpdl.losses import Loss
from xpdl.network import Network
from xpdl.sklearn.base import NetworkEstimator
from xpdl.sklearn.learning import Samples
from xpdl.sklearn.parameters import REGRESSION
from xpdl.sklearn.stopping import Score


@dataclass(eq=False, repr=False)
class NetworkClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    """A network that tells classes apart: labels (n,), or 0 and 1 (n, k) where a sample may have several.

    ``Parameters`` says what else can be set, ``Attributes`` what is known after ``fit``.

    loss           "log_loss": cross-entropy, of a softmax or of sigmoids; or an ``xpdl.Loss`` that decides
    class_weight   {label: weight} or "balanced": by what the weights of the samples of a class are multiplied
    classes_       the labels in their order, a NumPy array
    """

    _: KW_ONLY
    loss: str | Loss = "log_loss"
    class_weight: Any = None

    _parameter_constraints: ClassVar[dict[str, Any]] = NetworkEstimator._parameter_constraints | {
        "loss": [StrOptions({"log_loss"}), Loss],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one more epoch; the first call has to be told all classes."""
        if isinstance(self.class_weight, str):
            raise ValueError(f"partial_fit does not see all samples: class_weight must not be {self.class_weight!r}")
        if _check_partial_fit_first_call(self, classes):
            self._binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The most probable label of each sample (n,), or 0 and 1 (n, k)."""
        chosen = self._outputs(X, "predict", Network.predict)
        xp, _, device = get_namespace_and_device(chosen)
        if chosen.ndim == 2:
            return xp.astype(chosen, xp.int64)
        if not np.issubdtype(self.classes_.dtype, np.number):
            return self.classes_[move_to(chosen, xp=np, device="cpu")]
        return xp.take(move_to(self.classes_, xp=xp, device=device), chosen, axis=0)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class (n, k), in the order of ``classes_``."""
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of ``predict_proba``."""
        p = self._probabilities(X, "predict_log_proba")
        return namespace(p).log(p)

    def _probabilities(self, X: Any, method: str) -> Array:
        p = self._outputs(X, method, Network.predict_proba)
        return p if p.ndim == 2 else namespace(p).stack([1 - p, p], axis=1)

    def _targets(self, y: np.ndarray, known: bool) -> np.ndarray:
        """Truth values: one column for two classes, else a column for each."""
        if not known:
            check_classification_targets(y)
            self._binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._binarizer.classes_
        new = np.setdiff1d(unique_labels(y), self.classes_)
        if new.size:
            raise ValueError(f"y has classes that were not there before: {new}, known are {self.classes_}")
        return np.asarray(self._binarizer.transform(y), dtype=bool)

    def _weights(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        weights = super()._weights(sample_weight, y)
        if self.class_weight is None:
            return weights
        factors: np.ndarray = compute_sample_weight(self.class_weight, y)
        return factors if weights is None else weights * factors

    def _output(self, y: np.ndarray) -> tuple[str | Loss, int]:
        several = self._binarizer.y_type_.startswith("multilabel")
        if isinstance(self.loss, Loss):
            return self.loss, y.shape[1] if several else self.loss.outputs(len(self.classes_))
        return "sigmoid" if several or len(self.classes_) == 2 else "softmax", y.shape[1]

    def _score_of(self, held: Samples) -> Score:
        """The accuracy."""
        return lambda metrics: metrics["validation_accuracy"]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@dataclass(eq=False, repr=False)
class NetworkRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """A network for numbers: y is (n,), or (n, k) for several at a time.

    ``Parameters`` says what else can be set, ``Attributes`` what is known after ``fit``.

    loss   "squared_error": half the squared error; the name of another loss of values, or an ``xpdl.Loss``
    """

    _: KW_ONLY
    loss: str | Loss = "squared_error"

    _parameter_constraints: ClassVar[dict[str, Any]] = NetworkEstimator._parameter_constraints | {
        "loss": [StrOptions(set(REGRESSION)), Loss],
    }

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The values (n,), or (n, k)."""
        values = self._outputs(X, "predict", Network.predict)
        return values if self.n_outputs_ > 1 else values[:, 0]

    def _targets(self, y: np.ndarray, known: bool) -> np.ndarray:
        return y

    def _output(self, y: np.ndarray) -> tuple[str | Loss, int]:
        return REGRESSION.get(self.loss, self.loss), 1 if y.ndim == 1 else y.shape[1]

    def _score_of(self, held: Samples) -> Score:
        """R2 of all outputs together, 1 - cost / cost of the mean; for a loss of another kind the negative cost."""
        if REGRESSION.get(self.loss) != "linear":
            return lambda metrics: -metrics["validation_loss"]
        y = held.y.reshape(len(held.y), -1)
        errors = y - np.average(y, axis=0, weights=held.weight)
        spread = float(np.average(0.5 * np.sum(errors * errors, axis=1), weights=held.weight)) or 1.0
        return lambda metrics: 1 - metrics["validation_loss"] / spread

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
