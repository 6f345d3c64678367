"""Optimizers: an optimizer is two functions on one parameter vector.

    state = init(theta)
    theta, state = update(theta, grad, state)

``update`` consumes theta and state: where arrays are writable it reuses their memory, so always rebind both.  Your own
optimizer is ``Optimizer(init, update)``.

The optimizers here treat all parameters in the same way, so each is two short functions: ``rates(t)`` gives the scalars
of step t = 1, 2, ..., and ``kernel(theta, grad, *slots, *rates)`` works elementwise on vectors.  So a backend can run
the kernel with as few passes over memory, or as few launches, as possible.

theta (K, P) are the parameters of K networks.  Each has its own step counter and may have its own rates; both are
(K, 1) then, so the same text updates one network and many.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple, TypeAlias

from xpdl import checks
from xpdl.arrays import Array, device, namespace
from xpdl.pickling import picklable
from xpdl.schedules import Rate, Schedule, as_schedule

State: TypeAlias = Any
Update: TypeAlias = Callable[[Array, Array, State], tuple[Array, State]]
Kernel: TypeAlias = Callable[..., tuple[Array, ...]]
SMALLEST = 2.0**-126
"""The smallest number that has all its digits in float32."""

Fuse: TypeAlias = Callable[[Kernel], Kernel]


class Optimizer(NamedTuple):
    """An update rule, as two functions of the parameters.

    Parameters
    ----------
    init : callable
        init(theta) -> state, for theta (P,).  The state may be None, an array, or dicts, lists and tuples of arrays and
        numbers.
    update : callable
        update(theta, grad, state) -> (theta, state).  It may overwrite theta and the arrays in the state.
    fused : callable, optional
        fused(fuse) -> the same update, with its work on vectors run by the ``fuse`` of a backend.  If it is given, the
        update must consist of array operations only, because a backend may record and repeat them.
    constant : bool, default False
        Whether ``fused`` always does the same, as when the learning rate is a number and not a function.  If False, a
        recorded update is compared with its Python function again at each epoch.

    Examples
    --------
    An optimizer that steps by the sign of the gradient:

    >>> import numpy as np
    >>> import xpdl
    >>> signs = xpdl.Optimizer(
    ...     init=lambda theta: None,
    ...     update=lambda theta, grad, state: (theta - 0.25 * np.sign(grad), state),
    ... )
    >>> theta = np.array([1.0, -1.0])
    >>> theta, state = signs.update(theta, np.array([3.0, -0.1]), signs.init(theta))
    >>> theta
    array([ 0.75, -0.75])
    """

    init: Callable[[Array], State]
    update: Update
    fused: Callable[[Fuse], Update] | None = None
    constant: bool = False


@picklable
def elementwise(
    slots: int, rates: Callable[[Array], tuple[Any, ...]], kernel: Kernel, *, constant: bool = False
) -> Optimizer:
    """Return the optimizer whose state is a step counter and ``slots`` vectors.

    Parameters
    ----------
    slots : int
        The number of vectors (P,) in the state; they begin as zeros.
    rates : callable
        rates(t) -> tuple of scalars, for the step t = 1, 2, ..., a floating-point 0-d array.  For K networks t is
        (K, 1), and so may be the rates.
    kernel : callable
        kernel(theta, grad, *slots, *rates) -> (theta, *slots).  It is elementwise, and changes theta and slots by
        augmented assignment.
    constant : bool, default False
        Whether rates and kernel depend on their arguments alone, see ``Optimizer``.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Examples
    --------
    Gradient descent with a learning rate of 0.5 / t:

    >>> import numpy as np
    >>> from xpdl.optimizers import elementwise
    >>> def kernel(theta, grad, rate):
    ...     theta -= rate * grad
    ...     return (theta,)
    >>> optimizer = elementwise(0, lambda t: (0.5 / t,), kernel, constant=True)
    >>> theta = np.array([1.0, 2.0])
    >>> state = optimizer.init(theta)
    >>> for _ in range(2):
    ...     theta, state = optimizer.update(theta, np.ones(2), state)
    >>> theta
    array([0.25, 1.25])
    """

    def init(theta: Array) -> State:
        xp = namespace(theta)
        step = xp.zeros((*theta.shape[:-1], 1) if theta.ndim > 1 else (), dtype=xp.int32, device=device(theta))
        return (step, *(xp.zeros_like(theta) for _ in range(slots)))

    def fused(fuse: Fuse) -> Update:
        run = fuse(kernel)

        def update(theta: Array, grad: Array, state: State) -> tuple[Array, State]:
            step, *vectors = state
            step += 1
            t = namespace(theta).astype(step, theta.dtype)
            theta, *vectors = run(theta, grad, *vectors, *rates(t))
            return theta, (step, *vectors)

        return update

    return Optimizer(init, fused(lambda kernel: kernel), with_rates(fused, rates), constant)


@picklable
def sgd(lr: Rate | Schedule) -> Optimizer:
    """Gradient descent, or on batches stochastic gradient descent.

        theta <- theta - lr g

    Sources: Cauchy 1847; Robbins & Monro 1951.

    Parameters
    ----------
    lr : float, sequence of float or Schedule
        The learning rate, one for each of K networks, or a function of the step, see ``xpdl.schedules``.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.sgd(0.1)
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = optimizer.update(theta, np.array([0.5, -2.0]), optimizer.init(theta))
    >>> theta.round(6)
    array([0.95, 2.2 ])
    """
    schedule = as_schedule(lr)

    def kernel(theta: Array, grad: Array, lr: Any) -> tuple[Array, ...]:
        theta -= lr * grad
        return (theta,)

    return elementwise(0, lambda t: (schedule(t - 1),), kernel, constant=not callable(lr))


@picklable
def momentum(lr: Rate | Schedule, *, beta: float = 0.9, nesterov: bool = False, average: bool = False) -> Optimizer:
    """Gradient descent with momentum.

        v <- beta v + s                      with s = lr g
        theta <- theta - v                   nesterov: theta - (beta v + s)

    Sources: Polyak 1964; Nesterov's form: Sutskever et al. 2013.

    Parameters
    ----------
    lr : float, sequence of float or Schedule
        The learning rate, one for each of K networks, or a function of the step, see ``xpdl.schedules``.
    beta : float, default 0.9
        The decay of the velocity v, in [0, 1).
    nesterov : bool, default False
        Whether to use Nesterov's form.
    average : bool, default False
        Whether to use the form of "Deep Learning from first principles": v is an exponential average of gradients,
        s = (1 - beta) g, and lr multiplies the step.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.momentum(0.1)
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = optimizer.update(theta, np.array([0.5, -2.0]), optimizer.init(theta))
    >>> theta.round(6)
    array([0.95, 2.2 ])
    """
    schedule, beta = as_schedule(lr), _fraction("beta", beta)

    def rates(t: Array) -> tuple[Any, ...]:
        return (1 - beta, schedule(t - 1)) if average else (schedule(t - 1), 1.0)

    def kernel(theta: Array, grad: Array, v: Array, gain: Any, rate: Any) -> tuple[Array, ...]:
        s = gain * grad
        v *= beta
        v += s
        theta -= rate * (beta * v + s) if nesterov else rate * v
        return theta, v

    return elementwise(1, rates, kernel, constant=not callable(lr))


@picklable
def rmsprop(lr: Rate | Schedule, *, decay: float = 0.9, eps: float = 1e-8, eps_root: float = 0.0) -> Optimizer:
    """RMSprop: each gradient is divided by the root of an average of its squares.

        v <- decay v + (1 - decay) g^2
        theta <- theta - lr g / (sqrt(v + eps_root) + eps)

    Source: Tieleman & Hinton 2012.  "Deep Learning from first principles" has its epsilon inside the root: eps=0,
    eps_root=1e-8.

    Parameters
    ----------
    lr : float, sequence of float or Schedule
        The learning rate, one for each of K networks, or a function of the step, see ``xpdl.schedules``.
    decay : float, default 0.9
        The decay of the average v, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against division by 0.
    eps_root : float, default 0.0
        Added under the root.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.rmsprop(0.1)
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = optimizer.update(theta, np.array([0.5, -2.0]), optimizer.init(theta))
    >>> theta.round(6)
    array([0.683772, 2.316228])
    """
    schedule, decay = as_schedule(lr), _fraction("decay", decay)
    eps, eps_root = checks.real("eps", eps), checks.real("eps_root", eps_root)

    def kernel(theta: Array, grad: Array, v: Array, lr: Any) -> tuple[Array, ...]:
        v *= decay
        v += (1 - decay) * (grad * grad)
        theta -= lr * grad / (namespace(v).sqrt(v + eps_root) + eps)
        return theta, v

    return elementwise(1, lambda t: (schedule(t - 1),), kernel, constant=not callable(lr))


@picklable
def adam(
    lr: Rate | Schedule = 1e-3,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> Optimizer:
    """Adam: averages of gradients and of their squares, both corrected for their start at 0.

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
        m' = m / (1 - beta1^t)                v' = v / (1 - beta2^t)
        theta <- theta - lr m' / (sqrt(v' + eps_root) + eps)

    Source: Kingma & Ba 2015, Algorithm 1.  "Deep Learning from first principles" has its epsilon inside the root:
    eps=0, eps_root=1e-8.

    Parameters
    ----------
    lr : float, sequence of float or Schedule, default 1e-3
        The learning rate, one for each of K networks, or a function of the step, see ``xpdl.schedules``.
    beta1 : float, default 0.9
        The decay of the average m of the gradients, in [0, 1).
    beta2 : float, default 0.999
        The decay of the average v of their squares, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against division by 0.
    eps_root : float, default 0.0
        Added under the root.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.adam(0.1)
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = optimizer.update(theta, np.array([0.5, -2.0]), optimizer.init(theta))
    >>> theta.round(6)
    array([0.9, 2.1])
    """
    return adamw(lr, beta1=beta1, beta2=beta2, eps=eps, eps_root=eps_root, weight_decay=0.0)


@picklable
def adamw(
    lr: Rate | Schedule = 1e-3,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 1e-2,
) -> Optimizer:
    """Adam with decoupled weight decay.

        theta <- (1 - lr weight_decay) theta, then the step of ``adam``

    Source: Loshchilov & Hutter 2019.

    Parameters
    ----------
    lr : float, sequence of float or Schedule, default 1e-3
        The learning rate, one for each of K networks, or a function of the step, see ``xpdl.schedules``.
    beta1 : float, default 0.9
        The decay of the average m of the gradients, in [0, 1).
    beta2 : float, default 0.999
        The decay of the average v of their squares, in [0, 1).
    eps : float, default 1e-8
        Added to the root, against division by 0.
    eps_root : float, default 0.0
        Added under the root.
    weight_decay : float, default 1e-2
        How fast all parameters, biases included, decay towards 0.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If a number is not in its range, or is not a number.

    Notes
    -----
    To save passes over memory, the state holds m / (1 - beta1) and v / (1 - beta2), and factors that are the same for
    all parameters are part of the rates (Kingma & Ba 2015, end of section 2):

        theta <- theta - rate m / (sqrt(v + eps_root') + eps')

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.adamw(0.1, weight_decay=0.5)
    >>> theta = np.array([1.0, 2.0])
    >>> theta, state = optimizer.update(theta, np.array([0.5, -2.0]), optimizer.init(theta))
    >>> theta.round(6)
    array([0.85, 2.  ])
    """
    schedule, weight_decay = as_schedule(lr), checks.real("weight_decay", weight_decay)
    beta1, beta2 = _fraction("beta1", beta1), _fraction("beta2", beta2)
    eps, eps_root = checks.real("eps", eps), checks.real("eps_root", eps_root)

    def rates(t: Array) -> tuple[Any, ...]:
        lr = schedule(t - 1)
        unbias1, unbias2 = (1 - beta1) / _one_minus_power(beta1, t), (1 - beta2) / _one_minus_power(beta2, t)
        root = namespace(t).sqrt(unbias2)
        return lr * unbias1 / root, eps / root, eps_root / unbias2, lr * weight_decay

    def kernel(
        theta: Array, grad: Array, m: Array, v: Array, rate: Any, eps_: Any, eps_root_: Any, decay: Any
    ) -> tuple[Array, ...]:
        m *= beta1
        m += grad
        v *= beta2
        v += grad * grad
        scale = namespace(v).sqrt(v + eps_root_ if eps_root else v)
        scale += eps_
        step = rate * m
        step /= scale
        if weight_decay:
            theta -= decay * theta
        theta -= step
        return theta, m, v

    return elementwise(2, rates, kernel, constant=not callable(lr))


@picklable
def clipped(optimizer: Optimizer, norm: float = 1.0) -> Optimizer:
    """An optimizer that gets the gradient scaled down to at most this norm (Pascanu, Mikolov & Bengio 2013).

        g <- g min(1, norm / ||g||)

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    norm : float, default 1.0
        The largest Euclidean norm of the gradient of all parameters, greater than 0.

    Returns
    -------
    Optimizer
        The same update rule, for ``train``.

    Raises
    ------
    ValueError, TypeError
        If the arguments are not as described.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> optimizer = xpdl.optimizers.clipped(xpdl.sgd(1.0), norm=5.0)
    >>> theta, _ = optimizer.update(np.zeros(2), np.array([30.0, -40.0]), optimizer.init(np.zeros(2)))
    >>> theta.round(6)
    array([-3.,  4.])
    """
    checks.instance("optimizer", optimizer, Optimizer)
    norm = checks.real("norm", norm)
    if norm == 0:
        raise ValueError("norm must be greater than 0, got 0")
    init, plain, given, constant = optimizer
    inner = given or (lambda fuse: plain)

    def clip(grad: Array) -> Array:
        xp = namespace(grad)
        most = xp.max(xp.maximum(grad, -grad), axis=-1, keepdims=True)
        part = grad / xp.maximum(most, SMALLEST)  # squares of grad itself might overflow
        length = most * xp.sqrt(xp.sum(part * part, axis=-1, keepdims=True))
        return grad * (norm / xp.maximum(length, norm))

    def update(theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        return plain(theta, clip(grad), state)

    def fused(fuse: Fuse) -> Update:
        run = inner(fuse)
        return lambda theta, grad, state: run(theta, clip(grad), state)

    same = None if given is None else with_rates(fused, getattr(given, "rates", None))
    return Optimizer(init, update, same, constant)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
"""The optimizers by name."""


def with_rates(fused: Callable[[Fuse], Update], rates: Any) -> Callable[[Fuse], Update]:
    """Return the function ``fused`` of an optimizer with a note of its rates, from which ``networks`` learns of K.

    Parameters
    ----------
    fused : callable
        The field of an ``Optimizer``.
    rates : callable or None
        rates(t) -> the numbers of step t.

    Returns
    -------
    callable
        The same function.

    Examples
    --------
    >>> from xpdl.optimizers import with_rates
    >>> with_rates(lambda fuse: None, lambda t: (0.1,)).rates(1)
    (0.1,)
    """
    vars(fused)["rates"] = rates
    return fused


def networks(optimizer: Optimizer, t: Array) -> int | None:
    """Return for how many networks an optimizer has rates of their own.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    t : array ()
        A step, from 1.

    Returns
    -------
    int or None
        K; None if the rates are single numbers, or not known.

    Raises
    ------
    ValueError
        If a rate is neither a number nor (K, 1).

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.optimizers.networks(xpdl.sgd([0.1, 0.2]), np.asarray(1.0))
    2
    """
    found = None
    rates = getattr(optimizer.fused, "rates", None)
    for rate in () if rates is None else rates(t):
        shape = getattr(rate, "shape", ())
        if shape and (len(shape) != 2 or shape[1] != 1):
            raise ValueError(f"a schedule must return a number, or (K, 1) for K networks, got shape {tuple(shape)}")
        found = shape[0] if shape else found
    return found


BETAS: dict[str, dict[str, str]] = {
    "sgd": {},
    "momentum": {"beta1": "beta"},
    "rmsprop": {"beta2": "decay"},
    "adam": {"beta1": "beta1", "beta2": "beta2"},
    "adamw": {"beta1": "beta1", "beta2": "beta2"},
}
"""Each optimizer's own names of beta1, the decay of its average of gradients, and of beta2, that of their squares."""


def by_name(name: str, lr: Rate | Schedule, *, beta1: float | None = None, beta2: float | None = None) -> Optimizer:
    """Return the optimizer of this name.

    Parameters
    ----------
    name : str
        A key of ``OPTIMIZERS``.
    lr : float, sequence of float or Schedule
        The learning rate, one for each of K networks, or a function of the step.
    beta1 : float, optional
        The decay of the average of gradients; default that of the optimizer.
    beta2 : float, optional
        The decay of the average of squared gradients; default that of the optimizer.

    Returns
    -------
    Optimizer
        The update rule, for ``train``.

    Raises
    ------
    ValueError
        If there is no such optimizer, or if it has no such average.

    Examples
    --------
    >>> from xpdl.optimizers import by_name
    >>> by_name("momentum", 0.1, beta1=0.8).constant
    True
    """
    names = BETAS[checks.choice("optimizer", name, OPTIMIZERS)]
    given = {argument: beta for argument, beta in (("beta1", beta1), ("beta2", beta2)) if beta is not None}
    for argument in given:
        if argument not in names:
            raise ValueError(f"{argument} is not an option of {name!r}, got {given[argument]!r}")
    return OPTIMIZERS[name](lr, **{names[argument]: given[argument] for argument in given})


def _fraction(argument: str, value: Any) -> float:
    return checks.real(argument, value, below=1.0)


def _one_minus_power(beta: float, t: Array) -> Array:
    """Return 1 - beta^t as -expm1(t log beta), which is exact in float32 too, where beta^t is close to 1."""
    return -namespace(t).expm1(t * (math.log(beta) if beta else -math.inf))
