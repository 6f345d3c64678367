"""The rules of the literature and the mistakes people make in them, written again in plain NumPy."""

# ruff: noqa: C408, N806

import numpy as np
import pytest

from xpdl.gradcheck.update import check_update


def opt(step, slots):
    """The optimizer with step(p, g, t, *slots) -> p, *slots."""

    def update(theta, grad, state):
        t, *vectors = state
        theta, *vectors = step(theta, grad, t + 1, *vectors)
        return theta, (t + 1, *vectors)

    return lambda theta: (0, *(np.zeros_like(theta) for _ in range(slots))), update


def right(rng):
    """Rules with random hyper-parameters: the optimizer, its name, and what must be recovered."""
    lr = float(10 ** rng.uniform(-4, 0))
    b1 = float(rng.uniform(0.5, 0.97))
    b2 = float(1 - 10 ** rng.uniform(-4, -1))
    e = float(10 ** rng.uniform(-9, -3))
    mu = float(rng.uniform(0.3, 0.95))
    H = dict(lr=lr, beta1=b1, beta2=b2, eps=e)
    R = {}

    def amsraw(p, g, t, m, v, x):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        x = np.maximum(x, v)
        return p - lr / (1 - b1**t) * m / (np.sqrt(x) / float(np.sqrt(1 - b2**t)) + e), m, v, x

    R["amsgrad/torch"] = ("amsgrad", opt(amsraw, 3), H)

    def amshat(p, g, t, m, v, x):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        x = np.maximum(x, v / (1 - b2**t))
        return p - lr / (1 - b1**t) * m / (np.sqrt(x) + e), m, v, x

    R["amsgrad/hat"] = ("amsgrad", opt(amshat, 3), H)

    def nadam(p, g, t, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        return (
            p - lr * (b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + e),
            m,
            v,
        )

    R["nadam/optax"] = ("nadam", opt(nadam, 2), H)

    def nadamr(p, g, t, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        return p - lr * (b1 * m / (1 - b1**t) + (1 - b1) * g / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + e), m, v

    R["nadam/ruder"] = ("nadam", opt(nadamr, 2), H)

    def nt():
        def init(th):
            return (0, 1.0, np.zeros_like(th), np.zeros_like(th))

        def update(p, g, s):
            t, pr, m, v = s
            t += 1
            mu1 = b1 * (1 - 0.5 * 0.96 ** (t * 0.004))
            mu2 = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * 0.004))
            pr *= mu1
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            d = np.sqrt(v / (1 - b2**t)) + e
            p = p - lr * (1 - mu1) / (1 - pr) * g / d
            p = p - lr * mu2 / (1 - pr * mu2) * m / d
            return p, (t, pr, m, v)

        return init, update

    R["nadam/torch"] = ("nadam", nt(), H)

    def adamax(p, g, t, m, u):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + e)
        return p - lr / (1 - b1**t) * m / u, m, u

    R["adamax/torch"] = ("adamax", opt(adamax, 2), H)

    def adamaxk(p, g, t, m, u):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        return p - lr / (1 - b1**t) * m / (u + e), m, u

    R["adamax/keras"] = ("adamax", opt(adamaxk, 2), H)
    R["adagrad"] = (
        "adagrad",
        opt(lambda p, g, t, v: (p - lr * g / (np.sqrt(v + g * g) + e), v + g * g), 1),
        dict(lr=lr, eps=e),
    )
    R["adagrad/optax"] = (
        "adagrad",
        (
            lambda th: (np.full_like(th, 0.1),),
            lambda p, g, s: (p - lr * g / np.sqrt(s[0] + g * g + 1e-7), (s[0] + g * g,)),
        ),
        dict(lr=lr, eps_root=0.1 + 1e-7),
    )

    def adadelta(p, g, t, v, u):
        v = b2 * v + (1 - b2) * g * g
        d = np.sqrt(u + e) / np.sqrt(v + e) * g
        u = b2 * u + (1 - b2) * d * d
        return p - lr * d, v, u

    R["adadelta"] = ("adadelta", opt(adadelta, 2), dict(lr=lr, decay=b2, eps_root=e))

    def lion(p, g, t, m):
        u = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        return p - lr * u, m

    R["lion"] = ("lion", opt(lion, 1), dict(lr=lr, beta1=b1, beta2=b2))

    def lionw(p, g, t, m):
        u = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        return p - lr * (u + 0.1 * p), m

    R["lion/decay"] = ("lion", opt(lionw, 1), dict(lr=lr, beta1=b1, beta2=b2, weight_decay=0.1))

    def signum(p, g, t, m):
        m = b1 * m + (1 - b1) * g
        return p - lr * np.sign(m), m

    R["signum"] = ("signum", opt(signum, 1), dict(lr=lr, beta=b1))

    def belief(p, g, t, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - m) ** 2 + 1e-16
        return p - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + e), m, v

    R["adabelief"] = ("adabelief", opt(belief, 2), H)

    def belief0(p, g, t, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - m) ** 2
        return p - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + e), m, v

    R["adabelief/eps out"] = ("adabelief", opt(belief0, 2), H)

    def cen(p, g, t, v, a):
        v = b2 * v + (1 - b2) * g * g
        a = b2 * a + (1 - b2) * g
        return p - lr * g / (np.sqrt(v - a * a) + e), v, a

    R["rmsprop/centred"] = ("rmsprop", opt(cen, 2), dict(lr=lr, decay=b2, eps=e))

    def mom(p, g, t, v, b):
        v = b2 * v + (1 - b2) * g * g
        b = mu * b + g / (np.sqrt(v) + e)
        return p - lr * b, v, b

    R["rmsprop/momentum torch"] = ("rmsprop", opt(mom, 2), dict(lr=lr, decay=b2, eps=e, beta=mu))

    def momtf(p, g, t, v, b):
        v = b2 * v + (1 - b2) * g * g
        b = mu * b + lr * g / (np.sqrt(v) + e)
        return p - b, v, b

    R["rmsprop/momentum tf"] = ("rmsprop", opt(momtf, 2), dict(lr=lr, decay=b2, eps=e, beta=mu))

    def cenmom(p, g, t, v, a, b):
        v = b2 * v + (1 - b2) * g * g
        a = b2 * a + (1 - b2) * g
        b = mu * b + g / (np.sqrt(v - a * a) + e)
        return p - lr * b, v, a, b

    R["rmsprop/centred momentum"] = ("rmsprop", opt(cenmom, 3), dict(lr=lr, decay=b2, eps=e, beta=mu))

    def amskeras(p, g, t, m, v, x):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        x = np.maximum(x, v)
        return p - lr * float(np.sqrt(1 - b2**t)) / (1 - b1**t) * m / (np.sqrt(x) + e), m, v, x

    R["amsgrad/keras"] = ("amsgrad", opt(amskeras, 3), H)

    def rmstf(p, g, s):
        v = b2 * s[0] + (1 - b2) * g * g
        return p - lr * g / np.sqrt(v + 1e-10), (v,)

    R["rmsprop/tf1, v from 1"] = ("rmsprop", (lambda th: (np.ones_like(th),), rmstf), dict(lr=lr, decay=b2, start=1.0))
    return R


LABELS = list(right(np.random.default_rng(0)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("label", LABELS)
def test_a_rule_is_recognised(label, dtype) -> None:
    name, optimizer, values = right(np.random.default_rng(0 if dtype == "float64" else 1))[label]
    report = check_update(optimizer, dtype=dtype)
    assert (report.verdict, report.rule) == ("PASS", name), report
    if dtype == "float64":
        found = {key: report.hyperparameters[key] for key in values}
        assert found == pytest.approx(values, rel=1e-3, abs=0)


@pytest.mark.parametrize("label", ["amsgrad/torch", "nadam/optax", "adamax/torch", "lion", "adabelief"])
def test_a_rule_may_be_expected(label) -> None:
    name, optimizer, _ = right(np.random.default_rng(0))[label]
    assert check_update(optimizer, expected=name).verdict == "PASS"
    report = check_update(optimizer, expected="adam")
    assert (report.verdict, report.findings[0]) == ("FAIL", f"expected adam, found {name}")


b1, b2, lr, e = 0.9, 0.99, 1e-2, 1e-8


def adam_like(first=1, second=1, sq="g", top="", stale=""):
    def step(p, g, t, m, v, x):
        m0, v0 = m, v
        m = b1 * m + (1 - b1) * g
        d = {"g": g, "m": m, "b": g - m, "old": g - m0}[sq]
        v = b2 * v + (1 - b2) * d * d
        um, uv = (m0 if stale == "m" else m), (v0 if stale == "v" else v)
        c1, c2 = (1 - b1**t) ** first, (1 - b2**t) ** second
        if top:
            x = np.maximum(x, uv / c2 if top == "hat" else uv)
            vv = {"hat": x, "raw": x / c2, "no": uv / c2}[top]
        else:
            vv = uv / c2
        return p - lr * um / c1 / (np.sqrt(vv) + e), m, v, x

    init, up = opt(step, 3)
    return (
        (init, up)
        if top
        else (lambda th: init(th)[:3], lambda p, g, s: (lambda r: (r[0], r[1][:3]))(up(p, g, (*s, np.zeros_like(p)))))
    )


def nadam_like(first=1, second=1, share=True):
    def step(p, g, t, m, v):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        return (
            p
            - lr
            * (b1 * m / (1 - b1 ** (t + 1)) ** first + ((1 - b1) if share else 1) * g / (1 - b1**t) ** first)
            / (np.sqrt(v / (1 - b2**t) ** second) + e),
            m,
            v,
        )

    return opt(step, 2)


def adamax_like(first=1, second=0, norm="max"):
    def step(p, g, t, m, u):
        m = b1 * m + (1 - b1) * g
        u = {"max": np.maximum(b2 * u, abs(g)), "sum": b2 * u + abs(g), "average": b2 * u + (1 - b2) * abs(g)}[norm]
        return p - lr * m / (1 - b1**t) ** first / (u / (1 - b2**t) ** second + e), m, u

    return opt(step, 2)


def adadelta_like(kind):
    ee = 1e-6

    def step(p, g, t, v, u):
        v0 = v
        v = b2 * v + (1 - b2) * g * g
        w = v0 if kind == "stale" else v
        d = g * (np.sqrt(u) + ee) / (np.sqrt(w) + ee) if kind == "outside" else g * np.sqrt(u + ee) / np.sqrt(w + ee)
        u = b2 * u + (1 - b2) * (g * g if kind == "g" else d * d)
        return p - d, v, u

    return opt(step, 2)


def rmsprop_like(share=1 - b2, stale=False):
    def step(p, g, t, v):
        v0 = v
        v = b2 * v + share * g * g
        return p - lr * g / (np.sqrt(v0 if stale else v) + e), v

    return opt(step, 1)


WRONG = {
    "adam twice": (adam_like(2, 2), "twice"),
    "adam first twice": (adam_like(2, 1), "twice"),
    "adam second twice": (adam_like(1, 2), "twice"),
    "adam m2": (adam_like(sq="m"), "m^2"),
    "adam stale m": (adam_like(stale="m"), "late"),
    "ams no first": (adam_like(0, 1, top="raw"), "first"),
    "ams no second": (adam_like(1, 0, top="raw"), "second"),
    "ams hat no first": (adam_like(0, 1, top="hat"), "first"),
    "ams twice": (adam_like(2, 2, top="raw"), "twice"),
    "belief no first": (adam_like(0, 1, "b"), "first"),
    "belief no second": (adam_like(1, 0, "b"), "second"),
    "belief twice": (adam_like(2, 2, "b"), "twice"),
    "belief old": (adam_like(sq="old"), "before"),
    "nadam no first": (nadam_like(0), "first"),
    "nadam no second": (nadam_like(1, 0), "second"),
    "nadam share": (nadam_like(share=False), "missing"),
    "adamax no first": (adamax_like(0), "first"),
    "adamax twice": (adamax_like(2), "twice"),
    "adamax u corrected": (adamax_like(1, 1), "no bias"),
    "adamax sum": (adamax_like(norm="sum"), "sum"),
    "adamax average": (adamax_like(norm="average"), "average"),
    "adadelta g": (adadelta_like("g"), "gradients"),
    "adadelta stale": (adadelta_like("stale"), "late"),
    "amsgrad unused": (adam_like(top="no"), "not used"),
    "momentum stale": (opt(lambda p, g, t, v: (p - lr * v, b1 * v + g), 1), "late"),
    "decay grows": (opt(lambda p, g, t: (p - lr * (g - 0.1 * p),), 0), "weight_decay is negative"),
    "rms stale": (rmsprop_like(stale=True), "late"),
    "adagrad stale": (opt(lambda p, g, t, v: (p - lr * g / (np.sqrt(v) + e), v + g * g), 1), "late"),
}


LATE = {"adadelta stale": "adadelta", "rms stale": "rmsprop", "adagrad stale": "adagrad"}
"""Rules behind which the second moment is late, by name."""
SGD = "adadelta stale"
"""Its steps are those of SGD, whatever epsilon: u is v."""


@pytest.mark.parametrize("label", [label for label in WRONG if label != SGD])
def test_a_mistake_is_named(label) -> None:
    optimizer, words = WRONG[label]
    report = check_update(optimizer)
    assert report.verdict == "FAIL", report
    assert words in report.findings[0]


@pytest.mark.parametrize("label", LATE)
def test_a_second_moment_that_is_late_fails_if_the_rule_is_expected(label) -> None:
    assert check_update(WRONG[label][0], expected=LATE[label]).verdict == "FAIL"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_a_bias_corrected_again_by_the_learning_rate_is_no_schedule(dtype, seed) -> None:
    def step(p, g, t, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        unbias1, unbias2 = 1 - 0.9**t, 1 - 0.999**t
        return p - 0.01 * unbias2**0.5 / unbias1 * m / unbias1 / (np.sqrt(v / unbias2) + 1e-8), m, v

    report = check_update(opt(step, 2), dtype=dtype, seed=seed)
    assert report.verdict == "FAIL", report
    assert "both moments is corrected twice" in report.findings[0]


def test_a_second_moment_that_is_no_average_is_a_doubt() -> None:
    """The steps are those of RMSprop at another learning rate, which may be meant."""
    report = check_update(rmsprop_like(1.0))
    assert (report.verdict, report.rule) == ("INCONCLUSIVE", "rmsprop")
    assert "the factor 1 - decay is missing" in report.findings[0]
    assert check_update(rmsprop_like(1.0), expected="rmsprop").verdict == "PASS"


def test_what_a_state_that_is_not_used_may_mean() -> None:
    velocity = opt(lambda p, g, t, v: (p - lr * g, b1 * v + g), 1)
    for optimizer, count in ((velocity, 1), (WRONG[SGD][0], 2)):
        report = check_update(optimizer)
        assert (report.verdict, report.rule) == ("INCONCLUSIVE", "sgd"), report
        assert f"{count} vectors that change" in report.findings[0]
        assert check_update(optimizer, expected="sgd").verdict == "PASS"


def test_one_moment_that_is_a_sum_is_a_doubt_and_two_are_meant() -> None:
    def sums(share1, share2):
        def step(p, g, t, m, v):
            m, v = b1 * m + share1 * g, b2 * v + share2 * g * g
            return p - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + e), m, v

        return opt(step, 2)

    one = check_update(sums(1.0, 1 - b2))
    assert (one.verdict, one.rule) == ("INCONCLUSIVE", "adam"), one
    assert "is no average" in one.findings[0]
    assert check_update(sums(1.0, 1.0)).verdict == "PASS"


@pytest.mark.parametrize("seed", range(9))
def test_amsgrad_is_not_taken_for_adam_in_float32(seed) -> None:
    """With beta2 = 0.99987 the maximum changes steps by 1e-5, less than the tolerance, but more than rounding."""

    def step(p, g, t, m, v, x):
        m, v = 0.9 * m + 0.1 * g, 0.99987 * v + (1 - 0.99987) * g * g
        x = np.maximum(x, v)
        return p - 0.01 / (1 - 0.9**t) * m / (np.sqrt(x) / float(np.sqrt(1 - 0.99987**t)) + 1e-8), m, v, x

    report = check_update(opt(step, 3), dtype="float32", seed=seed)
    assert report.verdict == "INCONCLUSIVE" or report.rule == "amsgrad", report
    assert "amsgrad" in str(report)


def radam(first=1, second=1, power=0.5, least=5.0, late=True, b1=0.9, b2=0.99):
    """Liu et al. 2020, with a part of it replaced."""

    def step(p, g, t, m, v):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        whole = 2 / (1 - b2) - 1
        rho = whole - 2 * t * b2**t / (1 - b2**t)
        up, unbias = m / (1 - b1**t) ** first, (1 - b2**t) ** second
        if rho <= least:
            return p - 0.01 * up, m, v
        rest = ((rho - 4) * (rho - 2) * whole / ((whole - 4) * (whole - 2) * rho)) ** power
        root = np.sqrt(v / unbias) + 1e-3 if late else (np.sqrt(v) + 1e-3) / float(np.sqrt(unbias))
        return p - 0.01 * rest * up / root, m, v

    return opt(step, 2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_radam(dtype) -> None:
    """Its second moment shows after some steps only, where a free learning rate would hide the rectification."""
    for form in ({}, {"late": False}, {"least": 4.0}, {"b1": 0.63, "b2": 0.9999}):
        report = check_update(radam(**form), dtype=dtype, expected="radam")
        assert (report.verdict, report.rule) == ("PASS", "radam"), (form, report)
    wrong = {"power": (0.0, 1.0), "first": (0,), "second": (0,), "least": (6.5,)}
    for part, values in wrong.items():
        for value in values:
            report = check_update(radam(**{part: value}), dtype=dtype)
            assert report.verdict == ("INCONCLUSIVE" if part == "least" else "FAIL"), (part, report)


def slow(kind, beta2):
    """Rules that are almost others if beta2 is almost 1."""

    def step(p, g, t, m, v, x):
        m, v = 0.9 * m + 0.1 * g, beta2 * v + (1 - beta2) * g * g
        x = np.maximum(x, v)
        unbias = 1 - beta2**t
        top = {"max": x, "unused": v}[kind]
        return p - 0.01 / (1 - 0.9**t) * m / (np.sqrt(top / unbias) + 1e-8), m, v, x

    return opt(step, 3)


@pytest.mark.parametrize("expected", [None, "amsgrad"])
def test_a_maximum_that_is_not_used_is_seen_or_not_passed(expected) -> None:
    """CLOSER: rules that differ by less than rounding are not told apart, and neither passes."""
    assert check_update(slow("unused", 0.9999), dtype="float32", expected=expected).verdict == "FAIL"
    assert check_update(slow("max", 0.9999), dtype="float32", expected=expected).verdict == "PASS"
    for kind in ("max", "unused"):
        report = check_update(slow(kind, 1 - 2e-6), dtype="float32", expected=expected)
        assert report.verdict == "INCONCLUSIVE", report
        assert "float64 may tell them apart" in str(report)


@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_a_slow_rmsprop_is_not_adagrad_in_float32(eps) -> None:
    for decay in (0.9999, 0.99999):

        def step(p, g, t, v, decay=decay):
            v = decay * v + (1 - decay) * g * g
            return p - 0.01 * g / (np.sqrt(v) + eps), v

        report = check_update(opt(step, 1), dtype="float32")
        assert report.verdict == "INCONCLUSIVE" or report.rule == "rmsprop", report
        assert check_update(opt(step, 1), dtype="float32", expected="adagrad").verdict != "PASS"
