"""The network: forward propagation, cost and gradient as pure functions of theta.

    inputs     x' = (x - shift) * scale, see scaling.py
    forward    z = x w + b,   a = f(z);   a * mask is the x of the next layer, and the last z are the logits
    backward   dw = x^T dz,   db = sum of dz over the samples,   da = dz w^T * mask;   dz = f'(z) da one layer down

The backward pass starts from the dz of the loss, see losses.py.  Rows of x are samples.  theta may have leading axes,
(..., P): then a whole stack of parameter vectors goes through in one pass; x, y, masks and weights are the same for all
of them, or have the same leading axes.  Source: Rumelhart, Hinton & Williams 1986.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
import math
from typing import Any, NamedTuple

from xpdl import activations, checks, losses
from xpdl.activations import Activation, identity
from xpdl.arrays import Array, namespace, real
from xpdl.initializers import INITIALIZERS, initialize
from xpdl.layout import Layout
from xpdl.losses import Loss, by_network, count, of_outputs
from xpdl.scaling import Scaling, as_numbers, check_scaling

Masks = Sequence[Array | None]


class Layer(NamedTuple):
    """The input and the results of one layer in a forward pass."""

    x: Array  # (n, n_in) its input
    w: Array  # (n_in, n_out)
    z: Array  # (n, n_out) before the activation
    a: Array  # (n, n_out) after it, before dropout


@dataclass(frozen=True)
class Network:
    """A dense network: the sizes of its layers, and the functions between them.

    It is a configuration and holds no parameters.  The parameters are one vector theta (P,), an argument of the
    methods.

    Parameters
    ----------
    sizes : sequence of int
        The sizes of the layers [d, ..., k], input first, at least two.
    hidden : str, Activation or sequence of them, default "relu"
        The activation of the hidden layers: "relu", "tanh", "sigmoid", "leaky_relu" or "leaky_relu:0.2", "elu",
        "softplus", "gelu", "silu", "identity", or an ``xpdl.Activation`` of your own; or one for each hidden layer.
    output : str or Loss, default "softmax"
        The output layer with its cost: "softmax" for labels 0..k-1 (n,) or probabilities (n, k); "sigmoid" for labels 0
        and 1, or probabilities, (n,) or (n, k); for values (n, k) "linear", "absolute", "huber" or "huber:1.5",
        "quantile:0.9"; "poisson" for counts (n, k); or an ``xpdl.Loss``, see ``xpdl.losses``.
    init : str or float, default "he"
        The standard deviation of the initial weights: "he", "xavier", "lecun", or a number.
    l2 : float, default 0.0
        Adds l2 / (2 n) * sum of w^2 to the mean cost of n samples.  Biases are not decayed.
    dropout : float or sequence of float, default 0.0
        The probability of dropping a hidden unit, one number or one for each hidden layer (Srivastava et al. 2014).
    inputs : Scaling or None, default None
        What is done to x before the first layer, for example ``xpdl.Scaling.images`` for pixels 0..255; see
        ``xpdl.Scaling``.  None: x is used as it is, whatever its dtype.

    Raises
    ------
    TypeError, ValueError
        If an option is wrong; the message gives its name, its value and what was expected.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([2, 3, 2], hidden="tanh")
    >>> theta = net.initialize(seed=0, dtype="float64")
    >>> theta.shape, net.names
    ((17,), ['W1', 'W2', 'b1', 'b2'])
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> cost, grad = net.loss_and_grad(theta, x, y)
    >>> cost.shape, grad.shape
    ((), (17,))
    >>> net.predict(theta, x).shape
    (2,)
    """

    sizes: Sequence[int]
    _: KW_ONLY
    hidden: str | Activation | Sequence[str | Activation] = "relu"
    output: str | Loss = "softmax"
    init: str | float = "he"
    l2: float = 0.0
    dropout: float | Sequence[float] = 0.0
    inputs: Scaling | None = None

    def __post_init__(self) -> None:
        """Check every field, and turn numbers of any library into plain ones."""
        sizes = _sizes(self.sizes)
        check_scaling("inputs", self.inputs, sizes[0])
        named = isinstance(self.init, str)
        plain = {
            "hidden": _hidden(self.hidden, len(sizes) - 2),
            "output": _output(self.output),
            "sizes": sizes,
            "init": checks.choice("init", self.init, INITIALIZERS) if named else checks.real("init", self.init),
            "l2": checks.real("l2", self.l2),
            "dropout": _dropout(self.dropout, len(sizes) - 2),
        }
        for name in plain:
            object.__setattr__(self, name, plain[name])

    @cached_property
    def layout(self) -> Layout:
        """The place of each parameter in theta.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 1]).layout.offsets  # where W1, W2, b1 and b2 begin, and the end
        [0, 6, 9, 12, 13]
        """
        return Layout(tuple(self.sizes))

    @property
    def size(self) -> int:
        """The number of parameters, P.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 2]).size  # 2 * 3 + 3 * 2 weights, 3 + 2 biases
        17
        """
        return self.layout.size

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the parameters, in the order of theta: [(n0, n1), ..., (n1,), ...].

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 1]).shapes
        [(2, 3), (3, 1), (3,), (1,)]
        """
        return self.layout.shapes

    @property
    def names(self) -> list[str]:
        """The names of the parameters: ["W1", ..., "WL", "b1", ..., "bL"].

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 1]).names
        ['W1', 'W2', 'b1', 'b2']
        """
        return self.layout.names

    @property
    def drops(self) -> tuple[float, ...]:
        """The dropping probability of each hidden layer.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 4, 3, 1], dropout=0.5).drops
        (0.5, 0.5)
        """
        return tuple(self.dropout) if isinstance(self.dropout, Sequence) else (self.dropout,) * (len(self.sizes) - 2)

    @property
    def activations(self) -> list[Activation]:
        """The activation of each hidden layer.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 1], hidden="tanh").activations == [xpdl.activations.tanh]
        True
        """
        one = isinstance(self.hidden, str | Activation)
        each: Sequence[Any] = [self.hidden] * (len(self.sizes) - 2) if one else self.hidden
        return [f if isinstance(f, Activation) else activations.by_name(f) for f in each]

    @property
    def head(self) -> Loss:
        """The response and the cost of the output layer.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Network([2, 3, 1], output="linear").head is xpdl.losses.linear
        True
        """
        return self.output if isinstance(self.output, Loss) else losses.by_name(self.output)

    def initialize(self, seed: int = 0, dtype: str = "float32") -> Array:
        """Draw a new theta: weights are normal with the standard deviation of ``init``, biases are 0.

        Parameters
        ----------
        seed : int, default 0
            The seed, in [0, 2**64).
        dtype : str, default "float32"
            "float32" or "float64"; in float32 the weights are those of float64, rounded.

        Returns
        -------
        numpy.ndarray (P,)
            theta, the same for every backend.

        Raises
        ------
        TypeError, ValueError
            If the seed or the dtype is wrong.

        Examples
        --------
        >>> import xpdl
        >>> theta = xpdl.Network([2, 3, 2]).initialize(seed=1)
        >>> theta.shape, theta.dtype.name
        ((17,), 'float32')
        >>> theta[-5:].tolist()  # the biases
        [0.0, 0.0, 0.0, 0.0, 0.0]
        """
        return initialize(self.layout, self.init, seed, checks.float_dtype("dtype", dtype))

    def unpack(self, theta: Array) -> list[tuple[Array, Array]]:
        """Split theta into the parameters of the layers.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.

        Returns
        -------
        list of (array (..., n_in, n_out), array (..., n_out))
            The weights w and the biases b of each layer, views of theta where the library has them.

        Raises
        ------
        ValueError
            If the last axis of theta does not have P entries.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> [(w, b)] = xpdl.Network([2, 1]).unpack(np.array([1.0, 2.0, 3.0]))
        >>> w.tolist(), b.tolist()
        ([[1.0], [2.0]], [3.0])
        """
        checks.last_axis("theta", theta, self.size)
        return self.layout.unpack(theta)

    def pack(self, parameters: Sequence[tuple[Array, Array]]) -> Array:
        """Join the parameters of the layers: the inverse of ``unpack``.

        Parameters
        ----------
        parameters : sequence of (array (..., n_in, n_out), array (..., n_out))
            The weights w and the biases b of each layer.

        Returns
        -------
        array (..., P)
            theta, a new array.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.Network([2, 1]).pack([(np.array([[1.0], [2.0]]), np.array([3.0]))])
        array([1., 2., 3.])
        """
        return self.layout.pack(parameters)

    def forward(self, theta: Array, x: Array, masks: Masks | None = None) -> list[Layer]:
        """Return the input and the results of each layer.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d) or (..., n, d)
            Samples, numbers of any dtype, as they are before the scaling of ``inputs``: the same for all theta, or with
            the leading axes of theta.
        masks : sequence of array (n, units) or None, optional
            A dropout mask for each hidden layer, already scaled by 1 / (1 - p), or None for a layer without dropout;
            they may have the leading axes of x.

        Returns
        -------
        list of Layer
            x, w, z and a of each layer; the last z are the logits.

        Raises
        ------
        TypeError, ValueError
            If the arrays are of several libraries, or if a shape is wrong.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([2, 1], output="linear")
        >>> [layer] = net.forward(np.array([1.0, 2.0, 3.0]), np.array([[10.0, 100.0]]))
        >>> layer.z  # 1 * 10 + 2 * 100 + 3
        array([[213.]])
        """
        checks.one_namespace(theta=theta, x=x)
        checks.rows("x", x, self.sizes[0], leading=theta.shape[:-1])
        if masks is None:
            masks = [None] * (len(self.sizes) - 2)
        _check_masks(masks, x, self.sizes[1:-1])
        layers = []
        x = as_numbers(x, theta.dtype) if self.inputs is None else self.inputs(x, theta.dtype)
        for (w, b), f, mask in zip(self.unpack(theta), [*self.activations, identity], [*masks, None], strict=True):
            z = product(x, w)
            z += b[..., None, :]
            a = f.forward(z)
            layers.append(Layer(x, w, z, a))
            x = a if mask is None else a * mask
        return layers

    def backward(
        self, layers: Sequence[Layer], dz: Array, masks: Masks | None = None, n: int | Array | None = None
    ) -> Array:
        """Return the gradient of the mean cost with its L2 term, by backward propagation.

        Parameters
        ----------
        layers : sequence of Layer
            The result of ``forward``.
        dz : array (..., n, k)
            The derivative of the mean cost with respect to the logits, from ``Loss.delta``.
        masks : sequence of array (n, units) or None, optional
            The dropout masks of the forward pass.
        n : int or array (...), optional
            The divisor of the L2 term; default the number of samples.

        Returns
        -------
        array (..., P)
            The gradient with respect to theta.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([2, 1], output="linear")
        >>> layers = net.forward(np.array([1.0, 2.0, 3.0]), np.array([[10.0, 100.0]]))
        >>> net.backward(layers, np.array([[1.0]]))  # the gradient of z
        array([ 10., 100.,   1.])
        """
        xp = namespace(dz)
        grads = []
        for l in reversed(range(len(layers))):
            x, w, _, _ = layers[l]
            dw = product(xp.matrix_transpose(x), dz)
            if self.l2:
                dw += (self.l2 / by_network(dz.shape[-2] if n is None else n)) * w
            grads.append((dw, xp.sum(dz, axis=-2)))
            if l > 0:
                dz = self._before(layers, l, dz, None if masks is None else masks[l - 1])
        return self.layout.pack(grads[::-1])

    def _before(self, layers: Sequence[Layer], l: int, dz: Array, mask: Array | None = None) -> Array:
        """The dz of the layer before layer l, from that of layer l."""
        da = dz @ namespace(dz).matrix_transpose(layers[l].w)
        if mask is not None:
            da *= mask
        return self.activations[l - 1].backward(da, layers[l - 1].z, layers[l - 1].a)

    def loss(self, theta: Array, x: Array, y: Array, masks: Masks | None = None, weight: Array | None = None) -> Array:
        """Return the mean cost of the samples plus the L2 term.

            sum_i weight_i cost_i / n + l2 / (2 n) * sum of w^2,   n = sum_i weight_i

        Weights (n, k) are those of the outputs: sum_ij weight_ij cost_ij / n with n = sum_ij weight_ij / k.  A weight 0
        leaves an output out, as where its target is missing.

        Labels and weights are not checked here, because a check would make the device wait; ``train`` checks them.  A
        wrong label gives NaN, and so do weights that are all 0.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.
        y : array (n,) or (n, k)
            Labels or values, as the output layer takes them.
        masks : sequence of array (n, units) or None, optional
            Dropout masks, as for ``forward``.
        weight : array (n,) or (n, k), optional
            How many times each sample counts, or each of its outputs; default once.

        Returns
        -------
        array (...)
            The cost: a 0-d array for theta (P,).

        Raises
        ------
        TypeError, ValueError
            If the arrays are of several libraries, or if a shape is wrong.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 1], output="linear")
        >>> x, y = np.array([[3.0]]), np.array([[5.0]])
        >>> float(net.loss(np.array([2.0, 1.0]), x, y))  # (2 * 3 + 1 - 5)^2 / 2
        2.0
        """
        z, y, weight = self.forward(theta, x, masks)[-1].z, self.targets(theta, x, y), self._weight(theta, x, weight)
        value, n = self.head.value(z, y, weight), count(x.shape[-2], weight, x.ndim - 2)
        return self._mean(value, theta, None if of_outputs(weight, y) else weight, n)

    def loss_and_grad(
        self,
        theta: Array,
        x: Array,
        y: Array,
        masks: Masks | None = None,
        weight: Array | None = None,
        *,
        n: int | Array | None = None,
    ) -> tuple[Array, Array]:
        """Return ``loss`` and its gradient with respect to theta, by backward propagation.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.
        y : array (n,) or (n, k)
            Labels or values, as the output layer takes them.
        masks : sequence of array (n, units) or None, optional
            Dropout masks, as for ``forward``.
        weight : array (n,) or (n, k), optional
            How many times each sample counts, or each of its outputs; default once.
        n : int or array (...), optional
            The number of samples of the batch, if these are only a part of it.

        Returns
        -------
        cost : array (...)
            The cost, as ``loss`` returns it.
        gradient : array (..., P)
            The gradient of the cost.

        Raises
        ------
        TypeError, ValueError
            If the arrays are of several libraries, or if a shape is wrong.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 1], output="linear")
        >>> x, y = np.array([[3.0]]), np.array([[5.0]])
        >>> cost, grad = net.loss_and_grad(np.array([2.0, 1.0]), x, y)
        >>> float(cost), grad.tolist()
        (2.0, [6.0, 2.0])
        """
        layers, y, weight = self.forward(theta, x, masks), self.targets(theta, x, y), self._weight(theta, x, weight)
        n = count(x.shape[-2], weight, x.ndim - 2) if n is None else n
        value, dz = self.head.value_and_delta(layers[-1].z, y, weight, n)
        cost = self._mean(value, theta, None if of_outputs(weight, y) else weight, n)
        return cost, self.backward(layers, dz, masks, n)

    def predict_proba(self, theta: Array, x: Array) -> Array:
        """Return probabilities, or the values of an output that is not a classifier.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.

        Returns
        -------
        array (..., n, k)
            Probabilities or values; (..., n) for a single sigmoid.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 2])
        >>> net.predict_proba(np.zeros(net.size), np.array([[3.0]]))
        array([[0.5, 0.5]])
        """
        p = self.head.predict(self.forward(theta, x)[-1].z)
        return p[..., 0] if self.sizes[-1] == 1 and self.head.classes(1) == 2 else p

    def log_proba(self, theta: Array, x: Array) -> Array:
        """Return the logarithm of ``predict_proba``, from the logits: it is finite and right where p rounds to 0.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.

        Returns
        -------
        array (..., n, k)
            log p; (..., n) for a single sigmoid.

        Raises
        ------
        ValueError
            If the outputs are values, not probabilities.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 1], output="sigmoid")
        >>> net.log_proba(np.array([1.0, 0.0]), np.array([[-1000.0], [0.0]])).round(3).tolist()
        [-1000.0, -0.693]
        """
        if self.head.decide is None:
            raise ValueError(f"output {checks.shorten(self.output)} gives values, which are no probabilities")
        log_p = self.head.log_predict(self.forward(theta, x)[-1].z)
        return log_p[..., 0] if self.sizes[-1] == 1 and self.head.classes(1) == 2 else log_p

    def hidden_features(self, theta: Array, x: Array) -> Array:
        """Return the activations of the last hidden layer, as features for something else.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.

        Returns
        -------
        array (..., n, units)
            The input of the output layer; without a hidden layer, the scaled x.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([2, 3, 1])
        >>> net.hidden_features(net.initialize(dtype="float64"), np.eye(2)).shape
        (2, 3)
        """
        return self.forward(theta, x)[-1].x

    def input_gradient(self, theta: Array, x: Array, y: Array, weight: Array | None = None) -> Array:
        """Return the derivative of ``loss`` with respect to x.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.
        y : array (n,) or (n, k)
            Labels or values, as the output layer takes them.
        weight : array (n,) or (n, k), optional
            Weights, as for ``loss``.

        Returns
        -------
        array (..., n, d)
            The derivative of the mean cost; times n, it is that of each sample's own cost.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 1], output="linear")
        >>> net.input_gradient(np.array([2.0, 1.0]), np.array([[3.0]]), np.array([[5.0]]))  # (2 * 3 + 1 - 5) * 2
        array([[4.]])
        """
        layers, weight = self.forward(theta, x), self._weight(theta, x, weight)
        dz = self.head.delta(layers[-1].z, self.targets(theta, x, y), weight)
        for l in reversed(range(1, len(layers))):
            dz = self._before(layers, l, dz)
        dx = dz @ namespace(dz).matrix_transpose(layers[0].w)
        return dx if self.inputs is None else self.inputs.backward(dx, x)

    def predict(self, theta: Array, x: Array) -> Array:
        """Return the most probable label of each sample, or the values of an output that is not a classifier.

        Parameters
        ----------
        theta : array (..., P)
            The parameters.
        x : array (n, d)
            Samples, as for ``forward``.

        Returns
        -------
        array (..., n)
            Labels 0..k-1, or 0 and 1 for a single sigmoid; (..., n, k) of 0 and 1 for k sigmoids, and for values.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> theta = np.array([-1.0, 1.0, 0.0, 0.0])  # the logits are -x and x
        >>> xpdl.Network([1, 2]).predict(theta, np.array([[3.0], [-3.0]]))
        array([1, 0])
        """
        p = self.predict_proba(theta, x)
        return p if self.head.decide is None else self.head.decide(p)

    def targets(self, theta: Array, x: Array, y: Array) -> Array:
        """Return the labels as the loss needs them.

        Parameters
        ----------
        theta : array (..., P)
            The parameters, which have the dtype of the targets.
        x : array (n, d)
            Samples.
        y : array (n,) or (n, k)
            Their labels or values.

        Returns
        -------
        array (n, k)
            Targets, in the real dtype of theta.

        Raises
        ------
        TypeError, ValueError
            If x and y are of two libraries, or if the shape of y is wrong.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([1, 3])
        >>> net.targets(np.zeros(net.size), np.zeros((2, 1)), np.array([2, 0]))
        array([[0., 0., 1.],
               [1., 0., 0.]])
        """
        checks.one_namespace(x=x, y=y)
        dtype, rows = real(theta[..., :1]).dtype, x.shape[:-1]
        if len(rows) == 1:
            return self.head.encode(y, (*rows, self.sizes[-1]), dtype)
        if y.shape[: len(rows)] != rows:
            raise ValueError(f"y must hold a target for each of the samples {rows} of x, got shape {tuple(y.shape)}")
        xp, flat = namespace(y), (math.prod(rows), *y.shape[len(rows) :])
        encoded = self.head.encode(xp.reshape(y, flat), (flat[0], self.sizes[-1]), dtype)
        return xp.reshape(encoded, (*rows, self.sizes[-1]))

    def _weight(self, theta: Array, x: Array, weight: Array | None) -> Array | None:
        """The weights of the samples x as the loss needs them: (n,) or (n, k), in the real dtype of theta."""
        if weight is None:
            return None
        checks.one_namespace(x=x, weight=weight)
        self.check_weight("weight", weight, *x.shape[:-1])
        return namespace(weight).astype(weight, real(theta[..., :1]).dtype, copy=False)

    def check_weight(self, argument: str, weight: Array, *rows: int) -> None:
        """Check that weights are (n,), or (n, k) for a loss whose outputs may have weights of their own.

        Parameters
        ----------
        argument : str
            The name of the argument, for the message.
        weight : array
            The weights.
        *rows : int
            The number of samples, after leading axes if there are any.

        Raises
        ------
        ValueError
            If the shape is another.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> net = xpdl.Network([4, 2], output="linear")
        >>> net.check_weight("weight", np.ones((3, 2)), 3)
        """
        outputs = (*rows, self.sizes[-1])
        if weight.shape == rows or (self.head.per_output and weight.shape == outputs):
            return
        each = f" or {outputs}, one for each of its outputs" if self.head.per_output else ""
        raise ValueError(f"{argument} must have shape {rows}, one for each sample{each}, got {tuple(weight.shape)}")

    def _mean(self, value: Array, theta: Array, weight: Array | None, n: int | Array) -> Array:
        """The mean of value (..., n), with the weights of its samples, + l2 / (2 n) * sum of w^2."""
        xp = namespace(theta)
        cost = xp.sum(value if weight is None else value * weight, axis=-1) / n
        if self.l2:
            w = theta[..., : self.layout.n_weights]
            cost += (self.l2 / (2 * n)) * xp.sum(w * w, axis=-1)
        return cost


def product(x: Array, w: Array) -> Array:
    """Return x w; an x (n, d) that all networks share is multiplied by all their w (..., d, h) at once."""
    if x.ndim == w.ndim:
        return x @ w
    xp = namespace(x)
    beside = xp.reshape(xp.moveaxis(w, -2, 0), (x.shape[1], -1))  # (d, K h): many narrow products take longer
    z = xp.moveaxis(xp.reshape(x @ beside, (x.shape[0], *w.shape[:-2], w.shape[-1])), 0, -2)
    return xp.reshape(xp.reshape(z, (-1,)), z.shape)  # row by row in memory


def _hidden(hidden: Any, n_hidden: int) -> Any:
    """Check that this is one activation, or one for each hidden layer; those that have a name become their names."""
    if isinstance(hidden, str | Activation) or not isinstance(hidden, Sequence):
        return _activation(hidden)
    if len(hidden) != n_hidden:
        expected = f"one activation or one for each of {n_hidden} hidden layers"
        raise ValueError(f"hidden must be {expected}, got {len(hidden)}")
    return tuple(map(_activation, hidden))


def _activation(hidden: Any) -> str | Activation:
    """Check that this is an activation; one that has a name becomes its name."""
    if not isinstance(hidden, Activation):
        activations.by_name(hidden)
        return str(hidden)
    checks.functions("hidden", hidden)
    return activations.name(hidden) or hidden


def _output(output: Any) -> str | Loss:
    """Check that this is a loss; one that has a name becomes its name."""
    if not isinstance(output, Loss):
        losses.by_name(output)
        return str(output)
    checks.functions("output", output, besides=("near_one", "activation", "per_output"))
    return losses.name(output) or output


def _check_masks(masks: Masks, x: Array, units: Sequence[int]) -> None:
    """Check that there is one mask (n, units), or None, for each hidden layer."""
    if not isinstance(masks, Sequence) or len(masks) != len(units):
        got = len(masks) if isinstance(masks, Sequence) else checks.shorten(masks)
        raise ValueError(f"masks must hold an array for each hidden layer, {len(units)} in all, got {got}")
    for l, mask in enumerate(masks):
        if mask is not None:
            checks.one_namespace(**{"x": x, f"masks[{l}]": mask})
            if mask.shape not in ((*x.shape[-2:-1], units[l]), (*x.shape[:-1], units[l])):
                raise ValueError(f"masks[{l}] must have shape {(*x.shape[:-1], units[l])}, got {tuple(mask.shape)}")


def _sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Layer sizes as a tuple of at least two positive ints."""
    try:
        checked = tuple(checks.integer("sizes", n, least=1) for n in sizes)
    except TypeError:
        raise TypeError(f"sizes must hold integers, input size first, got {checks.shorten(sizes)}") from None
    if len(checked) < 2:
        raise ValueError(f"sizes must hold at least an input and an output size, got {checks.shorten(sizes)}")
    return checked


def _dropout(dropout: Any, n_hidden: int) -> float | tuple[float, ...]:
    """Check that this is one probability, or one for each hidden layer."""
    if isinstance(dropout, str) or not hasattr(dropout, "__iter__"):
        return checks.real("dropout", dropout, below=1.0)
    drops = tuple(checks.real("dropout", p, below=1.0) for p in dropout)
    if len(drops) != n_hidden:
        raise ValueError(f"dropout must be one number or one for each of {n_hidden} hidden layers, got {drops}")
    return drops
