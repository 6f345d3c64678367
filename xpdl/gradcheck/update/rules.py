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


def _mixed(s: Memory, slot: str, beta: Any, new: Any, share: Any = None) -> Any:
    """The moment in this slot, an exponential average: beta of the old one and 1 - beta of the new."""
    s[slot] = beta * s[slot] + (1 - beta if share is None else share) * new
    return s[slot]


def _root(v: Any, h: Values) -> Any:
    return np.sqrt(v + h["eps_root"]) + h["eps"]


def _rmsprop(
    centred: Any = 0, push: str = "", stale: bool = False, share: Any = None, start: bool = False
) -> Recurrence:
    """Tieleman & Hinton 2012; less the square of the mean (Graves 2013); with a heavy ball (TensorFlow, PyTorch).

    ``push`` says where the learning rate of the heavy ball stands, ``centred`` is the power of the mean.
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        if start and t == 1:
            s["v"] = s["v"] + h["start"]
        v = s["v"] if stale else _mixed(s, "v", h["decay"], g * g, share)
        if centred:
            v = v - _mixed(s, "mean", h["decay"], g) ** centred
        move = g / _root(v, h)
        if stale:
            _mixed(s, "v", h["decay"], g * g, share)
        if not push:
            return p - lr * move
        s["b"] = h["beta"] * s["b"] + move * (lr if push == "inside" else 1.0)
        return p - s["b"] * (1.0 if push == "inside" else lr)

    return step


def _stale_adagrad(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
    p = p - lr * g / _root(s["v"], h)
    s["v"] = s["v"] + g * g
    return p


def _adadelta(of: str = "steps", rms: Any = np.sqrt, stale: bool = False, outside: bool = False) -> Recurrence:
    """Zeiler 2012: theta <- theta - lr d, d = sqrt(u + eps) / sqrt(v + eps) g; u averages d^2 and v averages g^2."""

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        v = s["v"] if stale else _mixed(s, "v", h["decay"], g * g)
        e = h["eps_root"]
        d = g * (np.sqrt(s["u"]) + e**0.5) / (np.sqrt(v) + e**0.5) if outside else g * rms(s["u"] + e) / rms(v + e)
        _mixed(s, "u", h["decay"], g * g if of == "gradients" else d * d)
        if stale:
            _mixed(s, "v", h["decay"], g * g)
        return p - lr * d

    return step


def _unbias(beta: Any, t: Any, power: int) -> Any:
    return (1 - np.power(beta, t)) ** power


def _adam(
    first: int = 1, second: int = 1, late: bool = True, top: str = "", of: str = "g", stale: str = ""
) -> Recurrence:
    """Kingma & Ba 2015, Algorithm 1.

    first, second  how often the bias of the moments is corrected
    late           whether epsilon is added after the bias correction
    top            of what the maximum is kept, as AMSGrad does: raw or corrected second moments; or it is unused
    of             what is squared: the gradient, the first moment, or the surprise g - m as in AdaBelief
    stale          the moment that is updated after its use
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        old = dict(s)
        before = s["m"]
        m = _mixed(s, "m", h["beta1"], g)
        belief = of in ("surprise", "surprise before")
        seen = {"g": g, "m": m, "surprise": g - m, "surprise before": g - before}[of]
        v = _mixed(s, "v", h["beta2"], seen * seen)
        if belief:
            s["v"] = v = v + h["eps_root"]
        m, v = (old.get(slot, np.float64(0)) if slot == stale else x for slot, x in (("m", m), ("v", v)))
        unbias1, unbias2 = _unbias(h["beta1"], t, first), _unbias(h["beta2"], t, second)
        v = v if top in ("raw", "unused") else v / unbias2
        if top:
            s["top"] = np.maximum(s["top"], v)
            v = v if top == "unused" else s["top"]
        v = v / unbias2 if top in ("raw", "unused") else v
        early = 1.0 if late else unbias2
        root = 0.0 if belief else h["eps_root"] / early
        return p - lr * m / unbias1 / (np.sqrt(v + root) + h["eps"] / early**0.5)

    return step


def _nadam(form: str = "optax", second: int = 1, first: int = 1, share: bool = True) -> Recurrence:
    """Dozat 2016, Adam with Nesterov's momentum.

    optax     m^ = beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)
    ruder     both parts are divided by 1 - beta1^t (Ruder 2016)
    schedule  Dozat's schedule beta1 (1 - 0.5 0.96^(psi t)), as in PyTorch and Keras
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        beta = h["beta1"]
        m, v = _mixed(s, "m", beta, g), _mixed(s, "v", h["beta2"], g * g)
        part = (1 - beta) if share else 1.0
        if form == "schedule":
            mu, after = (beta * (1 - 0.5 * 0.96 ** (k * h["psi"])) for k in (t, t + 1))
            s["product"] = (s["product"] if t > 1 else 1.0) * mu
            up = (1 - mu) * g / (1 - s["product"]) + after * m / (1 - s["product"] * after)
        else:
            up = beta * m / _unbias(beta, t + (form == "optax"), first) + part * g / _unbias(beta, t, first)
        return p - lr * up / _root(v / _unbias(h["beta2"], t, second), h)

    return step


def _adamax(first: int = 1, second: int = 0, inside: bool = False, norm: str = "max", stale: str = "") -> Recurrence:
    """Kingma & Ba 2015, Algorithm 2: u <- max(beta2 u, |g|); epsilon is added to u, or to |g| as in PyTorch, optax."""

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        before = s["m"]
        m = _mixed(s, "m", h["beta1"], g)
        old, new = h["beta2"] * s["u"], np.abs(g) + (h["eps"] if inside else 0.0)
        s["u"] = {"max": np.maximum(old, new), "sum": old + new, "average": old + (1 - h["beta2"]) * new}[norm]
        m, eps = before if stale else m, 0.0 if inside else h["eps"]
        return p - lr * m / _unbias(h["beta1"], t, first) / (s["u"] / _unbias(h["beta2"], t, second) + eps)

    return step


def _radam(first: int = 1, second: int = 1, late: bool = True, least: float = 5.0, power: float = 0.5) -> Recurrence:
    """Liu et al. 2020: Adam's step times sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)).

    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t).  Where rho is not above ``least``, too
    little is known of v, and the step is lr m / (1 - beta1^t).
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        m, v = _mixed(s, "m", h["beta1"], g), _mixed(s, "v", h["beta2"], g * g)
        up, unbias2 = m / _unbias(h["beta1"], t, first), 1 - np.power(h["beta2"], t)
        whole = 2 / (1 - h["beta2"]) - 1
        rho = whole - 2 * t * np.power(h["beta2"], t) / unbias2
        rest = ((rho - 4) * (rho - 2) * whole / ((whole - 4) * (whole - 2) * rho)) ** power
        eps, corrected = h["eps"] * (1.0 if late else unbias2**-0.5), v / unbias2**second
        adaptive = rest * up / (np.sqrt(corrected + h["eps_root"]) + eps)
        return p - lr * np.where(rho > least, adaptive, up)

    return step


def _lion(one: bool = False) -> Recurrence:
    """Chen et al. 2023: the sign of beta1 m + (1 - beta1) g, then m <- beta2 m + (1 - beta2) g.

    With one beta for both it is Signum, the sign of the first moment (Bernstein et al. 2018).
    """

    def step(p: Any, g: Any, s: Memory, t: Any, lr: Any, h: Values) -> Any:
        beta1, beta2 = (h["beta"], h["beta"]) if one else (h["beta1"], h["beta2"])
        c = beta1 * s["m"] + (1 - beta1) * g
        _mixed(s, "m", beta2, g)
        return p - lr * np.sign(c)

    return step


FORM, DOUBT, UNSEEN, VARIANT, FAULT = range(5)
"""The kinds of findings.

FORM     worth knowing
DOUBT    may be wrong, unless it is expected
UNSEEN   may be wrong, and the precision does not tell
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
    late: bool = False  # whether the first steps do not show all of its parameters


EPS = ("eps", "eps_root")
ADAM = ("beta1", "beta2", *EPS)
AVERAGE = "the velocity is an average: v <- beta v + (1 - beta) g"
CENTRED = "centred: v less the square of the mean"
BEFORE = "epsilon is added before the bias correction (the 'epsilon hat' of Kingma & Ba 2015, section 2)"
APART = ": pass expected= to tell them apart"
SOFT = f"g / (|g| + eps): Adam and RMSprop do the same if their state is lost between steps{APART}"
SUM = f"v is no average: the factor 1 - decay is missing, or the learning rate makes up for it{APART}"
TWICE = "the bias of {} corrected twice: in the moment and in the learning rate, or two times in the moment"
UNCORRECTED = "no bias correction"
LATE = "the {} moment is updated after it is used: the step of the last gradient comes one step late"
EPSILON_IN_MAXIMUM = "u <- max(beta2 u, |g| + eps)"
BALL = ("beta", "decay", *EPS)
RULES: tuple[Rule, ...] = (
    Rule("sgd", _sgd, ()),
    Rule("momentum", _velocity(inside=True), ("beta",), "heavy ball: v <- beta v + lr g, theta <- theta - v"),
    Rule("momentum", _velocity(), ("beta",), "heavy ball: v <- beta v + g, theta <- theta - lr v"),
    Rule("momentum", _velocity(gain=_average), ("beta",), AVERAGE),
    Rule(
        "momentum",
        _velocity(gain=_dampened),
        ("beta", "dampening"),
        "all gradients but the first are dampened",
        VARIANT,
    ),
    Rule("nesterov", _velocity(True, True), ("beta",), "v <- beta v + lr g, theta <- theta - (beta v + lr g)"),
    Rule("nesterov", _velocity(nesterov=True), ("beta",), "v <- beta v + g, theta <- theta - lr (beta v + g)"),
    Rule("nesterov", _velocity(nesterov=True, gain=_average), ("beta",), AVERAGE),
    Rule("sign", _sign, ()),
    Rule("sign", _soft_sign, EPS, SOFT, DOUBT),
    Rule("signum", _lion(one=True), ("beta",)),
    Rule("lion", _lion(), ("beta1", "beta2")),
    Rule("radam", _radam(), ADAM, late=True),
    Rule("radam", _radam(late=False), ADAM, "epsilon is added before the bias correction, as in PyTorch", late=True),
    Rule("radam", _radam(least=4.0), ADAM, "rectified from rho = 4 on, as in the paper, and not from 5", late=True),
    Rule("radam", _radam(power=0.0), ADAM, "the steps are not rectified", FAULT, True),
    Rule("radam", _radam(power=1.0), ADAM, "the root of the rectification is missing", FAULT, True),
    Rule("radam", _radam(first=0), ADAM, "no bias correction of the first moment", FAULT, True),
    Rule("radam", _radam(second=0), ADAM, "no bias correction of the second moment", FAULT, True),
    Rule("radam", _radam(2, 2), ADAM, TWICE.format("both moments is"), FAULT, True),
    Rule("adam", _adam(), ADAM),
    Rule("adam", _adam(late=False), ADAM, BEFORE, VARIANT),
    Rule("adam", _adam(0, 0), ADAM, f"{UNCORRECTED}, or t stands still", VARIANT),
    Rule("adam", _adam(1, 0), ADAM, "no bias correction of the second moment", FAULT),
    Rule("adam", _adam(0, 1), ADAM, "no bias correction of the first moment", FAULT),
    Rule("adam", _adam(2, 2), ADAM, TWICE.format("both moments is"), FAULT),
    Rule("adam", _adam(2, 1), ADAM, TWICE.format("the first moment is"), FAULT),
    Rule("adam", _adam(1, 2), ADAM, TWICE.format("the second moment is"), FAULT),
    Rule("adam", _adam(of="m"), ADAM, "the second moment averages m^2 and not g^2", FAULT),
    Rule("adam", _adam(stale="m"), ADAM, LATE.format("first"), FAULT),
    Rule("adam", _adam(stale="v"), ADAM, LATE.format("second"), FAULT),
    Rule("adam", _adam(0, 0, stale="v"), ADAM, LATE.format("second"), FAULT),
    Rule("adagrad", _adagrad, EPS),
    Rule("adagrad", _stale_adagrad, EPS, LATE.format("second"), FAULT),
    Rule("rmsprop", _rmsprop(), ("decay", *EPS)),
    Rule("rmsprop", _rmsprop(share=1.0), ("decay", *EPS), SUM, DOUBT),
    Rule("rmsprop", _rmsprop(push="inside"), BALL, "a heavy ball on top: b <- beta b + lr g / sqrt(v)"),
    Rule("rmsprop", _rmsprop(push="outside"), BALL, "a heavy ball on top: b <- beta b + g / sqrt(v)"),
    Rule("rmsprop", _rmsprop(2), ("decay", *EPS), CENTRED),
    Rule("rmsprop", _rmsprop(2, "inside"), BALL, f"{CENTRED}, and a heavy ball on top: b <- beta b + lr g / sqrt(v)"),
    Rule("rmsprop", _rmsprop(2, "outside"), BALL, f"{CENTRED}, and a heavy ball on top: b <- beta b + g / sqrt(v)"),
    Rule("rmsprop", _rmsprop(start=True), ("decay", "eps_root", "start"), "v does not start at 0"),
    Rule("rmsprop", _rmsprop(stale=True), ("decay", *EPS), LATE.format("second"), FAULT),
    Rule("adadelta", _adadelta(), ("decay", "eps_root")),
    Rule("adadelta", _adadelta("gradients"), ("decay", "eps_root"), "u averages gradients and not steps", FAULT),
    Rule("adadelta", _adadelta(outside=True), ("decay", "eps_root"), "epsilon stands outside the roots", VARIANT),
    Rule("adadelta", _adadelta(stale=True), ("decay", "eps_root"), LATE.format("second"), FAULT),
    Rule("amsgrad", _adam(top="raw"), ADAM, "the maximum of v, corrected for its bias afterwards"),
    Rule("amsgrad", _adam(top="corrected"), ADAM, "the maximum of v after its bias correction"),
    Rule("amsgrad", _adam(0, 0, top="raw"), ADAM, f"{UNCORRECTED}, as in Reddi et al. 2018"),
    Rule("amsgrad", _adam(late=False, top="raw"), ADAM, BEFORE, VARIANT),
    Rule("amsgrad", _adam(top="unused"), ADAM, "the maximum of v is kept, but not used: the steps are Adam's", FAULT),
    Rule("amsgrad", _adam(1, 0, top="raw"), ADAM, "no bias correction of the second moment", FAULT),
    Rule("amsgrad", _adam(0, 1, top="raw"), ADAM, "no bias correction of the first moment", FAULT),
    Rule("amsgrad", _adam(0, 1, top="corrected"), ADAM, "no bias correction of the first moment", FAULT),
    Rule("amsgrad", _adam(2, 2, top="raw"), ADAM, TWICE.format("both moments is"), FAULT),
    Rule("nadam", _nadam(), ADAM, "the bias of m is corrected with t + 1, that of g with t"),
    Rule("nadam", _nadam("schedule"), (*ADAM, "psi"), "Dozat's schedule of beta1: beta1 (1 - 0.5 0.96^(psi t))"),
    Rule("nadam", _nadam("ruder"), ADAM, "the bias of m and of g is corrected with t"),
    Rule("nadam", _nadam(first=0, second=0), ADAM, "no bias correction", VARIANT),
    Rule("nadam", _nadam(first=0), ADAM, "no bias correction of the first moment", FAULT),
    Rule("nadam", _nadam(second=0), ADAM, "no bias correction of the second moment", FAULT),
    Rule("nadam", _nadam(share=False), ADAM, "the factor 1 - beta1 of the gradient is missing", FAULT),
    Rule("adamax", _adamax(), ("beta1", "beta2", "eps")),
    Rule("adamax", _adamax(inside=True), ("beta1", "beta2", "eps"), EPSILON_IN_MAXIMUM),
    Rule("adamax", _adamax(0), ("beta1", "beta2", "eps"), "no bias correction of the first moment", FAULT),
    Rule("adamax", _adamax(2), ("beta1", "beta2", "eps"), TWICE.format("the first moment is"), FAULT),
    Rule("adamax", _adamax(1, 1), ("beta1", "beta2", "eps"), "u is divided by 1 - beta2^t, but has no bias", FAULT),
    Rule("adamax", _adamax(norm="sum"), ("beta1", "beta2", "eps"), "u is a sum and not a maximum", FAULT),
    Rule("adamax", _adamax(norm="average"), ("beta1", "beta2", "eps"), "u is an average and not a maximum", FAULT),
    Rule("adamax", _adamax(stale="m"), ("beta1", "beta2", "eps"), LATE.format("first"), FAULT),
    Rule("adabelief", _adam(of="surprise"), ADAM),
    Rule("adabelief", _adam(0, 0, of="surprise"), ADAM, "no bias correction", VARIANT),
    Rule("adabelief", _adam(1, 0, of="surprise"), ADAM, "no bias correction of the second moment", FAULT),
    Rule("adabelief", _adam(0, 1, of="surprise"), ADAM, "no bias correction of the first moment", FAULT),
    Rule("adabelief", _adam(2, 2, of="surprise"), ADAM, TWICE.format("both moments is"), FAULT),
    Rule("adabelief", _adam(of="surprise before"), ADAM, "the gradient is compared with the mean before it", FAULT),
)
SCHEDULES_OF_A_BIAS = {
    (1.0, -0.5): TWICE.format("both moments is"),
    (1.0, 0.0): TWICE.format("the first moment is"),
    (0.0, -0.5): TWICE.format("the second moment is"),
}
"""Learning rates that are constant times (1 - beta1^t)^-a (1 - beta2^t)^-b, by (a, b)."""
INSIDE = ("adadelta", "adabelief")
"""Rules whose textbook has epsilon inside the root."""
STATELESS = (_sgd, _sign, _soft_sign)
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
WELL_KNOWN = ("sgd", "momentum", "nesterov", "sign", "adagrad", "rmsprop", "adam")
"""Rules around which all mistakes are tried, however rare; around the others, those of COMMON."""
COMMON = (*(REPEATED[:2]), *COUNTED[:3])
LOST_MOMENTS = {  # by the power of g in the moment
    1: "the first moment is lost between steps",
    2: "the second moment is lost between steps",
}
LOST = (
    Change(LOST_MOMENTS[1], FAULT, ("beta1",), _forgetting("m"), "fall", "beta1"),
    Change(LOST_MOMENTS[2], FAULT, ("beta2",), _forgetting("v"), "rise", "beta2"),
)
