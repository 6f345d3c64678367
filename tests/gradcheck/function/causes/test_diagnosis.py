"""``diagnose``: what a mistake makes of a gradient is named as that mistake; what chance makes of it is not."""

import re

from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np
import pytest

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.causes import common_factor, diagnose

some = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def set_at(where, value):
    def mistake(g, theta):
        g = g.copy()
        g[where] = value(g[where])
        return g

    return mistake


def _column_sums(g, axis):
    return np.broadcast_to(g.sum(axis, keepdims=True), g.shape)


def by_row(g):
    return np.arange(len(g))[:, None]


def shuffled(g):
    return np.random.default_rng(4).permutation(g.ravel()).reshape(g.shape)


def swapped(g, axis):
    order = np.arange(g.shape[axis])
    order[[0, -1]] = order[[-1, 0]]
    return g.take(order, axis)


MISTAKES = {  # what is said: (gradient, theta) -> the claim
    "-1 x the numeric gradient: the sign is wrong": lambda g, t: -g,
    "2 x the numeric gradient: counted twice": lambda g, t: 2 * g,
    "0.5 x the numeric gradient: half of it is missing": lambda g, t: g / 2,
    "1.37 x the numeric gradient": lambda g, t: 1.37 * g,
    "the number of entries": lambda g, t: g / g.size,
    r"length of axis 0( or [^:]*)? is|the number of entries is": lambda g, t: g * len(g),
    "the numeric gradient in reverse order": lambda g, t: np.flip(g),
    "shifted by \\+1 along axis 0, around the end": lambda g, t: np.roll(g, 1, 0),
    "shifted by -1 along axis 0, around the end": lambda g, t: np.roll(g, -1, 0),
    r"the numeric gradient \+ 0.25 in every entry": lambda g, t: g + 0.25,
    r"the numeric gradient \+ 0.1 theta": lambda g, t: g + 0.1 * t,
    r"the numeric gradient \+ -0.1 sign\(theta\)": lambda g, t: g - 0.1 * np.sign(t),
    "all zero": lambda g, t: 0 * g,
    "not finite": lambda g, t: g * np.nan,
    "lost carry": lambda g, t: -np.diff(g, axis=0, append=0),
    "lost running sum": lambda g, t: np.diff(g, axis=0, prepend=0),
    "plus that of all later indices": lambda g, t: np.flip(np.cumsum(np.flip(g, 0), 0), 0),
    "plus that of all earlier indices": lambda g, t: np.cumsum(g, 0),
    "as if sigma\\(t\\) were sigma'\\(t\\)": lambda g, t: g * (1 + np.exp(t)),
    "as if 1 were exp\\(t\\)": lambda g, t: g * np.exp(-t),
    "as if sin\\(t\\) were cos\\(t\\)": lambda g, t: g * np.tan(t),
}
ENTRIES = {
    "the entries where the numeric gradient is negative: the sign is wrong": lambda g, t: np.abs(g),
    "0 in the entries where (the numeric gradient|theta) is negative": lambda g, t: np.maximum(g, 0),  # of one sign
    "0 in the entries where (theta|the numeric gradient) is negative": lambda g, t: g * (t > 0),
    "clipped at": lambda g, t: np.clip(g, -np.median(np.abs(g)), np.median(np.abs(g))),
    "the right numbers in the wrong places": lambda g, t: (
        np.random.default_rng(4).permutation(g.ravel()).reshape(g.shape)
    ),
}
MATRICES = {
    "the transpose of the numeric gradient": lambda g, t: g.T.reshape(g.shape),
    "flipped along axis 0": lambda g, t: g[::-1],
    "flipped along axis 1": lambda g, t: g[:, ::-1],
    "0 in row 1": set_at(1, lambda g: 0 * g),
    "0 in column 2": set_at(np.s_[:, 2], lambda g: 0 * g),
    "-1 x the numeric gradient in column 2: the sign": set_at(np.s_[:, 2], lambda g: -g),
    "3.5 x the numeric gradient in row 1$": set_at(1, lambda g: 3.5 * g),
    r"numeric gradient \+ 3 in row 1$": set_at(1, lambda g: 3 + g),
    "not finite in column 2": set_at(np.s_[:, 2], lambda g: g * np.nan),
    "factor of its own in each of columns": lambda g, t: g * (1.5 + np.arange(g.shape[1])),
}
MATRICES_BY_ENTRIES = {
    "the same at every index of axis 0: the mean": lambda g, t: _column_sums(g, 0) / len(g),
    "the same at every index of axis 0: the sum": lambda g, t: _column_sums(g, 0),
    "the same at every index of axis 1: the sum": lambda g, t: _column_sums(g, 1),
    "the same at every index of axis 1: the first": lambda g, t: np.broadcast_to(g[:, :1], g.shape),
    "number of its own too much in each of rows": lambda g, t: g + 1.5 ** np.arange(len(g))[:, None],
    r"multiples of (1 and )?theta, of their own in each of rows": lambda g, t: (
        g + t * (1.5 + np.arange(len(g)))[:, None]
    ),
    "rows 0 and . swapped|reverse order|shifted|flipped|order": lambda g, t: swapped(g, 0),
    "0 in the diagonal": lambda g, t: np.where(np.eye(*g.shape), 0, g),
    "row 2 hold": lambda g, t: np.concatenate([g[:2], g[1:2], g[3:]]),
    "wrong in column 2, and right elsewhere": set_at(np.s_[:, 2], lambda g: g**2 + 0.1),
    "wrong in row 1, and right elsewhere": set_at(np.s_[1], lambda g: g**2 + 0.1),
    "0 in the border of axes 0 and 1|0 in ": lambda g, t: np.pad(g[1:-1, 1:-1], 1),
}
SQUARES = {
    r"\(g \+ g\^T\) / 2 for a gradient g that is lower triangular": (np.tril, lambda g, t: (g + g.T) / 2),
    r"\(g \+ g\^T\) / 2 for a gradient g that is upper triangular": (np.triu, lambda g, t: (g + g.T) / 2),
    "not 0 above the diagonal": (np.tril, lambda g, t: g + g.T - np.diag(np.diag(g))),
    "not 0 below the diagonal": (np.triu, lambda g, t: g + g.T - np.diag(np.diag(g))),
    "the lower triangle of a gradient that is symmetric": (lambda g: g + g.T, lambda g, t: np.tril(g)),
    "the upper triangle of a gradient that is symmetric": (lambda g: g + g.T, lambda g, t: np.triu(g)),
    "off the diagonal counted twice": (lambda g: g + g.T, lambda g, t: 2 * g - np.diag(np.diag(g))),
    "half of its entries off the diagonal": (lambda g: g + g.T, lambda g, t: (g + np.diag(np.diag(g))) / 2),
    "with its diagonal counted twice": (lambda g: g + g.T, lambda g, t: g + np.diag(np.diag(g))),
    "half of its diagonal": (lambda g: g, lambda g, t: g - np.diag(np.diag(g)) / 2),
    "a transposed part is missing": (lambda g: g + g.T, lambda g, t: g / 2 + np.triu(t, 1) - np.triu(t, 1).T),
    "not made symmetric": (lambda g: g + g.T, lambda g, t: g + np.triu(g, 1) - np.tril(g.T, -1)),
    "not made skew": (lambda g: g - g.T, lambda g, t: 2 * np.tril(g)),
    "without its mean along axis 0": (lambda g: g - g.mean(0), lambda g, t: g + np.arange(len(g)) ** 2),
    "without its mean along axis 1": (
        lambda g: g - g.mean(1, keepdims=True),
        lambda g, t: g + np.arange(len(g))[:, None] ** 2,
    ),
}
KERNELS = {
    "flipped along axes 2 and 3: a convolution": lambda g, t: g[:, :, ::-1, ::-1],
    "flipped along axis 3": lambda g, t: g[..., ::-1],
    "axes 0 and 1 swapped": lambda g, t: g.swapaxes(0, 1).reshape(g.shape),
    "axes 2 and 3 swapped": lambda g, t: g.swapaxes(2, 3).reshape(g.shape),
    r"its axes in the order \(3, 0, 1, 2\)": lambda g, t: g.transpose(3, 0, 1, 2).reshape(g.shape),
    "axes 2 and 3 swapped, flipped along axis 0": lambda g, t: g[::-1].swapaxes(2, 3).reshape(g.shape),
    "0 in index 2 of axis 2": set_at(np.s_[:, :, 2], lambda g: 0 * g),
}
BLOCKS = {
    r"the 4 blocks of axis 1 in the order \(0, 1, 3, 2\)": lambda g, t: np.concatenate(
        [g[:, :6], g[:, 9:], g[:, 6:9]], 1
    ),
    "2 x the numeric gradient in columns 3 to 5, the second of 4 blocks": set_at(np.s_[:, 3:6], lambda g: 2 * g),
    "0 in columns 9 to 11, the fourth of 4 blocks": set_at(np.s_[:, 9:], lambda g: 0 * g),
    "-0.7 x the numeric gradient in columns 0 to 5, the first of 2 blocks|the first and second of 4 blocks": set_at(
        np.s_[:, :6], lambda g: -0.7 * g
    ),
}

shapes = st.sampled_from([(4,), (7,), (3, 4), (4, 3), (5, 5), (3, 2, 4), (3, 2, 3, 3)])
seeds = st.integers(0, 10**6)
scales = st.sampled_from([1e-200, 1e-5, 1.0, 1e7, 1e150])
both = pytest.mark.parametrize("entries", [True, False], ids=["entries", "directions"])


def gradient(shape, seed):
    """Numbers of both signs, none near 0, and a theta of both signs."""
    draw = np.random.default_rng(seed)
    halves = np.where(np.arange(int(np.prod(shape))) % 2, 1.0, -1.0)
    g, theta = (draw.uniform(0.5, 2, shape) * draw.permutation(halves).reshape(shape) for _ in range(2))
    return g, theta


def assert_named(evidence, expected, g, theta, mistake, **options):
    found = diagnose(evidence(mistake(g, theta), g, theta=theta, **options))
    assert re.search(expected, found or ""), f"{expected}, not {found}"


@both
@pytest.mark.parametrize("expected", MISTAKES)
@given(shape=shapes, seed=seeds)
@some
def test_a_mistake_is_named(evidence, entries, expected, shape, seed) -> None:
    assert_named(evidence, expected, *gradient(shape, seed), MISTAKES[expected], entries=entries, seed=seed)


@pytest.mark.parametrize("expected", ENTRIES)
@given(shape=st.sampled_from([(12,), (20,), (4, 5), (3, 2, 4)]), seed=seeds)
@some
def test_a_mistake_in_single_entries_is_named(evidence, expected, shape, seed) -> None:
    assert_named(evidence, expected, *gradient(shape, seed), ENTRIES[expected], seed=seed)


@both
@pytest.mark.parametrize("expected", MATRICES)
@given(shape=st.sampled_from([(3, 4), (5, 3), (4, 4), (6, 7)]), seed=seeds)
@some
def test_a_mistake_in_a_matrix_is_named(evidence, entries, expected, shape, seed) -> None:
    assert_named(evidence, expected, *gradient(shape, seed), MATRICES[expected], entries=entries, seed=seed)


@pytest.mark.parametrize("expected", MATRICES_BY_ENTRIES)
@given(shape=st.sampled_from([(3, 4), (5, 3), (4, 4), (6, 7)]), seed=seeds)
@some
def test_a_mistake_that_takes_numbers_away_is_named(evidence, expected, shape, seed) -> None:
    assert_named(evidence, expected, *gradient(shape, seed), MATRICES_BY_ENTRIES[expected], seed=seed)


@both
@pytest.mark.parametrize("expected", SQUARES)
@given(size=st.integers(3, 6), seed=seeds)
@some
def test_a_mistake_with_symmetry_is_named(evidence, entries, expected, size, seed) -> None:
    g, theta = gradient((size, size), seed)
    kind, mistake = SQUARES[expected]
    assert_named(evidence, expected, kind(g), theta, mistake, entries=entries, seed=seed)


@both
@pytest.mark.parametrize("expected", KERNELS)
@given(shape=st.sampled_from([(3, 2, 3, 3), (4, 3, 3, 3), (3, 4, 3, 5)]), seed=seeds)
@some
def test_a_mistake_in_a_kernel_is_named(evidence, entries, expected, shape, seed) -> None:
    assert_named(evidence, expected, *gradient(shape, seed), KERNELS[expected], entries=entries, seed=seed)


@both
@pytest.mark.parametrize("expected", BLOCKS)
@given(rows=st.integers(2, 5), seed=seeds)
@some
def test_a_mistake_in_a_block_of_equal_blocks_is_named(evidence, entries, expected, rows, seed) -> None:
    assert_named(evidence, expected, *gradient((rows, 12), seed), BLOCKS[expected], entries=entries, seed=seed)


# What is not said


CHANCE = {
    "another gradient": lambda g, noise: noise,
    "noise": lambda g, noise: g + noise,
    "whole numbers": lambda g, noise: np.round(3 * noise),
    "a factor for each": lambda g, noise: g * noise,
    "slight errors": lambda g, noise: g * (1 + 1e-6 * noise),
}


@both
@pytest.mark.parametrize("claim", CHANCE)
@given(shape=st.sampled_from([(2,), (3,), (9,), (2, 2), (3, 4), (5, 5), (2, 3, 2), (3, 2, 3, 3)]), seed=seeds)
@settings(some, max_examples=40)
def test_what_chance_makes_has_no_cause(evidence, entries, claim, shape, seed) -> None:
    g, noise = np.random.default_rng(seed).standard_normal((2, *shape))
    assert diagnose(evidence(CHANCE[claim](g, noise), g, entries=entries, seed=seed)) is None


@given(seed=seeds, count=st.integers(1, 3))
@some
def test_few_wrong_entries_are_no_mistake_of_the_whole(evidence, seed, count) -> None:
    draw = np.random.default_rng(seed)
    g, noise = draw.standard_normal((2, 4, 5))
    wrong = draw.permutation(np.arange(20).reshape(4, 5)) < count
    found = diagnose(evidence(np.where(wrong, noise, g), g))
    assert found is None or re.match(r"(-?\d.* x the numeric gradient|the numeric gradient \+ .*|wrong) in ", found)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (2,), (1, 2)])
@pytest.mark.parametrize("claim", [lambda g: g * 1.7, lambda g: g + 0.3, np.flip, lambda g: g.T.reshape(g.shape)])
def test_one_entry_has_no_free_number_and_nothing_has_an_order_in_which_it_is_the_same(evidence, shape, claim) -> None:
    g = np.full(shape, 0.7)
    found = diagnose(evidence(claim(g), g))
    assert found is None or (g.size > 1 and re.search("1.7 x|0.3 in every", found)), found


def test_one_entry_may_have_a_factor_with_a_meaning(evidence) -> None:
    assert diagnose(evidence([-0.7], [0.7])) == "-1 x the numeric gradient: the sign is wrong"
    assert diagnose(evidence([-0.7], [0.7], exact=1e-4)) is None  # a coarse derivative is not enough


@pytest.mark.parametrize("claim", [np.ones(6), np.arange(6.0), np.linspace(-1, 1, 6)])
def test_what_is_below_its_bars_has_no_cause(evidence, claim) -> None:
    found = evidence(claim, np.zeros(6))
    hidden = [derivative._replace(value=1e-9, bar=1e-6, low=1e-9, high=1e-9) for derivative in found.derivatives]
    assert diagnose(evidence(claim, np.zeros(6))) is None
    assert diagnose(found.__class__(claim, claim, np.ones(6), hidden)) is None


EVERY = {
    text: mistake
    for text, mistake in {**MISTAKES, **ENTRIES, **MATRICES, **MATRICES_BY_ENTRIES}.items()
    if "|" not in text and "wrong in" not in text and not text.startswith(("clipped", "not finite"))
}


@given(seed=seeds, size=st.integers(3, 5), made=st.sampled_from(list(EVERY)))
@settings(some, max_examples=150)
def test_causes_that_are_named_together_do_not_contradict_each_other(evidence, seed, size, made) -> None:
    """In small whole numbers much is the same by chance.  Each cause that is named must lead to the claim."""
    draw = np.random.default_rng(seed)
    g, theta = draw.integers(-2, 3, (2, size, size)).astype(float)
    with np.errstate(all="ignore"):
        claim = np.asarray(EVERY[made](g, theta))
        parts = (diagnose(evidence(claim, g, theta=theta)) or "").split(", or ")
        named = {text for text in EVERY for part in parts if re.search(text, part) and ", flipped" not in part}
        for text in named:
            np.testing.assert_allclose(EVERY[text](g, theta), claim, err_msg=f"{made}: {parts}")


# What a cause does not depend on


@pytest.mark.parametrize("mistake", ["1.37 x the numeric gradient", r"the numeric gradient \+ 0.1 theta", "lost carry"])
@pytest.mark.parametrize("size", [12, 300])
@pytest.mark.parametrize("method", ["auto", "central"])
def test_seeds_do_not_change_the_cause(mistake, size, method) -> None:
    theta = np.random.default_rng(5).standard_normal(size)
    fun, grad = lambda t: np.sin(t).sum(), lambda t: MISTAKES[mistake](np.cos(t), t)
    reports = [check_gradient(fun, grad, theta, seed=seed, method=method) for seed in range(4)]
    causes = {report.parameters["theta"].diagnosis for report in reports}
    assert [re.search(mistake, cause or "") is not None for cause in causes] == [True]


@both
@given(scale=scales, made=st.sampled_from([text for text in MISTAKES if "0.1" not in text and "0.25" not in text]))
@some
def test_the_scale_does_not_change_the_cause(evidence, entries, scale, made) -> None:
    g, theta = gradient((3, 4), 1)
    claim = MISTAKES[made](g, theta)
    assert diagnose(evidence(claim, g, theta=theta, entries=entries)) == diagnose(
        evidence(scale * claim, scale * g, theta=theta, entries=entries)
    )


# All tensors


def test_one_factor_of_all_tensors_is_said_once() -> None:
    theta = {"w": np.array([[1.0, -2.0, 0.5], [0.3, 0.7, 2.0]]), "b": np.array([0.4]), "c": np.array([1.0, 2.0, 3.0])}
    fun = lambda p: sum(np.sin(t).sum() for t in p.values())  # noqa: E731
    report = check_gradient(fun, lambda p: {name: 1.5 * np.cos(t) for name, t in p.items()}, theta)
    assert {parameter.diagnosis for parameter in report.parameters.values()} == {"1.5 x the numeric gradient"}
    assert str(report).count("1.5 x the numeric gradient") == 1
    assert "every tensor: 1.5 x the numeric gradient" in str(report)


def test_tensors_without_a_common_factor_keep_their_own_causes(evidence) -> None:
    g = np.array([1.0, -2.0, 0.7])
    two, three, one = (evidence(factor * g, g) for factor in (2, 3, 1.0))
    assert common_factor([two, three]) is None
    assert common_factor([two]) is None
    assert common_factor([two, two]) == "2 x the numeric gradient: counted twice"
    assert common_factor([two, evidence(g, 0 * g)]) is None
    assert common_factor([two, evidence(g * np.nan, g)]) is None
    assert common_factor([one, one]) is None


def test_swapped_tensors_are_named(evidence) -> None:
    (a, _), (b, _) = gradient((3, 4), 1), gradient((3, 4), 2)
    assert diagnose(evidence(b, a, others={"b": a})) == "swapped: the gradient of b is the right one here"
    assert diagnose(evidence(b, a, others={"b": a.T})) == "swapped: the transposed gradient of b is the right one here"
    assert diagnose(evidence(b, a, others={"b": b})) == "the same numbers as the gradient of b"


def test_a_matrix_that_is_transposed_in_a_product_is_named(evidence) -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 4, 4))
    found = diagnose(evidence(x @ w, x @ w.T, values={"w": w}))
    assert found == "as if the matrix w were transposed in a product behind it"
