"""Losses: the response of the output layer and its cost, as data.  No other part of xpdl knows a loss by its name.

A loss is a set of functions of the logits z (..., n, k), the pre-activations of the last layer:

    y  = encode(labels, (n, k), dtype)     targets (n, k)
    s  = scores(z)                         the common part of response and cost: log p for softmax, else z itself
    p  = response(s)                       probabilities, or values                                (..., n, k)
    cost(s, y)                             the cost of each sample                                 (..., n)
    derivative(s, p, y)                    d cost / d z of each sample, p - y unless said otherwise (..., n, k)

The backward pass starts from dz = derivative / n.  p - y is right for the canonical link of an exponential family
(McCullagh & Nelder 1989): softmax, sigmoid and identity with the costs below.  Working on logits keeps everything
finite: no logarithm is taken of a probability that was rounded to 0.

A new loss is one ``Loss`` with a name in ``LOSSES``; pass your own to ``Network(output=...)``.  A loss with a number,
as the delta of Huber's, is one function in ``FAMILIES``: its names are "huber:1.5" and so on.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple

from xpdl import checks
from xpdl.activations import identity, positive, sigmoid, softplus
from xpdl.arrays import Array, device, namespace, real
from xpdl.pickling import name_of, named, picklable

SMALLEST = 2.0**-126
"""The smallest number that has all its digits in float32."""

ROUNDED = 1e-5
"""The sum of probabilities may differ from 1 by this much."""


def _columns(y: Array, shape: tuple[int, int], dtype: object) -> Array:
    """Targets (n, k); for a single output, (n,) is accepted, too."""
    n, k = shape
    if y.shape != shape and not (k == 1 and y.shape == (n,)):
        raise ValueError(f"y must have shape ({n}, {k}){f' or ({n},)' if k == 1 else ''}, got {tuple(y.shape)}")
    xp = namespace(y)
    return xp.reshape(xp.astype(y, dtype, copy=False), shape)


def _canonical(s: Array, p: Array, y: Array) -> Array:
    return p - y


def _no_classes(k: int) -> int:
    return 0


class Loss(NamedTuple):
    """The response of the output layer, the cost of each sample, and the functions that depend on their choice.

    Only ``cost`` must be given: the defaults describe a cost of values, p = z, whose derivative is p - y.  All
    functions take arrays of any library, and arrays with more leading axes: sum over ``axis=-1``.  They must depend on
    their arguments alone and must not change them.  ``check_network`` tells whether ``derivative`` is the derivative of
    ``cost``; it is most exact if ``scores`` and ``cost`` accept complex z, as activations do.

    Parameters
    ----------
    cost : callable
        cost(s, y) -> (..., n): the cost of each sample, from s (..., n, k) and the targets y (n, k).
    derivative : callable, default p - y
        derivative(s, p, y) -> (..., n, k): d cost / d z, as a new array in the dtype of s.
    response : callable, default identity
        response(s) -> p (..., n, k): the result of ``Network.predict_proba``.
    scores : callable, default identity
        scores(z) -> s, the argument of ``cost`` and ``response``.
    encode : callable, default ``y`` itself
        encode(y, (n, k), dtype) -> (n, k): labels as targets.  Targets (n, k) stay unchanged.  A wrong shape raises
        ``ValueError``.
    accepts : callable or None, default None
        accepts(y, k) -> (good, expected): which entries, or rows, of finite y are allowed for k outputs, and a text
        that says what is allowed.  It is called once, on the host.  None: any number is allowed.
    decide : callable or None, default None
        decide(p) -> labels, for p and for targets.  None: the outputs are values, and there is no accuracy.
    classes : callable, default 0
        classes(k) -> the number of classes that k outputs tell apart: the largest logit decides, or z > 0 for a single
        output, whose p is given back as (n,).  0 if they tell none apart.  Classes need ``decide``.
    near_one : bool, default True
        Whether p and the cost are computed from numbers near 1, such as 1 + exp(z).  Then their rounding errors are
        as large for small results as for 1, and checks allow for them.
    error_variance : callable or None, default None
        error_variance(p, v) -> (n, k): the variance of the error of ``derivative``, if that of z is v, in units of the
        rounding unit squared.  It is for a cost without kinks.  None: ``check_network`` finds errors and kinks from the
        cost itself.
    activation : str, default "identity"
        The name of the response for the attribute ``out_activation_`` of the scikit-learn estimators.
    log_response : callable or None, default None
        log_response(s) -> log p, if the outputs are probabilities; for a single output that tells two classes apart,
        log_response(-s) must be log(1 - p).  None: the logarithm of p, or of ``SMALLEST`` where p is lower.
    per_output : bool, default False
        Whether the cost is the sum of a cost for each output, which depends on this output alone.  Then weights may be
        (n, k), one for each output of each sample.

    Examples
    --------
    The loss of Huber (1964): quadratic for small errors e, linear for large ones.

    >>> import numpy as np
    >>> import xpdl
    >>> def clipped(z, y):
    ...     return np.clip(z - y, -1, 1)
    >>> def cost(z, y):
    ...     return np.sum(clipped(z, y) * (z - y - clipped(z, y) / 2), axis=-1)
    >>> huber = xpdl.Loss(cost, lambda z, p, y: clipped(z, y), near_one=False)
    >>> net = xpdl.Network([2, 3, 1], output=huber)
    >>> x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, 9.0])
    >>> xpdl.check_network(net, net.initialize(), x, y).verdict
    'PASS'
    """

    cost: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array, Array], Array] = _canonical
    response: Callable[[Array], Array] = identity.forward
    scores: Callable[[Array], Array] = identity.forward
    encode: Callable[[Array, tuple[int, int], object], Array] = _columns
    accepts: Callable[[Array, int], tuple[Array, str]] | None = None
    decide: Callable[[Array], Array] | None = None
    classes: Callable[[int], int] = _no_classes
    near_one: bool = True
    error_variance: Callable[[Array, Array], Array] | None = None
    activation: str = "identity"
    log_response: Callable[[Array], Array] | None = None
    per_output: bool = False

    def predict(self, z: Array) -> Array:
        """Return the response p of logits.

        Parameters
        ----------
        z : array (..., n, k)
            Logits.

        Returns
        -------
        array (..., n, k)
            Probabilities, or values.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.losses.binary.predict(np.array([[0.0]]))
        array([[0.5]])
        """
        return self.response(self.scores(z))

    def log_predict(self, z: Array, *, complement: bool = False) -> Array:
        """Return the logarithm of the response, from the logits: it is finite where the response rounds to 0.

        Parameters
        ----------
        z : array (..., n, k)
            Logits.
        complement : bool, default False
            Whether to return log(1 - p), for a single output that tells two classes apart.

        Returns
        -------
        array (..., n, k)
            log p.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.losses.binary.log_predict(np.array([[-1e4, 0.0]])).round(3).tolist()
        [[-10000.0, -0.693]]
        """
        if self.log_response is not None:
            return self.log_response(self.scores(-z if complement else z))
        p = 1 - self.predict(z) if complement else self.predict(z)
        xp = namespace(p)
        return xp.log(xp.maximum(p, SMALLEST))

    def value(self, z: Array, y: Array, weight: Array | None = None) -> Array:
        """Return the cost of each sample.

        Parameters
        ----------
        z : array (..., n, k)
            Logits.
        y : array (n, k)
            Targets, as ``encode`` gives them.
        weight : array (n, k), optional
            How many times each output counts in the cost of its sample.  Weights (n,) do not change these costs.

        Returns
        -------
        array (..., n)
            The costs.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.losses.linear.value(np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]]))
        array([2.])
        """
        return self._value(self.scores(z), y, weight)

    def _value(self, s: Array, y: Array, weight: Array | None) -> Array:
        if not of_outputs(weight, y):
            return self.cost(s, y)
        each = self.cost(s[..., None], y[..., None])
        return namespace(each).sum(each * weight, axis=-1)

    def delta(self, z: Array, y: Array, weight: Array | None = None) -> Array:
        """Return dz, the derivative of the mean cost with respect to the logits.

            dz = derivative / n,    with weights derivative * weight / sum of the weights

        Parameters
        ----------
        z : array (..., n, k)
            Logits.
        y : array (n, k)
            Targets, as ``encode`` gives them.
        weight : array (n,) or (n, k), optional
            How many times each sample counts, or each of its outputs.

        Returns
        -------
        array (..., n, k)
            dz.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.losses.linear.delta(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
        array([[1.],
               [0.]])
        """
        return self.value_and_delta(z, y, weight)[1]

    def value_and_delta(
        self, z: Array, y: Array, weight: Array | None = None, n: int | Array | None = None
    ) -> tuple[Array, Array]:
        """Return ``value`` and ``delta``, computed from the same scores.

        Parameters
        ----------
        z : array (..., n, k)
            Logits.
        y : array (n, k)
            Targets, as ``encode`` gives them.
        weight : array (n,) or (n, k), optional
            How many times each sample counts, or each of its outputs.
        n : int or array (...), optional
            The divisor of dz; default the number of samples, or the sum of their weights.

        Returns
        -------
        value : array (..., n)
            The costs, as ``value`` returns them.
        delta : array (..., n, k)
            dz.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.losses.linear.value_and_delta(np.array([[3.0]]), np.array([[1.0]]))
        (array([2.]), array([[2.]]))
        """
        s = self.scores(z)
        dz = self.derivative(s, self.response(s), y)
        if weight is not None:
            dz *= weight if of_outputs(weight, y) else weight[..., None]
        dz /= by_network(count(z.shape[-2], weight, y.ndim - 2) if n is None else n)
        return self._value(s, y, weight), dz

    def outputs(self, classes: int) -> int:
        """Return the smallest number of outputs that can tell this many classes apart.

        Parameters
        ----------
        classes : int
            The number of classes.

        Returns
        -------
        int
            The number of outputs; 1 if no number of them can.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.losses.softmax.outputs(10), xpdl.losses.binary.outputs(2)
        (10, 1)
        """
        return next((k for k in range(1, classes + 1) if self.classes(k) >= classes), 1)


def count(n: int, weight: Array | None, leading: int = 0) -> int | Array:
    """Return the number of n samples, each counted by its weight.

    Parameters
    ----------
    n : int
        The number of samples.
    weight : array (..., n) or (..., n, k) or None
        Their weights, or those of their outputs; None: all are 1.
    leading : int, default 0
        The number of leading axes of the weights.

    Returns
    -------
    int or array (...)
        n, or the sum of the weights; for weights (n, k) their sum divided by k.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.losses.count(3, None)
    3
    >>> float(xpdl.losses.count(3, np.array([1.0, 0.0, 2.0])))
    3.0
    """
    if weight is None:
        return n
    total = namespace(weight).sum(weight, axis=tuple(range(leading, weight.ndim)))
    return total if weight.ndim == leading + 1 else total / weight.shape[-1]


def of_outputs(weight: Array | None, y: Array) -> bool:
    """Return whether weights are those of the outputs, (..., n, k), beside targets y (..., n, k).

    Parameters
    ----------
    weight : array (..., n) or (..., n, k) or None
        The weights.
    y : array (..., n, k)
        The targets, with the same leading axes.

    Returns
    -------
    bool
        False for weights (..., n) and for None.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.losses.of_outputs(np.ones(3), np.ones((3, 2)))
    False
    """
    return weight is not None and weight.ndim == y.ndim


def by_network(n: Any) -> Any:
    """Return one number for each network, (K,), in a shape that matrices (K, n, k) can be divided by.

    Parameters
    ----------
    n : int or array (...)
        A number, or one for each network.

    Returns
    -------
    int or array (..., 1, 1)
        A number stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.losses.by_network(3), xpdl.losses.by_network(np.ones(4)).shape
    (3, (4, 1, 1))
    """
    return n[..., None, None] if getattr(n, "ndim", 0) else n


# Softmax and cross-entropy


def _one_hot(y: Array, shape: tuple[int, int], dtype: object) -> Array:
    """Labels (n,) or (n, 1) in 0..k-1 -> targets (n, k); one-hot or probability rows (n, k) stay unchanged.

    Any other label gives a row of NaN, so the cost is NaN: raising an error would make the device wait.
    """
    n, k = shape
    xp = namespace(y)
    if y.shape not in ((n,), (n, 1), shape):
        raise ValueError(f"y must be labels ({n},) or one-hot rows ({n}, {k}), got shape {tuple(y.shape)}")
    y = xp.astype(y, dtype, copy=False)
    if y.shape == shape and k > 1:
        return y
    if y.shape == shape:  # one class: its label is 0, its one-hot row is 1
        y = y * (1 - y)
    hit = xp.reshape(y, (n, 1)) == xp.arange(k, dtype=dtype, device=device(y))
    return xp.where(xp.any(hit, axis=1, keepdims=True), xp.astype(hit, dtype), math.nan)


def _labels(y: Array, k: int) -> tuple[Array, str]:
    xp = namespace(y)
    if y.ndim == 2 and y.shape[1] == k > 1:
        total = xp.sum(y, axis=1)
        one = (total >= 1 - ROUNDED) & (total <= 1 + ROUNDED)
        return one & xp.all(y >= 0, axis=1), "labels or one-hot rows that sum to 1"
    return (y == xp.round(y)) & (y >= 0) & (y < k), f"labels 0..{k - 1} for {k} outputs"


def _log_softmax(z: Array) -> Array:
    xp = namespace(z)
    s = z - xp.max(real(z), axis=-1, keepdims=True)
    s -= xp.log(xp.sum(xp.exp(s), axis=-1, keepdims=True))
    return s


def _exp(s: Array) -> Array:
    return namespace(s).exp(s)


def _cross_entropy(s: Array, y: Array) -> Array:
    return -namespace(s).sum(y * s, axis=-1)


def _largest(p: Array) -> Array:
    return namespace(p).argmax(p, axis=-1)


def _one_each(k: int) -> int:
    return k


def _softmax_error(p: Array, v: Array) -> Array:
    """dp_j = p_j (dz_j - sum_k p_k dz_k); p = exp(log p) amplifies the rounding error of log p."""
    total = namespace(p).sum(p * p * v, axis=-1, keepdims=True)
    return p * p * (total + (1 - 2 * p) * v) + p


softmax = Loss(
    _cross_entropy,
    response=_exp,
    scores=_log_softmax,
    encode=_one_hot,
    accepts=_labels,
    decide=_largest,
    classes=_one_each,
    error_variance=_softmax_error,
    activation="softmax",
    log_response=identity.forward,
)
"""p_j = exp(z_j) / sum_i exp(z_i), cost = -sum_j y_j log p_j (Bridle 1990), after a shift of z by max Re z."""


# Sigmoid and binary cross-entropy


def _probability(y: Array, k: int) -> tuple[Array, str]:
    xp = namespace(y)
    labels = xp.all(y == xp.round(y))
    return (y >= 0) & (y <= 1), "0 or 1" if labels else "0 or 1, or a probability between them"


def _log_sigmoid(z: Array) -> Array:
    return -softplus.forward(-z)


def _binary_cross_entropy(z: Array, y: Array) -> Array:
    return namespace(z).sum(softplus.forward(z) - y * z, axis=-1)


def _above_half(p: Array) -> Array:
    xp = namespace(p)
    return xp.astype(p > 0.5, xp.int32)


def _two_by_one(k: int) -> int:
    return 2 if k == 1 else 0


def _sigmoid_error(p: Array, v: Array) -> Array:
    """dp = p (1 - p) dz; a sigmoid is exact to u, not to u p."""
    return p * p * (1 - p) * (1 - p) * v + 1


binary = Loss(
    _binary_cross_entropy,
    response=sigmoid.forward,
    accepts=_probability,
    decide=_above_half,
    classes=_two_by_one,
    error_variance=_sigmoid_error,
    activation="logistic",
    log_response=_log_sigmoid,
    per_output=True,
)
"""p = 1 / (1 + exp(-z)), cost = -sum_j (y_j log p_j + (1 - y_j) log(1 - p_j)) = sum_j log(1 + exp(z_j)) - y_j z_j."""


# Values and half their squared error


def _half_squared_error(z: Array, y: Array) -> Array:
    e = z - y
    return 0.5 * namespace(z).sum(e * e, axis=-1)


def _logit_error(p: Array, v: Array) -> Array:
    return v


linear = Loss(_half_squared_error, near_one=False, error_variance=_logit_error, per_output=True)
"""p = z, cost = 1/2 sum_j (z_j - y_j)^2."""


# Counts


def _at_least_zero(y: Array, k: int) -> tuple[Array, str]:
    return y >= 0, "at least 0"


def _poisson_cost(z: Array, y: Array) -> Array:
    xp = namespace(z)
    return xp.sum(xp.exp(z) - y * z, axis=-1)


def _poisson_error(p: Array, v: Array) -> Array:
    """dp = p dz, and p = exp(z) is rounded."""
    return p * p * (v + 1)


poisson = Loss(
    _poisson_cost,
    response=_exp,
    accepts=_at_least_zero,
    near_one=False,
    error_variance=_poisson_error,
    activation="exp",
    per_output=True,
)
"""p = exp(z), the expected count, cost = sum_j p_j - y_j log p_j: the negative log-likelihood without log y!."""


# Values and costs that grow like the error itself


def _sign(e: Array) -> Array:
    """-1, 0 or 1 for the real part."""
    return positive(e) - positive(-e)


def _absolute_error(z: Array, y: Array) -> Array:
    e = z - y
    return namespace(z).sum(e * _sign(e), axis=-1)


def _absolute_derivative(s: Array, p: Array, y: Array) -> Array:
    return _sign(s - y)


absolute = Loss(_absolute_error, _absolute_derivative, near_one=False, per_output=True)
"""p = z, cost = sum_j |z_j - y_j|, with derivative 0 at 0: the best z is the median of y (Laplace 1774)."""


@picklable
def huber(delta: float = 1.0) -> Loss:
    """Return the loss of Huber (1964): quadratic for small errors, linear for large ones.

        cost = sum_j c_j (e_j - c_j / 2),    e = z - y,    c = e limited to -delta .. delta

    That is e^2 / 2 up to delta, and delta (|e| - delta / 2) above.

    Parameters
    ----------
    delta : float, default 1.0
        The error from which on the cost is linear, greater than 0.

    Returns
    -------
    Loss
        The loss; its name is "huber:" and the number.

    Raises
    ------
    ValueError, TypeError
        If delta is not a number greater than 0.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.losses.huber(2.0).value(np.array([[1.0], [5.0]]), np.array([[0.0], [0.0]]))
    array([0.5, 8. ])
    """
    delta = checks.real("delta", delta)
    if delta == 0:
        raise ValueError("delta must be greater than 0, got 0")

    def clip(e: Array) -> Array:
        above, below = positive(e - delta), positive(-e - delta)
        return e * (1 - above - below) + delta * (above - below)

    def cost(z: Array, y: Array) -> Array:
        e = z - y
        c = clip(e)
        return namespace(z).sum(c * (e - 0.5 * c), axis=-1)

    return Loss(cost, lambda s, p, y: clip(s - y), near_one=False, per_output=True)


@picklable
def quantile(q: float = 0.5) -> Loss:
    """Return the pinball loss, whose best z is the q-quantile of y (Koenker & Bassett 1978).

        cost = sum_j q max(y_j - z_j, 0) + (1 - q) max(z_j - y_j, 0)

    Parameters
    ----------
    q : float, default 0.5
        The quantile, between 0 and 1.

    Returns
    -------
    Loss
        The loss; its name is "quantile:" and the number.

    Raises
    ------
    ValueError, TypeError
        If q is not a number between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.losses.quantile(0.9).value(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])).round(6)
    array([0.9, 0.1])
    """
    q = checks.real("q", q, below=1.0)
    if q == 0:
        raise ValueError("q must be greater than 0, got 0")

    def slope(e: Array) -> Array:
        return (1 - q) * positive(e) - q * positive(-e)

    def cost(z: Array, y: Array) -> Array:
        e = z - y
        return namespace(z).sum(e * slope(e), axis=-1)

    return Loss(cost, lambda s, p, y: slope(s - y), near_one=False, per_output=True)


LOSSES: dict[str, Loss] = {
    "softmax": softmax,
    "sigmoid": binary,
    "linear": linear,
    "poisson": poisson,
    "absolute": absolute,
    "huber": huber(),
    "quantile": quantile(),
}
"""The losses that have a name."""

FAMILIES: dict[str, Callable[[float], Loss]] = {"huber": huber, "quantile": quantile}
"""The losses whose name may have a number, as "huber:1.5"."""


def by_name(name: str) -> Loss:
    """Return the loss of this name.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``; or a key of ``FAMILIES``, a colon and a number.

    Returns
    -------
    Loss
        The loss.

    Raises
    ------
    ValueError, TypeError
        If there is no such loss.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.losses.by_name("huber:1.5") == xpdl.losses.huber(1.5)
    True
    """
    return named("output", name, LOSSES, FAMILIES)


def name(loss: Loss) -> str | None:
    """Return the name of a loss that is one of ``LOSSES`` or of ``FAMILIES``, else None.

    Parameters
    ----------
    loss : Loss
        The loss.

    Returns
    -------
    str or None
        The name for ``by_name``.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.losses.name(xpdl.losses.huber(1.5)), xpdl.losses.name(xpdl.losses.softmax)
    ('huber:1.5', 'softmax')
    """
    return name_of(loss, LOSSES, FAMILIES)
