"""Activations: pairs of functions, elementwise on z of any shape.

    a  = forward(z)
    dz = backward(da, z, a)      da * f'(z), from z or a, whichever is cheaper

All of them accept complex z and then follow the branch of the real part.  So the complex step of the gradient check
differentiates the same code that trains.  A new activation is one ``Activation`` with a name in ``ACTIVATIONS``.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

from xpdl import checks
from xpdl.arrays import Array, is_complex, namespace, real
from xpdl.pickling import name_of, named, picklable


class Activation(NamedTuple):
    """A function and its derivative, elementwise on arrays of any shape.

    Both should depend on their arguments alone, because a training step may repeat their array operations without
    calling them.  ``check_network`` tells whether the second function is the derivative of the first.

    Parameters
    ----------
    forward : callable
        forward(z) -> a = f(z), in the dtype of z.
    backward : callable
        backward(da, z, a) -> dz = da f'(z), in the dtype of z.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> square = xpdl.Activation(lambda z: z * z, lambda da, z, a: 2 * z * da)
    >>> net = xpdl.Network([2, 3, 2], hidden=square)
    >>> xpdl.check_network(net, net.initialize(), np.eye(2), [0, 1]).verdict
    'PASS'
    """

    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array, Array], Array]


def positive(z: Array) -> Array:
    """Return 1 where Re z > 0, else 0.

    A product with it is faster than ``where``, and keeps NaN visible.

    Parameters
    ----------
    z : array
        Numbers, real or complex.

    Returns
    -------
    array
        0 and 1, in the dtype of z.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.activations.positive(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return namespace(z).astype(real(z) > 0, z.dtype)


def expm1(z: Array) -> Array:
    """Return exp(z) - 1, exact near 0 for real z.

    Parameters
    ----------
    z : array
        Numbers; not every library has an ``expm1`` for complex ones.

    Returns
    -------
    array
        exp(z) - 1.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.activations.expm1(np.array([1e-20]))
    array([1.e-20])
    """
    xp = namespace(z)
    return xp.exp(z) - 1 if is_complex(z) else xp.expm1(z)


def log1p(z: Array) -> Array:
    """Return log(1 + z), exact near 0 for real z.

    Parameters
    ----------
    z : array
        Numbers; not every library has a ``log1p`` for complex ones.

    Returns
    -------
    array
        log(1 + z).

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.activations.log1p(np.array([1e-20]))
    array([1.e-20])
    """
    xp = namespace(z)
    return xp.log(1 + z) if is_complex(z) else xp.log1p(z)


def _identity(z: Array) -> Array:
    return z


def _identity_backward(da: Array, z: Array, a: Array) -> Array:
    return da


identity = Activation(_identity, _identity_backward)
"""a = z: the layer stays linear."""


def _relu(z: Array) -> Array:
    return z * positive(z) if is_complex(z) else namespace(z).maximum(z, 0.0)


def _relu_backward(da: Array, z: Array, a: Array) -> Array:
    return da * positive(a)


relu = Activation(_relu, _relu_backward)
"""a = max(z, 0), with derivative 0 at 0 (Nair & Hinton 2010)."""


def _tanh(z: Array) -> Array:
    return namespace(z).tanh(z)


def _tanh_backward(da: Array, z: Array, a: Array) -> Array:
    return da * (1 - a * a)


tanh = Activation(_tanh, _tanh_backward)
"""a = tanh(z), a' = 1 - a^2."""


def _sigmoid(z: Array) -> Array:
    return 0.5 + 0.5 * namespace(z).tanh(0.5 * z)


def _sigmoid_backward(da: Array, z: Array, a: Array) -> Array:
    return da * (a * (1 - a))


sigmoid = Activation(_sigmoid, _sigmoid_backward)
"""a = 1 / (1 + exp(-z)) = (1 + tanh(z/2)) / 2, which never overflows; a' = a (1 - a)."""


@picklable
def leaky_relu(alpha: float = 0.01) -> Activation:
    """Return the leaky rectifier: a = z if z > 0, else alpha z (Maas, Hannun & Ng 2013).

    Parameters
    ----------
    alpha : float, default 0.01
        The slope where z < 0.

    Returns
    -------
    Activation
        The function and its derivative.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.activations.leaky_relu(0.1).forward(np.array([-2.0, 2.0]))
    array([-0.2,  2. ])
    """

    alpha = checks.real("alpha", alpha, least=-math.inf)

    def slope(z: Array) -> Array:
        above = positive(z)
        return above + alpha * (1 - above)

    return Activation(lambda z: z * slope(z), lambda da, z, a: da * slope(z))


@picklable
def elu(alpha: float = 1.0) -> Activation:
    """Return the exponential linear unit: a = z if z > 0, else alpha (exp(z) - 1).

    Where z < 0, a' = a + alpha (Clevert, Unterthiner & Hochreiter 2016).

    Parameters
    ----------
    alpha : float, default 1.0
        The limit of -a for z to minus infinity.

    Returns
    -------
    Activation
        The function and its derivative.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.activations.elu().forward(np.array([-1e3, 2.0]))
    array([-1.,  2.])
    """

    alpha = checks.real("alpha", alpha, least=-math.inf)

    def forward(z: Array) -> Array:
        above = positive(z)
        return z * above + alpha * expm1(z * (1 - above))

    def backward(da: Array, z: Array, a: Array) -> Array:
        above = positive(z)
        return da * (above + (1 - above) * (a + alpha))

    return Activation(forward, backward)


def _softplus(z: Array) -> Array:
    above = positive(z)
    return z * above + log1p(namespace(z).exp(z * (1 - 2 * above)))


def _softplus_backward(da: Array, z: Array, a: Array) -> Array:
    return -da * expm1(-a)


softplus = Activation(_softplus, _softplus_backward)
"""a = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)), a' = 1 - exp(-a) (Dugas et al. 2001)."""


_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu_tanh(z: Array) -> Array:
    return namespace(z).tanh(_GELU_SCALE * (z + _GELU_CUBIC * (z * z * z)))


def _gelu(z: Array) -> Array:
    return 0.5 * z * (1 + _gelu_tanh(z))


def _gelu_backward(da: Array, z: Array, a: Array) -> Array:
    t = _gelu_tanh(z)
    slope = (1 - t * t) * z  # 0 far out, where z^2 may be infinite
    return da * (0.5 * (1 + t) + 0.5 * _GELU_SCALE * (slope + 3 * _GELU_CUBIC * (slope * z * z)))


gelu = Activation(_gelu, _gelu_backward)
"""a = z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))): the tanh form of Hendrycks & Gimpel 2016, because the standard
has no erf."""


def _silu(z: Array) -> Array:
    return z * _sigmoid(z)


def _silu_backward(da: Array, z: Array, a: Array) -> Array:
    s = _sigmoid(z)
    return da * (s + a * (1 - s))


silu = Activation(_silu, _silu_backward)
"""a = z sigmoid(z), a' = s + a (1 - s) with s = sigmoid(z) (Elfwing, Uchibe & Doya 2018)."""


ACTIVATIONS: dict[str, Activation] = {
    "identity": identity,
    "relu": relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "leaky_relu": leaky_relu(),
    "elu": elu(),
    "softplus": softplus,
    "gelu": gelu,
    "silu": silu,
}
"""The activations that have a name."""

FAMILIES: dict[str, Callable[[float], Activation]] = {"leaky_relu": leaky_relu, "elu": elu}
"""The activations whose name may have a number, as "leaky_relu:0.2"."""


def by_name(name: str) -> Activation:
    """Return the activation of this name.

    Parameters
    ----------
    name : str
        A key of ``ACTIVATIONS``; or a key of ``FAMILIES``, a colon and a number.

    Returns
    -------
    Activation
        The activation.

    Raises
    ------
    ValueError, TypeError
        If there is no such activation.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.activations.by_name("elu:0.5") == xpdl.activations.elu(0.5)
    True
    """
    return named("hidden", name, ACTIVATIONS, FAMILIES)


def name(activation: Activation) -> str | None:
    """Return the name of an activation that is one of ``ACTIVATIONS`` or of ``FAMILIES``, else None.

    Parameters
    ----------
    activation : Activation
        The activation.

    Returns
    -------
    str or None
        The name for ``by_name``.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.activations.name(xpdl.activations.elu(0.5)), xpdl.activations.name(xpdl.activations.tanh)
    ('elu:0.5', 'tanh')
    """
    return name_of(activation, ACTIVATIONS, FAMILIES)
