"""Layer-wise rules: LAMB and LARS are recognised with their numbers, and mistakes in their trust ratio are named."""

import numpy as np
import pytest

from xpdl.gradcheck.update import check_update


def norm(x):
    return float(np.linalg.norm(x))


def ratio_of(of):
    """The ratio with 1 where a norm is 0."""
    return lambda p, r, g: of(p, r, g) if p > 0 and r > 0 else 1.0


def by_layer(sizes):
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


USUAL = ratio_of(lambda p, r, g: p / r)


def lamb(sizes=(8,), lr=0.01, b1=0.9, b2=0.99, eps=1e-6, decay=0.1, unbias=(1, 1), outside=False, free=(),
         ratio=USUAL, of=lambda r, a: r):  # fmt: skip
    def update(theta, grad, state):
        t, m, v = state
        t += 1
        m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad * grad
        a = m / (1 - b1**t) ** unbias[0] / (np.sqrt(v / (1 - b2**t) ** unbias[1]) + eps)
        new = theta.copy()
        for i, layer in enumerate(by_layer(sizes)):
            p, whole = theta[layer], a[layer] + decay * theta[layer]
            r = a[layer] if outside else whole
            trust = 1.0 if i in free else ratio(norm(p), norm(of(r, a[layer])), norm(grad[layer]))
            new[layer] = p - lr * trust * r - lr * decay * p * outside
        return new, (t, m, v)

    return lambda theta: (0, np.zeros_like(theta), np.zeros_like(theta)), update


def lars(sizes=(8,), lr=0.1, beta=0.8, decay=0.05, trust=0.02, form=lambda p, d, g, decay: p / (g + decay * p), free=(),
         zero=1.0):  # fmt: skip
    def update(theta, grad, v):
        new, v = theta.copy(), v.copy()
        for i, layer in enumerate(by_layer(sizes)):
            p, g = theta[layer], grad[layer]
            d = g + decay * p
            known = norm(p) > 0 and norm(g) > 0
            ratio = 1.0 if i in free else trust * form(norm(p), norm(d), norm(g), decay) if known else zero
            v[layer] = beta * v[layer] + lr * ratio * d
            new[layer] = p - v[layer]
        return new, v

    return np.zeros_like, update


RIGHT = {
    "lamb": (lamb(), "lamb", 8),
    "lamb without decay": (lamb(decay=0.0), "lamb", 8),
    "lamb of layers": (lamb((12, 6, 3, 2)), "lamb", 23),
    "lamb, biases free": (lamb((12, 6, 3, 2), free=(2, 3)), "lamb", 23),
    "lars": (lars(), "lars", 8),
    "lars, |g + decay theta|": (lars(form=lambda p, d, g, decay: p / d), "lars", 8),
    "lars of layers": (lars((12, 6, 3, 2)), "lars", 23),
    "lars, biases free": (lars((12, 6, 3, 2), free=(2, 3)), "lars", 23),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("label", RIGHT)
def test_they_are_recognised(label, seed) -> None:
    optimizer, name, size = RIGHT[label]
    report = check_update(optimizer, size=size, seed=seed)
    assert (report.verdict, report.rule) == ("PASS", name), report
    assert check_update(optimizer, size=size, seed=seed, expected=name).verdict == "PASS"
    assert ("no trust ratio" in str(report)) == ("free" in label)


@pytest.mark.parametrize("label", RIGHT)
def test_they_are_recognised_in_float32(label) -> None:
    optimizer, name, size = RIGHT[label]
    report = check_update(optimizer, size=size, dtype="float32")
    assert (report.verdict, report.rule) == ("PASS", name), report


def test_their_numbers() -> None:
    values = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
    found = check_update(lamb()).hyperparameters
    assert {name: found[name] for name in values} == pytest.approx(values, rel=1e-4)
    found = check_update(lars()).hyperparameters
    values = {"lr": 0.1 * 0.02, "beta": 0.8, "weight_decay": 0.05}  # the rate times the trust coefficient
    assert {name: found[name] for name in values} == pytest.approx(values, rel=1e-4)


WRONG = {  # label: (optimizer, what is said)
    "inverted": (lamb(ratio=ratio_of(lambda p, r, g: r / p)), "the trust ratio is inverted"),
    "of the gradient": (lamb(ratio=ratio_of(lambda p, r, g: p / max(g, 1e-30))), "the gradient and not the update"),
    "squared": (lamb(ratio=ratio_of(lambda p, r, g: (p / r) ** 2)), "are squared"),
    "root": (lamb(ratio=ratio_of(lambda p, r, g: (p / r) ** 0.5)), "the trust ratio is the root"),
    "product": (lamb(lr=1e-5, ratio=ratio_of(lambda p, r, g: p * r)), "times |update|, which should divide it"),
    "theta alone": (lamb(ratio=ratio_of(lambda p, r, g: p)), "is not divided by |update|"),
    "update alone": (lamb(ratio=ratio_of(lambda p, r, g: 1 / r)), "|theta| is missing"),
    "zero by zero": (lamb(ratio=lambda p, r, g: np.float64(p) / np.float64(r), decay=0.0), "gives NaN"),
    "decay outside": (lamb(outside=True), "weight decay stands outside of the trust ratio"),
    "first not corrected": (lamb(unbias=(0, 1)), "no bias correction of the first moment"),
    "second not corrected": (lamb(unbias=(1, 0)), "no bias correction of the second moment"),
    "first corrected twice": (lamb(unbias=(2, 1)), "corrected twice"),
    "lars inverted": (lars(form=lambda p, d, g, decay: d / p), "the trust ratio is inverted"),
    "lars squared": (lars(form=lambda p, d, g, decay: (p / d) ** 2), "are squared"),
    "lars, theta alone": (lars(form=lambda p, d, g, decay: p), "is not divided by"),
    "lars, g alone": (lars(form=lambda p, d, g, decay: 1 / d), "|theta| is missing"),
}


@pytest.mark.parametrize("label", WRONG)
def test_a_mistake_is_named(label) -> None:
    optimizer, words = WRONG[label]
    report = check_update(optimizer)
    assert report.verdict == "FAIL", report
    assert words in str(report)


def test_zeros_that_stay_are_a_doubt() -> None:
    """The papers write the ratio so; most implementations take 1 for it where a norm is 0."""
    for optimizer in (lamb(ratio=lambda p, r, g: p / max(r, 1e-30)), lars(zero=0.0)):
        report = check_update(optimizer)
        assert report.verdict == "INCONCLUSIVE", report
        assert "weights that are all 0 never move" in str(report)


def test_decay_that_does_not_count_is_a_doubt() -> None:
    for optimizer in (lamb(of=lambda r, a: a), lars(form=lambda p, d, g, decay: p / g)):
        report = check_update(optimizer)
        assert report.verdict == "INCONCLUSIVE", report
        assert "without" in report.findings[0]


def test_a_limit_of_the_norm_of_theta_is_said() -> None:
    report = check_update(lamb(ratio=ratio_of(lambda p, r, g: min(p, 10.0) / r)))
    assert report.verdict == "PASS", report
    assert "for weights 100 times as large" in str(report)


@pytest.mark.parametrize(("eps", "verdict"), [(1e-6, "PASS"), (2e-5, "PASS"), (1e-4, "INCONCLUSIVE")])
def test_an_epsilon_in_the_ratio_is_small(eps, verdict) -> None:
    """EXACT is 1e-4 of the rate: an epsilon that matters more is another rule; one of these is on either side of it."""
    assert check_update(lamb(ratio=ratio_of(lambda p, r, g: p / (r + eps)))).verdict == verdict
