"""Update rules for one number: the rules of textbooks, the forms of weight decay, and common mistakes.

    recurrence(p, g, s, t, lr, h) -> p    parameter, gradient, memory that starts at 0, step from 1, learning rate,
                                          hyper-parameters by name

``check_update`` looks for the rule that makes the steps of an optimizer.  A new rule is a function and a line of RULES.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Memory: TypeAlias = defaultdict[str, Any]
Values: TypeAlias = dict[str, float]
Recurrence: TypeAlias = Callable[[Any, Any, Memory, Any, Any, Values], Any]
Gain: TypeAlias = Callable[[Any, Values], Any]

# The textbook


def _sgd(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    return p - lr * g


def _velocity(inside: bool = False, nesterov: bool = False, gain: Gain = lambda t, h: 1.0) -> Recurrence:
    """v <- beta v + gain g, theta <- theta - lr v (Polyak 1964), or - lr (beta v + gain g) (Sutskever et al. 2013).

    If the learning rate is inside v instead, a new rate applies to new gradients only.
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        push = gain(t, h) * g * (lr if inside else 1.0)
        s["v"] = h["beta"] * s["v"] + push
        return p - (h["beta"] * s["v"] + push if nesterov else s["v"]) * (1.0 if inside else lr)

    return step


def _average(t: Any, h: Values) -> Any:
    """The gain of an exponential average, which is the origin's momentum."""
    return 1 - h["beta"]


def _dampened(t: Any, h: Values) -> Any:
    """PyTorch's dampening, which does not change the first gradient."""
    return 1 - h["dampening"] * (t > 1)


def _sign(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    """signSGD, Bernstein et al. 2018."""
    return p - lr * np.sign(g)


def _soft_sign(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    return p - lr * g / (np.sqrt(g * g + h["eps_root"]) + h["eps"])


def _adagrad(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    """Duchi, Hazan & Singer 2011."""
    s["v"] = s["v"] + g * g
    return p - lr * g / (np.sqrt(s["v"] + h["eps_root"]) + h["eps"])


def _rmsprop(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    """Tieleman & Hinton 2012."""
    s["v"] = h["decay"] * s["v"] + (1 - h["decay"]) * g * g
    return p - lr * g / (np.sqrt(s["v"] + h["eps_root"]) + h["eps"])


def _adam(first: bool = True, second: bool = True, late: bool = True) -> Recurrence:
    """Kingma & Ba 2015, Algorithm 1, or without the bias correction of the first or the second moment.

    If ``late`` is false, epsilon is added before the bias correction.
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        s["m"] = h["beta1"] * s["m"] + (1 - h["beta1"]) * g
        s["v"] = h["beta2"] * s["v"] + (1 - h["beta2"]) * g * g
        unbias1 = 1 - h["beta1"] ** t if first else 1.0
        unbias2 = 1 - h["beta2"] ** t if second else 1.0
        early = 1.0 if late else unbias2
        return p - lr * s["m"] / unbias1 / (np.sqrt(s["v"] / unbias2 + h["eps_root"] / early) + h["eps"] / early**0.5)

    return step


FORM, DOUBT, VARIANT, FAULT = range(4)
"""The kinds of findings.

FORM     worth knowing
DOUBT    may be wrong, unless it is expected
VARIANT  not what the textbook says, and wrong if the textbook's rule is expected
FAULT    wrong
"""


class Rule(NamedTuple):
    """A row of the table: a rule, its hyper-parameters, and the finding if it is recognised."""

    name: str
    recurrence: Recurrence
    parameters: tuple[str, ...]
    finding: str = ""
    kind: int = FORM


EPS = ("eps", "eps_root")
ADAM = ("beta1", "beta2", *EPS)
BEFORE = "epsilon is added before the bias correction (the 'epsilon hat' of Kingma & Ba 2015, section 2)"
SOFT = "g / (|g| + eps), like Adam and RMSprop if their state is lost between steps: pass expected= to tell them apart"
RULES: dict[float, tuple[Rule, ...]] = {  # by the power of a large gradient to which the first step is proportional
    1: (
        Rule("sgd", _sgd, ()),
        Rule("momentum", _velocity(inside=True), ("beta",), "heavy ball: v <- beta v + lr g, theta <- theta - v"),
        Rule("momentum", _velocity(), ("beta",), "heavy ball: v <- beta v + g, theta <- theta - lr v"),
        Rule("momentum", _velocity(gain=_average), ("beta",), "the velocity is an average: v <- beta v + (1 - beta) g"),
        Rule(
            "nesterov",
            _velocity(True, nesterov=True),
            ("beta",),
            "v <- beta v + lr g, theta <- theta - (beta v + lr g)",
        ),
        Rule("nesterov", _velocity(nesterov=True), ("beta",), "v <- beta v + g, theta <- theta - lr (beta v + g)"),
        Rule(
            "nesterov",
            _velocity(nesterov=True, gain=_average),
            ("beta",),
            "the velocity is an average: v <- beta v + (1 - beta) g",
        ),
        Rule(
            "momentum",
            _velocity(gain=_dampened),
            ("beta", "dampening"),
            "all gradients but the first are dampened",
            VARIANT,
        ),
    ),
    0: (
        Rule("sign", _sign, ()),
        Rule("sign", _soft_sign, EPS, SOFT, DOUBT),
        Rule("rmsprop", _rmsprop, ("decay", *EPS)),
        Rule("adagrad", _adagrad, EPS),
        Rule("adam", _adam(), ADAM),
        Rule("adam", _adam(late=False), ADAM, BEFORE, VARIANT),
        Rule("adam", _adam(first=False, second=False), ADAM, "no bias correction, or t stands still", VARIANT),
        Rule("adam", _adam(second=False), ADAM, "no bias correction of the second moment", FAULT),
        Rule("adam", _adam(first=False), ADAM, "no bias correction of the first moment", FAULT),
    ),
}
OTHER_POWERS = {
    -1: "the root of the second moment is missing: steps shrink as gradients grow",
    0.5: "the second moment is an average of gradients that are not squared",
}

# What may be done to a rule


class Change(NamedTuple):
    """Weight decay or a mistake, as a function from a recurrence to the changed recurrence.

    ``measured_by`` names the measurement from which the search for its parameters starts.
    """

    finding: str
    kind: int
    parameters: tuple[str, ...]
    of: Callable[[Recurrence], Recurrence]
    measured_by: str = ""
    needs: str = ""  # a parameter of the rule, without which the change would do nothing


def _decay(amount: Callable[[Any, Values], Any]) -> Callable[[Recurrence], Recurrence]:
    """Decoupled decay: theta loses a fraction of itself.  Decay after the step would be the same with another lr."""

    def of(step: Recurrence) -> Recurrence:
        def decayed(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
            return step(p, g, s, t, lr, h) - amount(lr, h) * p

        return decayed

    return of


def _coupled(step: Recurrence) -> Recurrence:
    return lambda p, g, s, t, lr, h: step(p, g + h["weight_decay"] * p, s, t, lr, h)


def _scaled(lr: Any, h: Values) -> Any:
    return lr * h["weight_decay"]


def _unscaled(lr: Any, h: Values) -> Any:
    return h["weight_decay"]


WEIGHT = ("weight_decay",)
NOTHING = Change("", FORM, (), lambda step: step)
DECAYS = (
    Change(
        "weight decay is decoupled: theta <- (1 - lr weight_decay) theta", FORM, WEIGHT, _decay(_scaled), "decay / lr"
    ),
    Change(
        "weight decay is coupled: added to the gradient, it goes through the moments",
        VARIANT,
        WEIGHT,
        _coupled,
        "balance",
    ),
    Change("weight decay is not scaled by the learning rate", VARIANT, WEIGHT, _decay(_unscaled), "decay"),
)


def _repeated(times: int, counting: bool) -> Callable[[Recurrence], Recurrence]:
    """The rule is applied several times with one gradient; the step counter advances each time, or once."""

    def of(step: Recurrence) -> Recurrence:
        def steps(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
            for i in range(times):
                p = step(p, g, s, times * (t - 1) + i + 1 if counting else t, lr, h)
            return p

        return steps

    return of


def _counted(start: int, stride: int) -> Callable[[Recurrence], Recurrence]:
    return lambda step: lambda p, g, s, t, lr, h: step(p, g, s, start + stride * (t - 1), lr, h)


def _clipped(step: Recurrence) -> Recurrence:
    return lambda p, g, s, t, lr, h: step(p, np.clip(g, -h["clip"], h["clip"]), s, t, lr, h)


def _counting(start: int, stride: int) -> Change:
    words = [f"starts at {start} and not at 1"] * (start > 1) + [f"advances by {stride} a step"] * (stride > 1)
    return Change(f"the step counter {' and '.join(words)}", FAULT, (), _counted(start, stride), needs="beta1")


def _forgetting(slot: str) -> Callable[[Recurrence], Recurrence]:
    """A moment is reset to 0 before each step, so its bias correction only changes the learning rate."""

    def of(step: Recurrence) -> Recurrence:
        def forgetful(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
            s[slot] = 0.0
            return step(p, g, s, t, lr, h)

        return forgetful

    return of


REPEATED = tuple(
    Change(f"applied {times} times a step", FAULT, (), _repeated(times, counting))
    for times in range(2, 9)
    for counting in (False, True)
)
COUNTED = tuple(_counting(i, by) for by in range(1, 9) for i in range(1, by + 2) if (i, by) != (1, 1))
CLIPPED = Change("gradients are clipped", VARIANT, ("clip",), _clipped, "epsilon")
LOST_MOMENTS = {  # by the power of g in the moment
    1: "the first moment is lost between steps",
    2: "the second moment is lost between steps",
}
LOST = (
    Change(LOST_MOMENTS[1], FAULT, ("beta1",), _forgetting("m"), "fall", "beta1"),
    Change(LOST_MOMENTS[2], FAULT, ("beta2",), _forgetting("v"), "rise", "beta2"),
)
