"""Update rules: ours are recognised with their numbers, and wrong ones, one kind a line, by what is wrong with them."""

from collections import namedtuple
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from xpdl import Network, Optimizer, adam, adamw, momentum, rmsprop, schedules, sgd
from xpdl.gradcheck.update import check_update

# Ours: optimizer, rule, hyper-parameters, a word of the findings

ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "eps_root": 0.0}
OURS: dict[str, tuple[Optimizer, str, dict[str, float], str]] = {
    "sgd": (sgd(0.1), "sgd", {"lr": 0.1}, ""),
    "sgd, fast": (sgd(7.0), "sgd", {"lr": 7.0}, ""),
    "momentum": (momentum(0.1), "momentum", {"lr": 0.1, "beta": 0.9}, "heavy ball"),
    "momentum, 0.5": (momentum(1e-4, beta=0.5), "momentum", {"lr": 1e-4, "beta": 0.5}, "heavy ball"),
    "momentum, 0.99": (momentum(0.1, beta=0.99), "momentum", {"lr": 0.1, "beta": 0.99}, "heavy ball"),
    "momentum, average": (momentum(0.3, average=True), "momentum", {"lr": 0.3, "beta": 0.9}, "is an average"),
    "nesterov": (momentum(0.1, nesterov=True), "nesterov", {"lr": 0.1, "beta": 0.9}, "beta v + lr g"),
    "nesterov, average": (
        momentum(0.1, beta=0.7, nesterov=True, average=True), "nesterov", {"lr": 0.1, "beta": 0.7}, "is an average"
    ),
    "rmsprop": (rmsprop(0.01), "rmsprop", {"lr": 0.01, "decay": 0.9, "eps": 1e-8, "eps_root": 0}, ""),
    "rmsprop, large eps": (rmsprop(2, decay=0.99, eps=0.5), "rmsprop", {"lr": 2, "decay": 0.99, "eps": 0.5}, ""),
    "rmsprop, origin": (
        rmsprop(0.1, eps=0, eps_root=1e-8), "rmsprop", {"eps": 0, "eps_root": 1e-8, "decay": 0.9}, "inside the root"
    ),
    "adam": (adam(), "adam", ADAM, ""),
    "adam, others": (adam(0.5, beta1=0.3, beta2=0.8, eps=1e-3), "adam", {"lr": 0.5, "beta1": 0.3, "beta2": 0.8}, ""),
    "adam, tiny eps": (adam(eps=1e-15), "adam", ADAM | {"eps": 1e-15}, ""),
    "adam, slow": (adam(beta2=0.99999), "adam", ADAM | {"beta2": 0.99999}, ""),
    "adam, origin": (adam(eps=0, eps_root=1e-8), "adam", ADAM | {"eps": 0, "eps_root": 1e-8}, "inside the root"),
    "adam, both": (adam(eps=0.1, eps_root=0.2), "adam", ADAM | {"eps": 0.1, "eps_root": 0.2}, "inside the root"),
    "adam, no memory": (adam(beta1=0, beta2=0), "adam", ADAM | {"beta1": 0, "beta2": 0}, ""),
    "adam, no first": (adam(beta1=0), "adam", ADAM | {"beta1": 0}, ""),
    "adamw": (adamw(), "adamw", ADAM | {"weight_decay": 0.01}, "decoupled"),
    "adamw, strong": (adamw(0.1, weight_decay=0.5), "adamw", ADAM | {"lr": 0.1, "weight_decay": 0.5}, "decoupled"),
    "adamw without decay": (adamw(weight_decay=0), "adam", ADAM, ""),
}  # fmt: skip


@pytest.mark.parametrize("label", OURS)
def test_ours_are_recognised(label) -> None:
    optimizer, rule, values, words = OURS[label]
    report = check_update(optimizer)
    assert (report.verdict, report.rule) == ("PASS", rule), report
    assert {name: report.hyperparameters[name] for name in values} == pytest.approx(values, rel=1e-6, abs=0)
    assert words in " ".join(report.findings)
    assert words or not report.findings


@pytest.mark.parametrize("label", OURS)
def test_ours_are_recognised_in_float32(label) -> None:
    optimizer, rule, values, _ = OURS[label]
    report = check_update(optimizer, dtype="float32")
    assert (report.verdict, report.rule) == ("PASS", rule), report
    values = {name: value for name, value in values.items() if value > 1e-12}
    assert {name: report.hyperparameters[name] for name in values} == pytest.approx(values, rel=0.02)


@pytest.mark.parametrize("seed", range(10))
def test_random_settings_are_recovered(seed) -> None:
    """Each prints itself when it fails."""
    rng = np.random.default_rng(seed)
    lr, eps, weight_decay = (float(10**x) for x in rng.uniform([-5, -13, -3], [0.5, -0.5, 0]))
    values = {"beta1": rng.uniform(0, 0.99), "beta2": 1 - 10 ** rng.uniform(-5, -0.5), "eps": eps}
    values |= {"weight_decay": weight_decay} if seed % 2 else {}
    report = check_update((adamw if seed % 2 else adam)(lr, **values), seed=seed)
    assert report.verdict == "PASS", (values, report)
    assert report.hyperparameters["lr"] == pytest.approx(lr, rel=1e-6), values
    for name, value in values.items():
        assert report.hyperparameters[name] == pytest.approx(value, rel=1e-4), (name, values)


MAKERS = [
    *(("sgd", sgd), ("momentum", momentum), ("momentum", lambda lr: momentum(lr, average=True))),
    *(("rmsprop", rmsprop), ("adam", adam), ("adamw", adamw)),
]


@pytest.mark.parametrize(("name", "make"), MAKERS)
@pytest.mark.parametrize(
    "schedule",
    [schedules.exponential(0.1, 0.97), schedules.warmup(schedules.cosine(0.1, 50), 10), schedules.step(0.1, every=4)],
    ids=["exponential", "cosine", "step"],
)
def test_schedules_are_recovered(name, make, schedule) -> None:
    report = check_update(make(schedule))
    assert (report.verdict, report.rule) == ("PASS", name), report
    assert report.rates == pytest.approx([float(schedule(np.asarray(float(t)))) for t in range(30)], rel=1e-6)
    assert "the learning rate varies" in " ".join(report.findings)


@pytest.mark.parametrize("library", ["array_api_strict", "torch", "jax"])
def test_every_library(library) -> None:
    pytest.importorskip(library)
    report = check_update(adam(), backend=library, steps=8, size=3)
    assert report, report
    assert report.hyperparameters == pytest.approx(ADAM, rel=1e-6)


# Others'


def rule(step: Callable[..., Any], slots: int = 0, t: int = 0) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The optimizer with step(p, g, t, *slots) -> p, *slots on arrays."""

    def update(theta, grad, state):
        count, *vectors = state
        theta, *vectors = step(theta, grad, count + 1, *vectors)
        return theta, (count + 1, *vectors)

    return lambda theta: (t, *(np.zeros_like(theta) for _ in range(slots))), update


def an_adam(
    *, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, root=0.0, hat=False, first=True, second=True, l2=0.0, decay=0.0, times=1,
    count=lambda t: t, square=lambda g: g * g, power=np.sqrt, start=0, keep=(1.0, 1.0),
):  # fmt: skip
    """Adam with a part of it replaced; the moments are kept by the factors ``keep``."""

    def step(p, g, t, m, v):
        t, g = count(t), g + l2 * p
        for _ in range(times):
            m = b1 * keep[0] * m + (1 - b1) * g
            v = b2 * keep[1] * v + (1 - b2) * square(g)
            unbias1, unbias2 = 1 - b1**t if first else 1, 1 - b2**t if second else 1
            scale = power(v / unbias2 + root) + (eps / np.sqrt(unbias2) if hat else eps)
            p = p - lr * m / unbias1 / scale - lr * decay * p
        return p, m, v

    return rule(step, 2, start)


def layered(count: Callable[[int, int], int] = lambda t, l: t, repeats=(1, 1, 1), lr=(1e-3,) * 3) -> Any:
    """Adam layer by layer on a network's parameters, as the origin has it, whose last layer is updated L - 1 times."""
    net = Network([3, 4, 3, 2])
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in net.shapes)])
    parts = [slice(a, b) for a, b in pairwise(starts)]

    def step(p, g, t, m, v):
        p, m, v = p.copy(), m.copy(), v.copy()
        for i, part in enumerate(parts):
            l = i % 3
            for _ in range(repeats[l]):
                m[part] = 0.9 * m[part] + 0.1 * g[part]
                v[part] = 0.999 * v[part] + 0.001 * g[part] ** 2
                unbias1, unbias2 = (1 - b ** count(t, l) for b in (0.9, 0.999))
                p[part] -= lr[l] * (m[part] / unbias1) / np.sqrt(v[part] / unbias2 + 1e-8)
        return p, m, v

    return rule(step, 2), net.size


def in_place(theta, grad, state):
    """Adam on one array for both moments, or on a gradient that is the caller's."""
    m, v = state
    m *= 0.9
    m += 0.1 * grad
    v *= 0.999
    v += 0.001 * grad**2
    theta -= 1e-3 * m / (np.sqrt(v) + 1e-8)
    return theta, (m, v)


def shared(theta):
    zeros = np.zeros_like(theta)
    return zeros, zeros


def decays_the_gradient(theta, grad, state):
    grad += 0.01 * theta
    theta -= 0.1 * grad
    return theta, state


def keeps_the_gradient(theta, grad, state):
    return theta - 0.1 * (grad if state is None else grad + 0.9 * state), grad


def hidden_counter():
    memory = {"v": 0.0}

    def step(p, g, t):
        memory["v"] = 0.9 * memory["v"] + g
        return (p - 0.1 * memory["v"],)

    return rule(step)


def noisy():
    rng = np.random.default_rng(0)
    return rule(lambda p, g, t: (p - 0.1 * g * (1 + 0.1 * rng.standard_normal(p.shape)),))


def torch_momentum(p, g, t, v):
    v = 0.9 * v + (g if t == 1 else 0.7 * g)
    return p - 0.1 * v, v


def heavy(p, g, t, v, times=1, l2=0.0):
    for _ in range(times):
        v = 0.9 * v + g + l2 * p
        p = p - 0.1 * v
    return p, v


def lost(optimizer):
    """The state is not returned."""
    init, update = optimizer
    return init, lambda theta, grad, state: (update(theta, grad, init(theta))[0], init(theta))


def stateless(optimizer):
    init, update = optimizer
    return lambda theta: (), lambda theta, grad, state: (update(theta, grad, init(theta))[0], ())


def forgetful(slot, kept=True, **parts):
    """Adam that takes one moment for 0 at each step, be it in its state or not."""
    init, update = an_adam(**parts)

    def start(theta):
        state = init(theta)
        return state if kept else state[: slot + 1] + state[slot + 2 :]

    def step(theta, grad, state):
        rest = state[slot + 1 + kept :]
        theta, state = update(theta, grad, (*state[: slot + 1], 0 * theta, *rest))
        return theta, state if kept else state[: slot + 1] + state[slot + 2 :]

    return start, step


def moments(g, m, v):
    return 0.9 * m + (1 - 0.9) * g, 0.999 * v + (1 - 0.999) * g * g


forgets_velocity = rule(lambda p, g, t, v: (p - 0.1 * 0.1 * g, 0.1 * g), 1)
last_layer = "entries 24 to 29, 37 to 38 of 39: "
SEVEN = rule(lambda p, g, t: (p - np.where(np.arange(p.size) == 7, 0.3, 0.1) * g,))
FROZEN = rule(lambda p, g, t: (p - np.where(np.arange(p.size) == 0, 0.0, 0.1) * g,))
SIGN = (lambda theta: None, lambda theta, grad, state: (theta - 1e-3 * np.sign(grad), state))
SOFT_SIGN = (lambda theta: (), lambda theta, grad, state: (theta - 1e-3 * grad / (abs(grad) + 1e-8), state))
OPTIMISTIC = rule(lambda p, g, t, last: (p - 0.1 * (2 * g - last), g.copy()), 1)
WRONG = {  # label: (optimizer, size, what is found)
    "applied twice": (an_adam(times=2), 8, "applied 2 times a step"),
    "heavy ball applied 3 times": (rule(lambda p, g, t, v: heavy(p, g, t, v, 3), 1), 8, "applied 3 times a step"),
    "the origin's last layer": (*layered(repeats=(1, 1, 2)), last_layer + "applied 2 times a step"),
    "the origin's with L = 5": (*layered(repeats=(1, 1, 4)), last_layer + "applied 4 times a step"),
    "counter goes on in layers": (*layered(count=lambda t, l: 3 * (t - 1) + l + 1), "the step counter"),
    "a layer with another rate": (*layered(lr=(1e-3, 1e-3, 2e-3)), last_layer + "move 2 times as far"),
    "an entry with another rate": (SEVEN, 8, "entries 7 of 8: move 3 times as far"),
    "an entry that stands still": (FROZEN, 8, "entries 0 of 8: never updated"),
    "state reset": (lost(an_adam()), 8, "the state is lost between steps"),
    "state of momentum reset": (lost(rule(heavy, 1)), 8, "the state is lost between steps: 1 of its 1"),
    "first moment reset": (forgetful(0), 8, "the first moment is lost between steps"),
    "second moment reset": (forgetful(1), 8, "the second moment is lost between steps"),
    "first moment not kept": (forgetful(0, kept=False), 8, "the first moment is lost between steps"),
    "second moment not kept": (forgetful(1, kept=False), 8, "the second moment is lost between steps"),
    "first moment reset, eps before": (forgetful(0, hat=True), 8, "the first moment is lost between steps"),
    "first moment reset, no correction": (
        forgetful(0, first=False, second=False),
        8,
        "the first moment is lost between steps",
    ),
    "first moment not kept, AdamW": (forgetful(0, kept=False, decay=0.01), 8, "the first moment is lost between steps"),
    "second moment not kept, AdamW": (
        forgetful(1, kept=False, decay=0.01),
        8,
        "the second moment is lost between steps",
    ),
    "velocity reset": (forgets_velocity, 8, "the first moment is lost between steps"),
    "counter starts at 0": (an_adam(start=-1), 8, "a step counter that starts at 0"),
    "counter that divides by 0": (rule(lambda p, g, t: (p - g / (1 - 0.9**t) * (1 / (t - 1)),)), 8, "starts at 0"),
    "counter starts at 2": (an_adam(start=1), 8, "the step counter starts at 2 and not at 1"),
    "counter by 2": (an_adam(count=lambda t: 2 * t - 1), 8, "the step counter advances by 2 a step"),
    "counter for each of 4": (an_adam(count=lambda t: 4 * t), 8, "starts at 4 and not at 1 and advances by 4"),
    "only m corrected": (an_adam(second=False), 8, "no bias correction of the second moment"),
    "only v corrected": (an_adam(first=False), 8, "no bias correction of the first moment"),
    "not squared": (an_adam(square=lambda g: g), 8, "not squared"),
    "absolute": (an_adam(square=abs), 8, "not squared"),
    "no root": (an_adam(power=lambda v: v), 8, "the root of the second moment is missing"),
    "sign lost": (rule(lambda p, g, t: (p - 0.1 * abs(g),)), 8, "the sign of the gradient is lost"),
    "uphill": (rule(lambda p, g, t: (p + 0.1 * g,)), 8, "uphill"),
    "uphill adam": (an_adam(lr=-1e-3), 8, "uphill"),
    "no epsilon": (an_adam(eps=0.0), 8, "an epsilon is missing"),
    "moments in one array": ((shared, in_place), 8, "share memory"),
    "gradient changed": ((lambda theta: (), decays_the_gradient), 8, "update changes the gradient"),
    "gradient kept": ((lambda theta: None, keeps_the_gradient), 8, "the gradient and a state vector share memory"),
    "theta kept": ((lambda theta: theta, lambda p, g, s: (p - g, s)), 8, "theta and a state vector share memory"),
    "state elsewhere": (hidden_counter(), 8, "a second run from a new state takes other steps"),
    "random": (noisy(), 8, "a second run from a new state takes other steps"),
}


@pytest.mark.parametrize("label", WRONG)
def test_what_is_wrong_is_said(label) -> None:
    optimizer, size, words = WRONG[label]
    report = check_update(optimizer, size=size)
    assert report.verdict == "FAIL", report
    assert not report
    assert words in str(report)


def test_float64_is_not_float32() -> None:
    widening = rule(lambda p, g, t: (p - np.float64(0.1) * g,))
    report = check_update(widening, dtype="float32")
    assert report.findings[0] == "theta becomes float64, it was float32"


VARIANTS = {  # label: (optimizer, its name, what is found): consistent, but not the textbook's
    "eps inside": (an_adam(eps=0.0, root=1e-8), "adam", "epsilon stands inside the root"),
    "eps before": (an_adam(hat=True), "adam", "epsilon is added before the bias correction"),
    "uncorrected": (an_adam(first=False, second=False), "adam", "no bias correction"),
    "coupled": (an_adam(l2=0.01), "adam", "weight decay is coupled"),
    "coupled momentum": (rule(lambda p, g, t, v: heavy(p, g, t, v, l2=0.1), 1), "momentum", "decay is coupled"),
    "dampened": (rule(torch_momentum, 1), "momentum", "all gradients but the first are dampened"),
    "clipped": (rule(lambda p, g, t: (p - 0.1 * np.clip(g, -1, 1),)), "sgd", "gradients are clipped"),
    "unscaled": (
        rule(lambda p, g, t: (p - 0.1 / t * g - 0.01 * p,)), "sgd", "weight decay is not scaled by the learning rate"
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", VARIANTS)
def test_variants_pass_unless_the_textbook_is_expected(label) -> None:
    optimizer, name, words = VARIANTS[label]
    report = check_update(optimizer)
    assert (report.verdict, report.rule) == ("PASS", name), report
    assert words in report.findings[0]
    assert check_update(optimizer, expected=name).verdict == "FAIL"


def test_values_of_variants() -> None:
    assert check_update(an_adam(l2=0.03)).hyperparameters["weight_decay"] == pytest.approx(0.03, rel=1e-6)
    assert check_update(rule(torch_momentum, 1)).hyperparameters["dampening"] == pytest.approx(0.3, rel=1e-6)
    clipped = rule(lambda p, g, t: (p - 0.1 * np.clip(g, -3, 3),))
    assert check_update(clipped).hyperparameters == pytest.approx({"lr": 0.1, "clip": 3.0})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("expected", [None, "sign"])
def test_a_sign_needs_no_state(expected, dtype) -> None:
    report = check_update(SIGN, expected=expected, dtype=dtype)
    assert (report.verdict, report.rule, report.findings) == ("PASS", "sign", ()), report
    assert report.hyperparameters == pytest.approx({"lr": 1e-3})


DOUBTFUL = [  # optimizer, what it may be meant to be: numbers do not tell that from a state that is lost
    (SOFT_SIGN, "sign"),
    (stateless(an_adam()), "sign"),
    (adam(beta2=0), "adam"),
]


@pytest.mark.parametrize(("optimizer", "meant"), DOUBTFUL)
def test_what_may_be_a_lost_state_passes_if_it_is_expected(optimizer, meant) -> None:
    report = check_update(optimizer)
    assert (report.verdict, report.rule) == ("INCONCLUSIVE", meant), report
    assert "lost between steps: pass expected= to tell them apart" in str(report)
    assert check_update(optimizer, expected=meant).verdict == "PASS"


@pytest.mark.parametrize("optimizer", [momentum(0.1, beta=0), rmsprop(0.1, decay=0), OPTIMISTIC])
def test_a_state_may_be_the_last_gradient(optimizer) -> None:
    assert "lost" not in str(check_update(optimizer))


EXPECTED = [  # optimizer, expected, verdict, first finding
    (adam(), "adam", "PASS", None),
    (adamw(), "adamw", "PASS", "weight decay is decoupled"),
    (momentum(0.1, average=True), "momentum", "PASS", "the velocity is an average"),
    (rmsprop(0.1), "adam", "FAIL", "expected adam, found rmsprop"),
    (adamw(), "adam", "FAIL", "expected adam, found adamw"),
    (an_adam(l2=0.01), "adamw", "FAIL", "expected adamw, found adam"),
    (stateless(an_adam()), "adam", "FAIL", "expected adam, found sign"),
    (stateless(rule(heavy, 1)), "momentum", "FAIL", "expected momentum, found sgd"),
    (rule(lambda p, g, t: (p - 0.1 * np.tanh(g),)), "sgd", "FAIL", "expected sgd, found no known rule"),
]


@pytest.mark.parametrize(("optimizer", "expected", "verdict", "words"), EXPECTED)
def test_what_is_expected(optimizer, expected, verdict, words) -> None:
    report = check_update(optimizer, expected=expected)
    assert report.verdict == verdict, report
    assert report.findings == () if words is None else report.findings[0].startswith(words)


@pytest.mark.parametrize(
    "step",
    [lambda p, g, t: (p - 0.1 * np.tanh(g),), lambda p, g, t: (p - 0.1 * g - 0.01 * g**3,), lambda p, g, t: (p,)],
)
def test_unknown_rules_are_inconclusive(step) -> None:
    report = check_update(rule(step))
    assert (report.verdict, report.rule, dict(report.hyperparameters)) == ("INCONCLUSIVE", None, {})
    assert report.findings == ("no known rule takes these steps",)


COUPLED = {
    "centred": rule(lambda p, g, t: (p - 0.1 * (g - g.mean()),)),
    "by the norm of theta": rule(lambda p, g, t: (p - 0.1 * g / (1 + np.linalg.norm(p)),)),
}


@pytest.mark.parametrize("optimizer", COUPLED.values(), ids=COUPLED)
def test_entries_may_influence_each_other(optimizer) -> None:
    report = check_update(optimizer)
    assert (report.verdict, report.rule) == ("INCONCLUSIVE", None), report
    assert "entries influence each other" in str(report)
    assert check_update(optimizer, expected="adam").verdict == "FAIL"


def test_a_vector_of_the_state_may_stay_0() -> None:
    adam_with_three = rule(
        lambda p, g, t, m, v, spare: (*an_adam()[1](p, g, (t - 1, m, v))[:1], *moments(g, m, v), spare), 3
    )
    assert check_update(adam_with_three).verdict == "PASS"
    sgd_with_one = rule(lambda p, g, t, spare: (p - 0.1 * g, spare), 1)
    assert check_update(sgd_with_one, expected="sgd").verdict == "PASS"
    one_of_two = rule(lambda p, g, t, v, spare: (*heavy(p, g, t, v), spare), 2)
    assert check_update(one_of_two).verdict == "INCONCLUSIVE"
    assert check_update(one_of_two, expected="momentum").verdict == "PASS"


def test_adagrad() -> None:
    def step(p, g, t, v):
        v = v + g * g
        return p - 0.5 * g / (np.sqrt(v) + 1e-10), v

    report = check_update(rule(step, 1), expected="adagrad")
    assert report, report
    assert report.hyperparameters["lr"] == pytest.approx(0.5)


def test_states_of_any_shape() -> None:
    Moments = namedtuple("Moments", "velocity")

    def update(theta, grad, state):
        state = {"slots": [Moments(0.9 * state["slots"][0].velocity + 0.1 * grad)], "note": "mine"}
        return theta - 0.1 * state["slots"][0].velocity, state

    report = check_update(Optimizer(lambda theta: {"slots": [Moments(0 * theta)], "note": "mine"}, update))
    assert report.findings == ("the velocity is an average: v <- beta v + (1 - beta) g",)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_update("adam"), TypeError, r"optimizer must have init\(theta\) -> state and .* got 'adam'"),
        (lambda: check_update((adam().init,)), TypeError, "optimizer must have init"),
        (lambda: check_update(adam), TypeError, "optimizer must have init"),
        (lambda: check_update((lambda p: 0, lambda p, g, s: p)), TypeError, r"must return \(theta, state\), got array"),
        (lambda: check_update((lambda p: 0, lambda p, g, s: (p[1:], s))), TypeError, r"theta of shape \(8,\), got \(7"),
        (lambda: check_update(sgd(0.1), expected="adm"), ValueError, "did you mean 'adam'"),
        (lambda: check_update(sgd(0.1), size=1), ValueError, "size must be at least 2, got 1"),
        (lambda: check_update(sgd(0.1), steps=3), ValueError, "steps must be at least 8, got 3"),
        (lambda: check_update(sgd(0.1), dtype="int64"), ValueError, "dtype must be float32 or float64"),
    ],
)
def test_wrong_arguments_are_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
