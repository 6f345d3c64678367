"""K networks in one run: how many there are, and the state of some of them.

One more leading axis is one more network: theta is (K, P), a cost is (K,), and the vectors and counters in the state of
the optimizer have K rows.  Everything else in the loop is the same for one network and for many.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpdl.arrays import Array, device, namespace
from xpdl.files.train_state import Carry
from xpdl.pytree import flatten, tree_map


def number_of_networks(found: Mapping[str, int | None]) -> int | None:
    """Return K, the number on which all arguments agree; None if none of them is for several networks."""
    given = {name: k for name, k in found.items() if k is not None}
    if len(set(given.values())) > 1:
        texts = ", ".join(f"{k} in {name}" for name, k in given.items())
        raise ValueError(f"{' and '.join(given)} must be for the same number of networks, got {texts}")
    return next(iter(given.values()), None)


def check_rows(state: Any, networks: int) -> None:
    """Check that all of an optimizer's state has a row for each network, so that some of them can make a step."""
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in flatten(state)]
    wrong = [shape for shape in shapes if shape[:1] != (networks,)]
    if wrong:
        raise ValueError(
            "sample_weight gives the networks different numbers of steps, so all arrays in the state of the optimizer "
            f"must have shape ({networks}, ...), got {wrong[0]}"
        )


def rows_of(carry: Carry, networks: np.ndarray) -> Carry:
    """Return the carry of some networks."""
    xp = namespace(carry.theta)
    rows = xp.asarray(networks.astype(np.int32), device=device(carry.theta))
    own = tree_map(lambda leaf: xp.take(leaf, rows, axis=0), (carry.theta, carry.state, carry.mean, carry.finite))
    theta, state, mean, finite = own
    return Carry(theta, state, xp.asarray(carry.offset, copy=True), mean, finite)


def with_rows(carry: Carry, part: Carry, networks: np.ndarray) -> Carry:
    """Return the carry with that of some networks in their places."""
    xp, places = namespace(carry.theta), np.arange(carry.theta.shape[0], dtype=np.int32)
    places[networks] = len(places) + np.arange(len(networks))
    rows = xp.asarray(places, device=device(carry.theta))

    def joined(old: Array, new: Array) -> Array:
        return xp.take(xp.concat([old, new], axis=0), rows, axis=0)

    states = flatten(carry.state), flatten(part.state)
    leaves = iter(map(joined, *states))
    state = tree_map(lambda _: next(leaves), carry.state)
    mean, finite = joined(carry.mean, part.mean), joined(carry.finite, part.finite)
    return Carry(joined(carry.theta, part.theta), state, part.offset, mean, finite)
