"""Orders: each once, and each finds the places that it says."""

from itertools import permutations
import math

import numpy as np
import pytest

from xpdl.gradcheck.function.causes.orders import axes_named, orders, permuted


@pytest.mark.parametrize("shape", [(), (1,), (2,), (5,), (2, 2), (3, 4), (1, 6), (2, 3, 4), (3, 2, 3, 3), (2, 2, 2, 2)])
def test_each_order_is_another_arrangement_of_the_same_entries(evidence, shape) -> None:
    claim = np.arange(float(math.prod(shape))).reshape(shape)
    found = [hypothesis.base for hypothesis in orders(evidence(claim, claim))]
    assert len({order.tobytes() for order in [claim, *found]}) == len(found) + 1
    assert all(order.shape == shape and sorted(order.flat) == sorted(claim.flat) for order in found)


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:])
def test_an_order_of_axes_is_that_of_the_claim(evidence, order) -> None:
    g = np.random.default_rng(0).standard_normal((3, 3, 3))
    said = [h.text for h in orders(evidence(g.transpose(order), g)) if np.array_equal(h.base, g)]
    moved = [axis for axis in range(3) if order[axis] != axis]
    assert (f"axes {moved[0]} and {moved[1]} swapped" if len(moved) == 2 else str(order)) in said[0]


def test_tensors_of_more_than_20000_entries_have_fewer_orders(evidence) -> None:
    few, many = (np.random.default_rng(0).standard_normal((5, n)) for n in (4004, 4000))
    found = list(orders(evidence(few, few)))
    assert len(found) == 2**2 - 1 + 1 < len(list(orders(evidence(many, many))))
    np.testing.assert_array_equal(found[0].base, few[::-1])


def test_axes_have_names() -> None:
    assert [axes_named([0]), axes_named([0, 1]), axes_named([0, 2, 3])] == ["axis 0", "axes 0 and 1", "axes 0, 2 and 3"]


def test_permuted_entries_must_differ(evidence) -> None:
    """In a pattern of 0 and 1, and in numbers that are the same, the order says nothing."""
    order = np.random.default_rng(0).permutation(12)
    for g, count in ((np.arange(12.0), 1), (np.arange(12.0) % 2, 0), (np.ones(12), 0)):
        assert len(list(permuted(evidence(g[order], g)))) == count
    assert list(permuted(evidence(np.arange(12.0)[order], np.arange(12.0), entries=False))) == []


def test_kernels_that_are_flipped_in_their_last_two_axes_are_a_convolution(evidence) -> None:
    g = np.random.default_rng(0).standard_normal((2, 3, 4))
    said = {np.flip(g, axes).tobytes(): axes for axes in ((0, 1), (1, 2))}
    texts = {said.get(h.base.tobytes()): h.text for h in orders(evidence(g, g))}
    assert texts[0, 1] == "the numeric gradient flipped along axes 0 and 1"
    assert texts[1, 2] == "the numeric gradient flipped along axes 1 and 2: a convolution instead of a correlation?"
