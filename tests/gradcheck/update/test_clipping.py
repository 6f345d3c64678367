"""Clipping: found behind any rule, by its norm and its length, and wrong ways by what is wrong with them."""

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, rmsprop, sgd
from xpdl.gradcheck.update import check_update

LAYERS = (slice(0, 5), slice(5, 8))


def before(optimizer, clip):
    """The optimizer with gradients that go through clip(g, theta) first."""
    return optimizer.init, lambda theta, grad, state: optimizer.update(theta, clip(grad, theta), state)


def length(g):
    return max(float(np.linalg.norm(g)), 1e-30)


def clipped(optimizer, norm):
    """The optimizer with gradients clipped by their global norm."""
    return before(optimizer, lambda g, p: g * min(1.0, norm / length(g)))


def layer_by_layer(g, p, c=0.7):
    return np.concatenate([g[layer] * min(1.0, c / length(g[layer])) for layer in LAYERS])


INNER = {"sgd": sgd(0.1), "momentum": momentum(0.01), "rmsprop": rmsprop(0.1), "adam": adam(0.3), "adamw": adamw(0.1)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("c", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", INNER)
def test_the_global_norm_is_found_behind_any_rule(name, c, dtype) -> None:
    report = check_update(clipped(INNER[name], norm=c), dtype=dtype)
    assert (report.verdict, report.rule) == ("PASS", name), report
    assert report.hyperparameters["clip"] == pytest.approx(c, rel=1e-6 if dtype == "float64" else 1e-3)
    assert "gradients are clipped by their global norm" in str(report)


@pytest.mark.parametrize("seed", range(5))
def test_epsilon_and_seeds(seed) -> None:
    def torch(g, p):
        return g * min(1.0, 2.0 / (float(np.linalg.norm(g)) + 1e-6))

    report = check_update(before(adam(), torch), seed=seed, size=5)
    assert (report.verdict, report.rule) == ("PASS", "adam"), report
    assert report.hyperparameters["clip"] == pytest.approx(2.0, rel=1e-9)
    assert report.hyperparameters["clip_eps"] == pytest.approx(1e-6, rel=0.01)


@pytest.mark.parametrize("name", INNER)
def test_values_are_clipped(name) -> None:
    report = check_update(before(INNER[name], lambda g, p: np.clip(g, -0.4, 0.4)))
    assert (report.verdict, report.rule) == ("PASS", name), report
    assert "gradients are clipped by value, to 0.4" in str(report)


def test_clipping_may_be_expected() -> None:
    by_norm, by_layer = clipped(adam(), norm=1.0), before(adam(), layer_by_layer)
    assert check_update(by_norm, expected="clipped adam").verdict == "PASS"
    assert check_update(by_norm, expected="adam").findings[0] == "expected adam, found clipped adam"
    assert check_update(adam(), expected="clipped adam").verdict == "FAIL"
    assert check_update(by_layer).verdict == "PASS"
    assert check_update(by_layer, expected="layer-clipped adam").verdict == "PASS"
    assert check_update(by_layer, expected="clipped adam").verdict == "FAIL"


WRONG = {  # what is done to a gradient: the verdict, and what is said
    "also below": (lambda g, p: g / length(g), "FAIL", "scaled to one norm, also if it is shorter"),
    "max for min": (lambda g, p: g * max(1.0, 1 / length(g)), "FAIL", "max where min is meant"),
    "c forgotten": (lambda g, p: g / length(g) if length(g) > 3 else g, "FAIL", "steps jump there"),
    "dropped": (lambda g, p: 0 * g if length(g) > 3 else g, "INCONCLUSIVE", "are taken for 0"),
    "not squared": (lambda g, p: g * min(1.0, 1 / max(abs(float(g.sum())), 1e-30)), "FAIL", "which are not squared"),
    "absolute": (lambda g, p: g * min(1.0, 1 / max(float(abs(g).sum()), 1e-30)), "INCONCLUSIVE", "absolute values"),
    "largest": (lambda g, p: g * min(1.0, 1 / max(float(abs(g).max()), 1e-30)), "INCONCLUSIVE", "largest absolute"),
    "half counts": (lambda g, p: g * min(1.0, 1 / length(g[:4])), "FAIL", "entries 4 to 7: scaled with the norm of"),
    "half is scaled": (
        lambda g, p: np.concatenate([g[:4] * min(1.0, 1 / length(g)), g[4:]]), "FAIL", "entries 4 to 7: count in"
    ),
    "half is forgotten": (
        lambda g, p: np.concatenate([g[:4] * min(1.0, 1 / length(g[:4])), g[4:]]),
        "INCONCLUSIVE",
        "entries 4 to 7: not clipped, and do not count",
    ),
    "layer by layer": (layer_by_layer, "PASS", "by the norm of each of 2 layers"),
    "squared": (lambda g, p: g * min(1.0, 1 / length(g) ** 2), "INCONCLUSIVE", "by no rule that is known"),
    "of theta": (lambda g, p: g * min(1.0, 1 / length(p)), "INCONCLUSIVE", "by no rule that is known"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("label", WRONG)
def test_a_mistake_is_named(label, name) -> None:
    clip, verdict, words = WRONG[label]
    report = check_update(before(INNER[name], clip))
    assert report.verdict == verdict, report
    assert words in str(report)


@pytest.mark.parametrize("c", [0.05, 1.0])
def test_epsilon_up_to_its_bound_is_seen_as_epsilon(c) -> None:
    """SAME is 5 times the 1e-6 / c of c = 0.05."""
    report = check_update(before(sgd(0.1), lambda g, p: g * min(1.0, c / (float(np.linalg.norm(g)) + 1e-6))))
    assert (report.verdict, report.rule) == ("PASS", "sgd"), report


def test_a_smooth_saturation_is_no_clip() -> None:
    smooth = check_update(before(sgd(0.1), lambda g, p: g / (1.0 + length(g))))
    assert "clipped" not in str(smooth)
    assert smooth.verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("c", "eps", "off", "verdict"),
    [(0.015, 1e-6, 1.0, "PASS"), (1.0, 0.0, 1 - 5e-4, "FAIL"), (0.0015, 1e-6, 1.0, "PASS")],
)
def test_same_is_between_an_epsilon_and_a_jump(c, eps, off, verdict) -> None:
    """SAME: four times it misses a jump.  A quarter of COARSE takes the 1e-6 of c / (norm + 1e-6) for a change."""

    def update(theta, grad, state):
        norm = np.linalg.norm(grad)
        return theta - 0.1 * grad * (off * c / (norm + eps) if norm > c else 1.0), state

    report = check_update((lambda theta: None, update))
    assert report.verdict == verdict, report
