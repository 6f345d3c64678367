"""``NetworkClassifier`` and ``NetworkRegressor``: from y to the targets of the network, and from its outputs back."""

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

from xpdl import checks
from xpdl.arrays import Array, namespace
from xpdl.losses import Loss
from xpdl.network import Network
from xpdl.sklearn.base import NetworkEstimator, Scored
from xpdl.sklearn.learning import Samples
from xpdl.sklearn.parameters import REGRESSION
from xpdl.sklearn.stopping import Score


@dataclass(eq=False, repr=False)
class NetworkClassifier(Scored, ClassifierMixin, NetworkEstimator):  # type: ignore[misc]
    """A network that classifies.

    y has one label for each sample (n,), or zeros and ones (n, k) where a sample may have several labels.  Parameters
    and attributes are those of scikit-learn's ``MLPClassifier``, and more.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The number of units in each hidden layer.
    activation : str or Activation, default "relu"
        "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu", or your own.
    solver : str or Optimizer, default "adam"
        "sgd", "adam", "rmsprop", or an ``xpdl.Optimizer`` with its own learning rate.  There is no "lbfgs".
    alpha : float, default 1e-4
        The strength of the L2 term.
    batch_size : int or "auto", default "auto"
        Samples in a step; "auto" is 200, or all if there are fewer.
    learning_rate : str, default "constant"
        "constant", "invscaling" or "adaptive", for every solver that is given by name.
    learning_rate_init : float, default 1e-3
        The learning rate of the first step.
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        The most epochs of a fit.
    shuffle : bool, default True
        Whether each epoch has its own order of samples.
    random_state : int, RandomState or None, default None
        The seed of weights, order of samples, dropout, and samples held out.
    tol : float, default 1e-4
        By how much an epoch must be better than the best one, see ``n_iter_no_change``.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether ``fit`` begins with the parameters of the last fit.
    momentum : float, default 0.9
        The momentum of "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" uses Nesterov's form.
    early_stopping : bool, default False
        Whether to hold out samples, stop by their score, and return the parameters of the best epoch.
    validation_fraction : float, default 0.1
        The share of the samples that early stopping holds out.
    beta_1 : float, default 0.9
        The decay of Adam's average of gradients.
    beta_2 : float, default 0.999
        The decay of Adam's average of squared gradients.
    epsilon : float, default 1e-8
        The epsilon of "adam" and "rmsprop".
    n_iter_no_change : float, default 10
        Stop after more than this many epochs in a row without an improvement.
    dropout : float or sequence of float, default 0.0
        The probability of dropping a hidden unit: one number, or one for each hidden layer.
    init : str or float, default "xavier"
        "xavier", "he", "lecun", or the standard deviation of the initial weights.
    callbacks : sequence of callable, default ()
        Functions f(metrics, step), called after each epoch, see ``xpdl.callbacks``.
    backend : str, Backend or None, default None
        Where to compute, as for ``xpdl.backend``; None: where X is.
    inputs : Scaling or None, default None
        What is done to X before the first layer, see ``xpdl.Scaling``.
    loss : str or Loss, default "log_loss"
        "log_loss" is cross-entropy, with a softmax or with sigmoids; or an ``xpdl.Loss`` that tells classes apart.
    class_weight : dict, list, "balanced" or None, default None
        {label: factor} for the weights of the samples of each class; "balanced" makes all classes weigh the same.

    Attributes
    ----------
    network_, theta_, history_, n_iter_, t_
        See ``xpdl.sklearn.attributes.Attributes``.
    classes_ : numpy.ndarray
        The labels in order.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.sklearn import NetworkClassifier
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array(["even", "odd", "odd", "even"])
    >>> model = NetworkClassifier(8, "tanh", learning_rate_init=0.05, max_iter=2000, random_state=0).fit(x, y)
    >>> model.predict(x).tolist()
    ['even', 'odd', 'odd', 'even']
    """

    _: KW_ONLY
    loss: str | Loss = "log_loss"
    class_weight: Any = None

    _parameter_constraints: ClassVar[dict[str, Any]] = NetworkEstimator._parameter_constraints | {
        "loss": [StrOptions({"log_loss"}), Loss],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one more epoch.

        Parameters
        ----------
        X : array_like
            The samples (n, d).
        y : array_like
            The targets (n,) or (n, k).
        sample_weight : array_like, optional
            How many times each sample counts (n,).
        classes : array_like, optional
            All labels; the first call needs them.

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
        >>> from xpdl.sklearn import NetworkClassifier
        >>> model = NetworkClassifier(4, random_state=0)
        >>> model = model.partial_fit([[0.0], [1.0]], ["no", "yes"], classes=["no", "yes"])
        >>> model = model.partial_fit([[2.0], [3.0]], ["yes", "no"])
        >>> len(model.history_), model.t_
        (2, 4)
        """
        if isinstance(self.class_weight, str):
            raise ValueError(f"partial_fit does not see all samples: class_weight must not be {self.class_weight!r}")
        if _check_partial_fit_first_call(self, classes):
            self._binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """Return the most probable label of each sample.

        Parameters
        ----------
        X : array_like
            The samples (n, d).

        Returns
        -------
        array
            Labels (n,), or zeros and ones (n, k).

        Examples
        --------
        >>> from xpdl.sklearn import NetworkClassifier
        >>> x = [[0.0], [1.0]]
        >>> model = NetworkClassifier((), learning_rate_init=1.0, random_state=0).fit(x, ["no", "yes"])
        >>> model.predict(x).tolist()
        ['no', 'yes']
        """
        p, decide = self._outputs(X, "predict", Network.predict_proba), self.network_.head.decide
        chosen = p if decide is None else decide(p)
        xp, _, device = get_namespace_and_device(chosen)
        if chosen.ndim == 2:
            return xp.astype(chosen, xp.int64)
        if not np.issubdtype(self.classes_.dtype, np.number):
            return self.classes_[move_to(chosen, xp=np, device="cpu")]
        return xp.take(move_to(self.classes_, xp=xp, device=device), chosen, axis=0)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like
            The samples (n, d).

        Returns
        -------
        array
            Probabilities (n, k), in the order of ``classes_``.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkClassifier
        >>> x = [[0.0], [1.0]]
        >>> model = NetworkClassifier((), learning_rate_init=1.0, random_state=0).fit(x, ["no", "yes"])
        >>> model.predict_proba(x).round(1).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        p = self._outputs(X, "predict_proba", Network.predict_proba)
        return p if p.ndim == 2 else namespace(p).stack([1 - p, p], axis=1)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of ``predict_proba``, from the logits: it is finite and right where p rounds to 0.

        Parameters
        ----------
        X : array_like
            The samples (n, d).

        Returns
        -------
        array
            Logarithms (n, k), in the order of ``classes_``.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.sklearn import NetworkClassifier
        >>> x = [[0.0], [1.0]]
        >>> model = NetworkClassifier((), learning_rate_init=1.0, random_state=0).fit(x, ["no", "yes"])
        >>> bool(np.allclose(np.exp(model.predict_log_proba(x)), model.predict_proba(x)))
        True
        """
        return self._outputs(X, "predict_log_proba", _log_proba)

    def decision_function(self, X: Any) -> Array:
        """Return the logits.

        Parameters
        ----------
        X : array_like
            The samples (n, d).

        Returns
        -------
        array
            Logits (n, k), in the order of ``classes_``; (n,) for two classes, positive for the second one.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkClassifier
        >>> x = [[0.0], [1.0]]
        >>> model = NetworkClassifier((), learning_rate_init=1.0, random_state=0).fit(x, ["no", "yes"])
        >>> (model.decision_function(x) > 0).tolist()
        [False, True]
        """
        z = self._outputs(X, "decision_function", _logits)
        if len(self.classes_) != 2 or self._binarizer.y_type_.startswith("multilabel"):
            return z
        return z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0]

    def _targets(self, y: np.ndarray, known: bool) -> np.ndarray:
        """Return truth values: one column for two classes, else a column for each class."""
        if not known:
            check_classification_targets(y)
            self._binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._binarizer.classes_
        new = np.setdiff1d(unique_labels(y), self.classes_)
        if new.size:
            raise ValueError(f"y has classes that are new: {new}; the known ones are {self.classes_}")
        return np.asarray(self._binarizer.transform(y), dtype=bool)

    def _weights(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        weights = super()._weights(sample_weight, y)
        if self.class_weight is None:
            return weights
        factors: np.ndarray = compute_sample_weight(self.class_weight, y)
        return factors if weights is None else weights * factors

    def _output(self, y: np.ndarray) -> tuple[str | Loss, int]:
        several, n = self._binarizer.y_type_.startswith("multilabel"), len(self.classes_)
        if not isinstance(self.loss, Loss):
            return "sigmoid" if several or n == 2 else "softmax", y.shape[1]
        k = y.shape[1] if several else self.loss.outputs(n)
        if self.loss.decide is None or not (several or self.loss.classes(k) >= n):
            raise ValueError(f"loss must tell {n} classes apart, got {checks.shorten(self.loss)}")
        return self.loss, k

    def _score_of(self, held: Samples) -> Score:
        """Return the accuracy of the samples held out."""
        return lambda metrics: metrics["validation_accuracy"]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _logits(net: Network, theta: Array, x: Array) -> Array:
    return net.forward(theta, x)[-1].z


def _log_proba(net: Network, theta: Array, x: Array) -> Array:
    """Return the logarithm of the probability of each class (n, k)."""
    z = _logits(net, theta, x)
    log_p = net.head.log_predict(z)
    single = z.shape[1] == 1 and net.head.classes(1) == 2
    return namespace(z).concat([net.head.log_predict(z, complement=True), log_p], axis=1) if single else log_p


@dataclass(eq=False, repr=False)
class NetworkRegressor(Scored, RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """A network that predicts numbers.

    y is (n,), or (n, k) for several outputs.  Parameters and attributes are those of scikit-learn's ``MLPRegressor``,
    and more.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The number of units in each hidden layer.
    activation : str or Activation, default "relu"
        "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu", or your own.
    solver : str or Optimizer, default "adam"
        "sgd", "adam", "rmsprop", or an ``xpdl.Optimizer`` with its own learning rate.  There is no "lbfgs".
    alpha : float, default 1e-4
        The strength of the L2 term.
    batch_size : int or "auto", default "auto"
        Samples in a step; "auto" is 200, or all if there are fewer.
    learning_rate : str, default "constant"
        "constant", "invscaling" or "adaptive", for every solver that is given by name.
    learning_rate_init : float, default 1e-3
        The learning rate of the first step.
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        The most epochs of a fit.
    shuffle : bool, default True
        Whether each epoch has its own order of samples.
    random_state : int, RandomState or None, default None
        The seed of weights, order of samples, dropout, and samples held out.
    tol : float, default 1e-4
        By how much an epoch must be better than the best one, see ``n_iter_no_change``.
    verbose : bool or int, default False
        Whether to print the loss of each epoch.
    warm_start : bool, default False
        Whether ``fit`` begins with the parameters of the last fit.
    momentum : float, default 0.9
        The momentum of "sgd".
    nesterovs_momentum : bool, default True
        Whether "sgd" uses Nesterov's form.
    early_stopping : bool, default False
        Whether to hold out samples, stop by their score, and return the parameters of the best epoch.
    validation_fraction : float, default 0.1
        The share of the samples that early stopping holds out.
    beta_1 : float, default 0.9
        The decay of Adam's average of gradients.
    beta_2 : float, default 0.999
        The decay of Adam's average of squared gradients.
    epsilon : float, default 1e-8
        The epsilon of "adam" and "rmsprop".
    n_iter_no_change : float, default 10
        Stop after more than this many epochs in a row without an improvement.
    dropout : float or sequence of float, default 0.0
        The probability of dropping a hidden unit: one number, or one for each hidden layer.
    init : str or float, default "xavier"
        "xavier", "he", "lecun", or the standard deviation of the initial weights.
    callbacks : sequence of callable, default ()
        Functions f(metrics, step), called after each epoch, see ``xpdl.callbacks``.
    backend : str, Backend or None, default None
        Where to compute, as for ``xpdl.backend``; None: where X is.
    inputs : Scaling or None, default None
        What is done to X before the first layer, see ``xpdl.Scaling``.
    loss : str or Loss, default "squared_error"
        "squared_error" is half the squared error; the name of another loss of values, or an ``xpdl.Loss``.

    Attributes
    ----------
    network_, theta_, history_, n_iter_, t_
        See ``xpdl.sklearn.attributes.Attributes``.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.sklearn import NetworkRegressor
    >>> x = np.linspace(0.0, 1.0, 20).reshape(20, 1)
    >>> model = NetworkRegressor(8, "tanh", learning_rate_init=0.05, max_iter=2000, random_state=0).fit(x, 3 * x[:, 0])
    >>> model.score(x, 3 * x[:, 0]) > 0.95
    True
    """

    _: KW_ONLY
    loss: str | Loss = "squared_error"

    _parameter_constraints: ClassVar[dict[str, Any]] = NetworkEstimator._parameter_constraints | {
        "loss": [StrOptions(set(REGRESSION)), Loss],
    }

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch.

        Parameters
        ----------
        X : array_like
            The samples (n, d).
        y : array_like
            The targets (n,) or (n, k).
        sample_weight : array_like, optional
            How many times each sample counts (n,).

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
        >>> model = NetworkRegressor(4, random_state=0)
        >>> model = model.partial_fit([[0.0], [1.0]], [0.0, 2.0]).partial_fit([[2.0], [3.0]], [4.0, 6.0])
        >>> len(model.history_), model.t_
        (2, 4)
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : array_like
            The samples (n, d).

        Returns
        -------
        array
            Values (n,), or (n, k) for several outputs.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor((), learning_rate_init=0.1, tol=1e-6, random_state=0)
        >>> model.fit([[0.0], [1.0]], [0.0, 2.0]).predict([[0.5]]).round(1)
        array([1.])
        """
        values = self._outputs(X, "predict", Network.predict)
        return values if self.n_outputs_ > 1 else values[:, 0]

    def _targets(self, y: np.ndarray, known: bool) -> np.ndarray:
        return y

    def _output(self, y: np.ndarray) -> tuple[str | Loss, int]:
        return REGRESSION.get(self.loss, self.loss), 1 if y.ndim == 1 else y.shape[1]

    def _score_of(self, held: Samples) -> Score:
        """Return R2 of all outputs together, 1 - cost / cost of the mean; for other losses the negative cost."""
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
