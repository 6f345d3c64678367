"""The base class of both estimators: it checks X and y, trains a network, and keeps the result.

X stays in its library and on its device, and so do ``theta_`` and predictions.  Targets and weights are on the host.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from numbers import Integral
from typing import Any, Self
import warnings

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils._array_api import check_same_namespace, get_namespace_and_device, move_to, supported_float_dtypes
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from xpdl import checks
from xpdl.activations import Activation
from xpdl.arrays import Array
from xpdl.backends import Backend, backend, backend_of
from xpdl.data.inputs import warn_of_images
from xpdl.network import Network
from xpdl.sklearn.attributes import Attributes
from xpdl.sklearn.learning import Samples, learn
from xpdl.sklearn.parameters import HIDDEN, Parameters, in_own_words
from xpdl.sklearn.stopping import Plateau
from xpdl.training.evaluation import in_slices
from xpdl.training.loop import Result, moved


class NetworkEstimator(Attributes, Parameters):
    """A network that learns y from X (n, d); see ``Parameters`` and ``Attributes``."""

    _run: Result | None
    """The last run, which ``partial_fit`` continues."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train for up to ``max_iter`` epochs; with ``warm_start``, begin with the parameters of the last fit.

        Parameters
        ----------
        X : array_like
            The samples (n, d).
        y : array_like
            The targets (n,) or (n, k).
        sample_weight : array_like, optional
            How many times each sample counts (n,).
        X_val, y_val, sample_weight_val : array_like, optional
            Samples for validation after each epoch, see ``history_``.  Early stopping uses them and does not hold out a
            part of X.

        Returns
        -------
        Self
            The same estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is not as described, or if the cost becomes NaN or infinite.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor((), tol=0.01, learning_rate_init=0.1, random_state=0)
        >>> model.fit([[0.0], [1.0]], [0.0, 2.0]) is model
        True
        >>> model.n_iter_ < model.max_iter
        True
        """
        self._validate_params()
        warm = self.warm_start and hasattr(self, "theta_")
        given = self._samples(X, y, sample_weight, reset=not warm, known=warm)
        _check_whole(X_val, y_val, sample_weight_val)
        held = None if X_val is None else self._samples(X_val, y_val, sample_weight_val, reset=False, known=True)
        flat = self._learn(given, held, self.max_iter, {"theta": self.theta_} if warm else {})
        if self.n_iter_ == self.max_iter and not flat:
            warnings.warn(self._unsettled(), ConvergenceWarning, stacklevel=2)
        return self

    def _unsettled(self) -> str:
        """Return as text that the fit ended before the loss, or the score, was flat."""
        name, change, values = "loss", "falling", self.loss_curve_[-self.n_iter_ :]
        best = min(values)
        if self.early_stopping and self.validation_scores_:
            name, change, values = "validation score", "rising", self.validation_scores_[-self.n_iter_ :]
            best = max(values)
        after = f"after {self.max_iter} epochs, which is max_iter"
        if values[-1] == best:
            return f"the {name} was still {change} {after}"
        where = values.index(best) + 1
        return f"the {name} was not flat {after}: it was {values[-1]:.4g}, and {best:.4g} in epoch {where}"

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Train for one more epoch, with the state of the optimizer after the last one."""
        self._validate_params()
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        begun = hasattr(self, "theta_")
        given = self._samples(X, y, sample_weight, reset=not begun, known=True)
        self._learn(given, None, 1, self._continuation() if begun else {})
        return self

    def _continuation(self) -> dict[str, Any]:
        """Return arguments of ``train`` that go on from ``theta_``, and from the state of the optimizer if it fits.

        ``theta_`` may be that of the best epoch, or it was changed.
        """
        theta = backend_of(self.theta_).to_numpy(self.theta_)
        if self._run is None or self._run.moment is None:
            return {"theta": theta}
        same = np.array_equal(theta, self._run.moment.carry.theta)
        return {"resume": self._run if same else moved(self._run, theta)}

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, known: bool) -> Samples:
        """Check X and y.  ``reset``: they define the number of features; ``known``: the classes are already known."""
        for argument, values in {"X": X, "y": y, "sample_weight": sample_weight}.items():
            checks.unmasked(argument, values)
        x, y = validate_data(self, X, y, dtype=_dtypes(X), multi_output=True, y_numeric=is_regressor(self), reset=reset)
        y = move_to(y, xp=np, device="cpu")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return Samples(x, self._targets(y, known), self._weights(sample_weight, y))

    def _weights(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        """Return the weights of the samples on the host."""
        return None if sample_weight is None else _check_sample_weight(sample_weight, y, ensure_non_negative=True)

    def _learn(self, given: Samples, held: Samples | None, epochs: int, start: dict[str, Any]) -> bool:
        """Train for ``epochs`` more epochs and keep the result; return whether the score was flat at the end."""
        draw = check_random_state(self.random_state)
        seed = int(self.random_state if isinstance(self.random_state, Integral) else draw.randint(2**31 - 1))
        if self.early_stopping and held is None:
            given, held = self._split(given, draw)
        with in_own_words():
            net, plateau = self._network(given), self._plateau(held)
            begun = len(start["resume"].history) if "resume" in start else 0
            result = learn(
                *(net, given, self, plateau, start),
                validation=held,
                epochs=begun + epochs,
                seed=seed,
                backend=self._home(given.x),
                dtype=checks.dtype_name((self.theta_ if start else given.x).dtype),
            )
        if result.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        history = result.history[begun:]
        if self.early_stopping:
            history = [m | {"validation_score": score} for m, score in zip(history, plateau.scores, strict=True)]
        earlier = (self.history_, self.t_) if start else ([], 0)
        self.network_, self.theta_ = net, backend_of(given.x).asarray(result.theta)
        self._run = None if result.interrupted or result.moment is None else result
        self.history_, self.n_iter_ = [*earlier[0], *history], len(history)
        self.t_ = earlier[1] + len(given.y) * len(history)
        return plateau.reached

    def _split(self, given: Samples, draw: np.random.RandomState) -> tuple[Samples, Samples]:
        """Return the samples for training and those held out.  A classifier holds out the same share of each class."""
        parts = train_test_split(
            *(part for part in given if part is not None),
            test_size=self.validation_fraction,
            stratify=given.y if is_classifier(self) and given.y.shape[1] == 1 else None,
            random_state=draw,
        )
        kept, held = Samples(*parts[::2]), Samples(*parts[1::2])
        if len(held.y) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return kept, held

    def _plateau(self, held: Samples | None) -> Plateau:
        """Return the stopping rule, which watches the score of the samples held out, or the loss."""
        score = self._score_of(held) if self.early_stopping and held else _negative_loss
        return Plateau(score, self.tol, self.n_iter_no_change, keep=self.early_stopping, verbose=bool(self.verbose))

    def _network(self, given: Samples) -> Network:
        """Return the network for these samples."""
        output, k = self._output(given.y)
        hidden = self.hidden_layer_sizes if hasattr(self.hidden_layer_sizes, "__iter__") else [self.hidden_layer_sizes]
        units = [checks.integer("hidden_layer_sizes", n, least=1) for n in hidden]
        return Network(
            [given.x.shape[1], *units, k],
            hidden=_hidden(self.activation),
            output=output,
            init=self.init,
            l2=self.alpha,
            dropout=self.dropout,
            inputs=self.inputs,
        )

    def _home(self, x: Array) -> Backend:
        """Return the backend that computes."""
        return backend_of(x) if self.backend is None else backend(self.backend)

    def _outputs(self, X: Any, method: str, function: Callable[[Network, Array, Array], Array]) -> Array:
        """Return function(network, theta, X) in the library and on the device of X."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="theta_", method=method)
        checks.unmasked("X", X)
        x = validate_data(self, X, dtype=_dtypes(X), reset=False)
        warn_of_images(self.network_, x, "X")
        home, dtype = self._home(x), checks.dtype_name(self.theta_.dtype)
        theta = home.asarray(self.theta_)
        with home.activate():
            outputs = in_slices(partial(function, self.network_, theta), home.asarray(x, dtype))
        return backend_of(x).asarray(outputs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickle: ``theta_`` becomes a NumPy array, with the name of its backend."""
        state = dict(super().__getstate__())
        if "theta_" in state:
            home = backend_of(self.theta_)
            state |= {"theta_": home.to_numpy(self.theta_), "_home": home.name}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put ``theta_`` back on its backend if that can be used here."""
        home = state.pop("_home", "numpy")
        super().__setstate__(state)
        if "theta_" in state:
            with suppress(ImportError, RuntimeError):
                self.theta_ = backend(home).asarray(self.theta_)

    def __sklearn_array_api_convert__(self, converter: Callable[[Array], Array]) -> Self:
        """Return a copy of the estimator with ``theta_`` on another device; labels are always on the host."""
        moved = copy(self)
        moved.theta_ = converter(self.theta_)
        return moved

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags


class Scored:
    """The score of an estimator, which stands before the mixins of scikit-learn that compute it."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the score of scikit-learn: the accuracy of a classifier, R^2 of a regressor.

        Parameters
        ----------
        X : array_like
            The samples (n, d).
        y : array_like
            Their labels or values (n,) or (n, k).
        sample_weight : array_like, optional
            How many times each sample counts (n,).

        Returns
        -------
        float
            At most 1.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor((), tol=0.01, learning_rate_init=0.1, random_state=0)
        >>> round(model.fit([[0.0], [1.0]], [0.0, 2.0]).score([[0.0], [1.0]], [0.0, 2.0]), 1)
        1.0
        """
        for argument, values in {"y": y, "sample_weight": sample_weight}.items():
            checks.unmasked(argument, values)
        return float(super().score(X, y, sample_weight))  # type: ignore[misc]


def _hidden(activation: Any) -> Any:
    """Return the activation, or those of the hidden layers, by the names that ``Network`` knows."""
    if isinstance(activation, str | Activation):
        return HIDDEN.get(activation, activation)
    return [_hidden(each) for each in activation]


def _check_whole(x: Any, y: Any, weight: Any) -> None:
    """Check that samples for validation are not given in part."""
    for argument, value in {"y_val": y, "sample_weight_val": weight}.items():
        if x is None and value is not None:
            raise ValueError(f"{argument} needs X_val, the samples it belongs to, got None")
    if x is not None and y is None:
        raise ValueError("X_val needs y_val, the targets of its samples, got None")


def _negative_loss(metrics: Mapping[str, float]) -> float:
    return -metrics["loss"]


def _dtypes(X: Any) -> list[Any]:
    """Return the floating dtypes that xpdl and the device of X support; other dtypes are converted to the first."""
    xp, _, device = get_namespace_and_device(X)
    return [dtype for dtype in supported_float_dtypes(xp, device) if checks.dtype_name(dtype) != "float16"]
