"""Diagnosis: what a report says of a failure, and that one cause for all tensors is preferred to accidents."""

import re

import numpy as np
import pytest

from xpdl import Network
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.network.diagnosis import _fewest_causes


def failure(wrong, **changes):
    """The report on ``wrong``, made of the gradient (W1, W2, b1, b2) of a network [6, 8, 10] of 40 samples."""
    net = Network([6, 8, 10], hidden="tanh", **changes)
    rng = np.random.default_rng(1)
    theta = net.initialize(1, "float64") + 0.1 * rng.standard_normal(net.size)
    x, y = rng.standard_normal((40, 6)), rng.integers(0, 10, 40)
    grad = net.loss_and_grad(theta, x, y)[1]
    tensors = {
        name: grad[part].reshape(shape)
        for name, part, shape in zip(net.names, net.layout.slices, net.shapes, strict=True)
    }
    wrong(tensors, rng)
    return check_network(net, theta, x, y, lambda t: grad)


def test_columns_that_are_0_are_named() -> None:
    def wrong(g, rng):
        g["W2"][:, 3:8] = 0
        g["b2"][3:8] = 0

    report = failure(wrong)
    assert report.parameters["W2"].diagnosis == "dW2 is 0 in columns 3 to 7, and right elsewhere"
    assert report.parameters["b2"].diagnosis == "db2 is 0 in entries 3 to 7, and right elsewhere"


def test_rows_that_are_wrong_are_named() -> None:
    def wrong(g, rng):
        g["W2"][[0, 2, 3]] += rng.standard_normal((3, 10))

    assert failure(wrong).parameters["W2"].diagnosis == "dW2 is wrong in rows 0, 2 to 3, and right elsewhere"


def test_where_no_cause_fits_the_report_says_so_and_shows_the_worst_entries() -> None:
    def wrong(g, rng):
        g["W2"] += (rng.random((8, 10)) < 0.5) * rng.standard_normal((8, 10))
        g["W2"][3, 1] += 1000

    report = failure(wrong)
    w2 = report.parameters["W2"]
    assert w2.diagnosis.startswith(f"no known cause; {w2.failing} of 80 entries wrong, the worst: [3, 1] is 100")
    assert len(re.findall(r"\] is \S+, not \S+", w2.diagnosis)) == 3
    assert f"W2: {w2.diagnosis}" in str(report)


def test_the_worst_entries_are_shown_in_as_many_digits_as_tell_them_apart() -> None:
    def wrong(g, rng):
        g["W2"] *= 1 + 1e-8 * rng.standard_normal((8, 10))

    shown = re.findall(r"is (\S+), not (\S+?)(?:;|$)", failure(wrong).parameters["W2"].diagnosis)
    assert len(shown) == 3
    assert all(a != n for a, n in shown)


@pytest.mark.parametrize(("excess", "text"), [(1e-9, r"1 \+ 1\.0e-09"), (-2e-8, r"1 - 2\.0e-08")])
def test_a_factor_near_1_is_shown_as_what_it_is(excess, text) -> None:
    def wrong(g, rng):
        g["W1"] *= 1 + excess

    assert re.fullmatch(f"dW1 is {text} times the numeric gradient", failure(wrong).parameters["W1"].diagnosis)


def test_no_factor_of_a_gradient_that_is_0_within_its_bars() -> None:
    """db2 = sum (1/3 - y) / n cancels: what stands for it is no multiple of rounding, and not n times it."""
    net = Network([2, 3, 1], output="sigmoid", hidden="tanh")
    theta = np.zeros(net.size)
    theta[-1] = -np.log(2)
    x, y = np.random.default_rng(0).standard_normal((30, 2)), np.arange(30) % 3 == 0
    report = check_network(
        net, theta, x, y.astype(int), lambda t: np.where(np.arange(net.size) == net.size - 1, 1e-3, 0)
    )
    b2 = report.parameters["b2"]
    assert b2.worst.numeric != 0
    assert b2.diagnosis.startswith("no known cause; 1 of 1 entries wrong, the worst: [0] is 0.001, not ")


def test_one_cause_for_all_tensors_is_preferred_to_accidents() -> None:
    """db3 has one entry, which is a multiple of the numeric one for every mistake."""
    net = Network([4, 6, 5, 1], output="sigmoid", hidden="tanh")
    rng = np.random.default_rng(3)
    theta = net.initialize(1, "float64") + 0.1 * rng.standard_normal(net.size)
    x, y = rng.standard_normal((30, 4)), rng.integers(0, 2, 30)
    report = check_network(net, theta, x, y, lambda t: net.loss_and_grad(t, x[:-1], y[:-1])[1])
    assert all("leaves out the last sample" in p.diagnosis for p in report.parameters.values()), str(report)


@pytest.mark.parametrize(
    ("first", "said"), [(0, "is 1.37 x the numeric gradient"), (-1, "no known cause; 1 of 1 entries")]
)
def test_a_factor_of_one_entry_counts_if_it_is_that_of_other_tensors(first, said) -> None:
    net = Network([3, 4, 1], output="sigmoid", hidden="tanh")
    rng = np.random.default_rng(3)
    theta, x, y = net.initialize(1, "float64"), rng.standard_normal((9, 3)), rng.integers(0, 2, 9)
    factor = np.where(np.arange(net.size) >= first % net.size, 1.37, 1.0)
    report = check_network(net, theta, x, y, lambda t: factor * net.loss_and_grad(t, x, y)[1])
    assert said in report.parameters["b2"].diagnosis


SIMPLE = {  # what is said of W2: what is done to the gradient
    "dW2 is 0 everywhere": lambda g, rng: g["W2"].fill(0),
    "dW2 has 3 entries that are NaN or infinite": lambda g, rng: g["W2"][0].put([0, 1, 2], np.nan),
    "dW2 has the wrong sign": lambda g, rng: np.negative(g["W2"], out=g["W2"]),
    "dW2 is 40 x the numeric gradient: n = 40; the mean over samples is missing": lambda g, rng: g["W2"].__imul__(40),
    "dW2 is 0.1 x the numeric gradient: 1 / the number of outputs, 10; a mean over outputs": lambda g, rng: g[
        "W2"
    ].__imul__(0.1),
    "dW2 has its rows in reverse order": lambda g, rng: np.copyto(g["W2"], g["W2"][::-1].copy()),
    "dW2 has the right numbers in the wrong places": lambda g, rng: np.copyto(g["W2"], rng.permutation(g["W2"])),
    "dW2 is right but for 1 of 80 entries: [3, 4]": lambda g, rng: np.put(g["W2"], 34, 9.0),
}


@pytest.mark.parametrize("text", SIMPLE)
def test_what_shows_in_the_tensor_itself_is_named(text) -> None:
    assert failure(SIMPLE[text]).parameters["W2"].diagnosis == text


def test_an_l2_term_is_named() -> None:
    def lacks(g, rng):
        g["W2"] -= 0.5 / 40 * weights["W2"]

    net = Network([6, 8, 10], hidden="tanh", l2=0.5)
    rng = np.random.default_rng(1)
    theta = net.initialize(1, "float64") + 0.1 * rng.standard_normal(net.size)
    weights = {"W2": theta[net.layout.slices[1]].reshape(8, 10)}
    assert failure(lacks, l2=0.5).parameters["W2"].diagnosis == "dW2 lacks the L2 term l2/n w"


def test_a_cause_of_several_tensors_is_taken_first() -> None:
    found = {"rare": {"W1": "rare"}, "common": {"W1": "common", "b1": "common"}, "last": {"b2": "last"}}
    assert _fewest_causes(found) == {"W1": "common", "b1": "common", "b2": "last"}
