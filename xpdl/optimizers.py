"""Optimizers: two functions on one parameter vector.

    state = init(theta)
    theta, state = update(theta, grad, state)

``update`` consumes theta and state: where arrays are writable it reuses their memory, so always rebind.  Your own
optimizer is ``Optimizer(init, update)``.

The optimizers here treat every parameter alike, so each is two short functions: ``rates(t)``, the scalars of the step
t = 1, 2, ..., and ``kernel(theta, grad, *slots, *rates)``, elementwise on vectors.  That split lets a backend run the
kernel in as few passes over memory, or launches, as it can.
"""

from collections.abc import Callable
import math
from typing import Any, NamedTuple, TypeAlias

from xpdl import checks
from xpdl.arrays import Array, device, namespace
from xpdl.schedules import Schedule, as_schedule

State: TypeAlias = Any
Update: TypeAlias = Callable[[Array, Array, State], tuple[Array, State]]
Kernel: TypeAlias = Callable[..., tuple[Array, ...]]
Fuse: TypeAlias = Callable[[Kernel], Kernel]


class Optimizer(NamedTuple):
    """``init(theta) -> state`` and ``update(theta, grad, state) -> theta, state``.

    ``fused(fuse)`` is the same update with its vector work run by a backend's ``fuse``; an optimizer that has it does
    nothing but array operations, so that a backend may record its update and repeat it.
    """

    init: Callable[[Array], State]
    update: Update
    fused: Callable[[Fuse], Update] | None = None
    constant: bool = False


def elementwise(
    slots: int, rates: Callable[[Array], tuple[Any, ...]], kernel: Kernel, *, constant: bool = False
) -> Optimizer:
    """The optimizer whose state is a step counter and ``slots`` vectors, updated by ``kernel`` with the step's rates.

    kernel(theta, grad, *slots, *rates) -> (theta, *slots) changes theta and slots by augmented assignment.
    steady says that rates and kernel depend on their arguments alone.
    """

    def init(theta: Array) -> State:
        xp = namespace(theta)
        step = xp.zeros((), dtype=xp.int32, device=device(theta))
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

    return Optimizer(init, fused(lambda kernel: kernel), fused, constant)


def sgd(lr: float | Schedule) -> Optimizer:
    """Gradient descent (Cauchy 1847), on batches stochastic (Robbins & Monro 1951): theta <- theta - lr g."""
    schedule = as_schedule(lr)

    def kernel(theta: Array, grad: Array, lr: Any) -> tuple[Array, ...]:
        theta -= lr * grad
        return (theta,)

    return elementwise(0, lambda t: (schedule(t - 1),), kernel, constant=not callable(lr))


def momentum(lr: float | Schedule, *, beta: float = 0.9, nesterov: bool = False, average: bool = False) -> Optimizer:
    """Gradient descent with momentum (Polyak 1964), or Nesterov's (Sutskever et al. 2013).

        v <- beta v + s                      with s = lr g
        theta <- theta - v                   nesterov: theta - (beta v + s)

    average=True is the origin's form, where v is an exponential average of gradients: s = (1 - beta) g, and lr
    multiplies the step.
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


def rmsprop(lr: float | Schedule, *, decay: float = 0.9, eps: float = 1e-8, eps_root: float = 0.0) -> Optimizer:
    """RMSprop (Tieleman & Hinton 2012).

        v <- decay v + (1 - decay) g^2
        theta <- theta - lr g / (sqrt(v + eps_root) + eps)

    The origin has its epsilon inside the root: eps=0, eps_root=1e-8.
    """
    schedule, decay = as_schedule(lr), _fraction("decay", decay)
    eps, eps_root = checks.real("eps", eps), checks.real("eps_root", eps_root)

    def kernel(theta: Array, grad: Array, v: Array, lr: Any) -> tuple[Array, ...]:
        v *= decay
        v += (1 - decay) * (grad * grad)
        theta -= lr * grad / (namespace(v).sqrt(v + eps_root) + eps)
        return theta, v

    return elementwise(1, lambda t: (schedule(t - 1),), kernel, constant=not callable(lr))


def adam(
    lr: float | Schedule = 1e-3,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> Optimizer:
    """Adam (Kingma & Ba 2015, Algorithm 1).

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
        m' = m / (1 - beta1^t)                v' = v / (1 - beta2^t)
        theta <- theta - lr m' / (sqrt(v' + eps_root) + eps)

    The origin has its epsilon inside the root: eps=0, eps_root=1e-8.
    """
    return adamw(lr, beta1=beta1, beta2=beta2, eps=eps, eps_root=eps_root, weight_decay=0.0)


def adamw(
    lr: float | Schedule = 1e-3,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 1e-2,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): theta <- (1 - lr weight_decay) theta, then Adam.

    To touch memory less often the state holds m / (1 - beta1) and v / (1 - beta2), and the factors that are the same
    for all parameters go into the rates (Kingma & Ba 2015, end of section 2):

        theta <- theta - rate m / (sqrt(v + eps_root') + eps')
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


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}

BETAS: dict[str, dict[str, str]] = {
    "sgd": {},
    "momentum": {"beta1": "beta"},
    "rmsprop": {"beta2": "decay"},
    "adam": {"beta1": "beta1", "beta2": "beta2"},
    "adamw": {"beta1": "beta1", "beta2": "beta2"},
}
"""What each optimizer calls the weight of its average of gradients, beta1, and of their squares, beta2."""


def by_name(name: str, lr: float | Schedule, *, beta1: float | None = None, beta2: float | None = None) -> Optimizer:
    """The optimizer of this name; an average that it does not have is a ``ValueError``."""
    names = BETAS[checks.choice("optimizer", name, OPTIMIZERS)]
    given = {argument: beta for argument, beta in (("beta1", beta1), ("beta2", beta2)) if beta is not None}
    for argument in given:
        if argument not in names:
            raise ValueError(f"{argument} is not for the optimizer {name!r}, got {given[argument]!r}")
    return OPTIMIZERS[name](lr, **{names[argument]: given[argument] for argument in given})


def _fraction(argument: str, value: Any) -> float:
    return checks.real(argument, value, below=1.0)


def _one_minus_power(beta: float, t: Array) -> Array:
    """1 - beta^t as -expm1(t log beta): exact in float32 too, where beta^t is close to 1."""
    return -namespace(t).expm1(t * (math.log(beta) if beta else -math.inf))
