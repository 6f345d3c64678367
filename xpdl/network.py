"""The network: forward propagation, cost and gradient as pure functions of theta.

    forward    z = x w + b,   a = f(z),   and a * mask is the next layer's x; the last z are the logits
    backward   dw = x^T dz,   db = sum of dz over the samples,   da = dz w^T * mask,   dz = f'(z) da one layer down

The backward pass starts from the dz of the loss, see losses.py.  Rows of x are samples.  theta may have leading axes,
(..., P): a whole stack of parameter vectors goes through in one pass.  Source: Rumelhart, Hinton & Williams 1986.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from xpdl import checks
from xpdl.activations import ACTIVATIONS, Activation, identity
from xpdl.arrays import Array, namespace, real
from xpdl.initializers import INITIALIZERS, initialize
from xpdl.layout import Layout
from xpdl.losses import LOSSES, Loss, count

Masks = Sequence[Array | None]


class Layer(NamedTuple):
    """What one layer received and made in a forward pass."""

    x: Array  # (n, n_in) its input
    w: Array  # (n_in, n_out)
    z: Array  # (n, n_out) before the activation
    a: Array  # (n, n_out) after it, before dropout


@dataclass(frozen=True)
class Network:
    """A dense network: the sizes of its layers, input first, and what stands between them.

    sizes    [d, ..., k], at least two
    hidden   relu, tanh, sigmoid, leaky_relu, elu, softplus, gelu, silu, identity, or an ``Activation``
    output   "softmax" (labels 0..k-1), "sigmoid" (labels 0 or 1), "linear" (targets (n, k)), or a ``Loss``
    init     "he", "xavier", "lecun", or a number: that standard deviation
    l2       adds l2 / (2 n) * sum of w^2 to the cost of n samples; biases are not decayed
    dropout  probability of dropping a hidden unit, one number or one per hidden layer (Srivastava et al. 2014)

    ``ValueError`` or ``TypeError`` for an option that is wrong, with its name, its value and what was expected.
    """

    sizes: Sequence[int]
    _: KW_ONLY
    hidden: str | Activation = "relu"
    output: str | Loss = "softmax"
    init: str | float = "he"
    l2: float = 0.0
    dropout: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        """Check every field, and turn numbers of any library into plain ones; a message names field and value."""
        if isinstance(self.hidden, Activation):
            checks.functions("hidden", self.hidden)
        else:
            checks.choice("hidden", self.hidden, ACTIVATIONS)
        if isinstance(self.output, Loss):
            checks.functions("output", self.output, besides=("near_one", "activation"))
        else:
            checks.choice("output", self.output, LOSSES)
        sizes = _sizes(self.sizes)
        named = isinstance(self.init, str)
        plain = {
            "sizes": sizes,
            "init": checks.choice("init", self.init, INITIALIZERS) if named else checks.real("init", self.init),
            "l2": checks.real("l2", self.l2),
            "dropout": _dropout(self.dropout, len(sizes) - 2),
        }
        for name in plain:
            object.__setattr__(self, name, plain[name])

    @cached_property
    def layout(self) -> Layout:
        """Where each parameter lies in theta."""
        return Layout(tuple(self.sizes))

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.layout.size

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the parameters, in the order of theta: [(n0, n1), ..., (n1,), ...]."""
        return self.layout.shapes

    @property
    def names(self) -> list[str]:
        """The names of the parameters: ["W1", ..., "WL", "b1", ..., "bL"]."""
        return self.layout.names

    @property
    def drops(self) -> tuple[float, ...]:
        """The dropping probability of each hidden layer."""
        return tuple(self.dropout) if isinstance(self.dropout, Sequence) else (self.dropout,) * (len(self.sizes) - 2)

    @property
    def activation(self) -> Activation:
        """The activation of the hidden layers."""
        return self.hidden if isinstance(self.hidden, Activation) else ACTIVATIONS[self.hidden]

    @property
    def head(self) -> Loss:
        """The response and the cost of the output layer."""
        return self.output if isinstance(self.output, Loss) else LOSSES[self.output]

    def initialize(self, seed: int = 0, dtype: str = "float32") -> Array:
        """A fresh theta (P,), a NumPy array: weights normal with the deviation of ``init``, biases 0."""
        return initialize(self.layout, self.init, seed, checks.float_dtype("dtype", dtype))

    def unpack(self, theta: Array) -> list[tuple[Array, Array]]:
        """theta (..., P) -> [(w (..., n_in, n_out), b (..., n_out)), ...], views where the library has them."""
        checks.last_axis("theta", theta, self.size)
        return self.layout.unpack(theta)

    def pack(self, parameters: Sequence[tuple[Array, Array]]) -> Array:
        """[(w, b), ...] -> theta (..., P), a new array: the inverse of ``unpack``."""
        return self.layout.pack(parameters)

    def forward(self, theta: Array, x: Array, masks: Masks | None = None) -> list[Layer]:
        """What each layer receives and makes.

        x is (n, d): uint8 images are scaled to [0, 1], any other dtype is taken as numbers.  masks holds one (n, units)
        array for each hidden layer, already scaled by 1 / (1 - p), or None for a layer without dropout.
        """
        checks.one_namespace(theta=theta, x=x)
        checks.rows("x", x, self.sizes[0])
        if masks is None:
            masks = [None] * (len(self.sizes) - 2)
        _check_masks(masks, x, self.sizes[1:-1])
        activations = [self.activation] * len(masks)
        layers = []
        x = _features(x, theta.dtype)
        for (w, b), f, mask in zip(self.unpack(theta), [*activations, identity], [*masks, None], strict=True):
            z = x @ w
            z += b[..., None, :]
            a = f.forward(z)
            layers.append(Layer(x, w, z, a))
            x = a if mask is None else a * mask
        return layers

    def backward(
        self, layers: Sequence[Layer], dz: Array, masks: Masks | None = None, n: int | Array | None = None
    ) -> Array:
        """The gradient of the mean cost (..., P), from the layers of ``forward`` and the last dz.

        L2 is included; n is the number of samples, or the sum of their weights, by which it is divided.
        """
        xp = namespace(dz)
        grads = []
        for l in reversed(range(len(layers))):
            x, w, _, _ = layers[l]
            dw = xp.matrix_transpose(x) @ dz
            if self.l2:
                dw += (self.l2 / (dz.shape[-2] if n is None else n)) * w
            grads.append((dw, xp.sum(dz, axis=-2)))
            if l > 0:
                da = dz @ xp.matrix_transpose(w)
                if masks is not None and masks[l - 1] is not None:
                    da *= masks[l - 1]
                dz = self.activation.backward(da, layers[l - 1].z, layers[l - 1].a)
        return self.layout.pack(grads[::-1])

    def loss(self, theta: Array, x: Array, y: Array, masks: Masks | None = None, weight: Array | None = None) -> Array:
        """The mean cost of the samples plus the L2 term: a 0-d array, or (...,) for theta (..., P).

            sum_i weight_i cost_i / n + l2 / (2 n) * sum of w^2,   n = sum_i weight_i

        with weights (n,) of the samples, all 1 by default: a sample of weight 2 counts as two like it.  Neither labels
        nor weights are looked at, as that would make the device wait (``train`` does): a label that is no class gives
        NaN, and so do weights that are all 0.
        """
        z, weight = self.forward(theta, x, masks)[-1].z, self._weight(theta, x, weight)
        return self._mean(self.head.value(z, self.targets(theta, x, y)), theta, weight, count(x.shape[0], weight))

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
        """``loss`` and its gradient with respect to theta, (..., P), by backward propagation.

        Where the samples are a share of a larger batch, n is that of the batch.
        """
        layers, weight = self.forward(theta, x, masks), self._weight(theta, x, weight)
        n = count(x.shape[0], weight) if n is None else n
        value, dz = self.head.value_and_delta(layers[-1].z, self.targets(theta, x, y), weight, n)
        return self._mean(value, theta, weight, n), self.backward(layers, dz, masks, n)

    def predict_proba(self, theta: Array, x: Array) -> Array:
        """Probabilities (n, k), for one sigmoid output (n,); values (n, k) for "linear": the response of the loss."""
        p = self.head.predict(self.forward(theta, x)[-1].z)
        return p[..., 0] if self.sizes[-1] == 1 and self.head.classes(1) == 2 else p

    def predict(self, theta: Array, x: Array) -> Array:
        """The most probable label of each sample, (n,); (n, k) of 0 and 1 for k sigmoids; values for "linear"."""
        p = self.predict_proba(theta, x)
        return p if self.head.decide is None else self.head.decide(p)

    def targets(self, theta: Array, x: Array, y: Array) -> Array:
        """The labels y of the samples x as the loss needs them: (n, k), in the real dtype of theta."""
        checks.one_namespace(x=x, y=y)
        return self.head.encode(y, (x.shape[0], self.sizes[-1]), real(theta[..., :1]).dtype)

    def _weight(self, theta: Array, x: Array, weight: Array | None) -> Array | None:
        """The weights of the samples x as the loss needs them: (n,), in the real dtype of theta."""
        if weight is None:
            return None
        checks.one_namespace(x=x, weight=weight)
        if weight.shape != x.shape[:1]:
            raise ValueError(f"weight must have shape ({x.shape[0]},), one for each sample, got {tuple(weight.shape)}")
        return namespace(weight).astype(weight, real(theta[..., :1]).dtype, copy=False)

    def _mean(self, value: Array, theta: Array, weight: Array | None, n: int | Array) -> Array:
        """The mean of value (..., n) + l2 / (2 n) * sum of w^2."""
        xp = namespace(theta)
        cost = xp.sum(value if weight is None else value * weight, axis=-1) / n
        if self.l2:
            w = theta[..., : self.layout.n_weights]
            cost += (self.l2 / (2 * n)) * xp.sum(w * w, axis=-1)
        return cost


def _features(x: Array, dtype: object) -> Array:
    """x as floating numbers: uint8 is an image and becomes x / 255."""
    xp = namespace(x)
    numbers = xp.astype(x, dtype, copy=False)
    if x.dtype == xp.uint8:
        numbers *= 1 / 255
    return numbers


def _check_masks(masks: Masks, x: Array, units: Sequence[int]) -> None:
    """One mask (n, units), or None, for each hidden layer."""
    if not isinstance(masks, Sequence) or len(masks) != len(units):
        got = len(masks) if isinstance(masks, Sequence) else checks.shorten(masks)
        raise ValueError(f"masks must hold an array for each hidden layer, {len(units)} in all, got {got}")
    for l, mask in enumerate(masks):
        if mask is not None:
            checks.one_namespace(**{"x": x, f"masks[{l}]": mask})
            if mask.shape != (x.shape[0], units[l]):
                raise ValueError(f"masks[{l}] must have shape {(x.shape[0], units[l])}, got {tuple(mask.shape)}")


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
    """One probability, or as many as there are hidden layers."""
    if isinstance(dropout, str) or not hasattr(dropout, "__iter__"):
        return checks.real("dropout", dropout, below=1.0)
    drops = tuple(checks.real("dropout", p, below=1.0) for p in dropout)
    if len(drops) != n_hidden:
        raise ValueError(f"dropout must be one number or one for each of {n_hidden} hidden layers, got {drops}")
    return drops
