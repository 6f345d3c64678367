"""K networks in one run: how many there are, and the update of some of them.

One more leading axis is one more network: theta is (K, P), a cost is (K,), and the vectors and counters in the state of
the optimizer have K rows.  Everything else in the loop is the same for one network and for many.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xpdl.arrays import Array, device, namespace
from xpdl.optimizers import State, Update
from xpdl.pytree import flatten, tree_map


class Own(NamedTuple):
    """What a step needs if K networks have weights of their own.

    A network with fewer samples than others repeats samples at the end of its order: one of weight 0 in the last batch
    that it has samples of, and any sample in the batches after that, in which it does nothing.
    """

    starts: Array  # (K, 1) int32, where the weights of each network begin
    counts: Array  # (K,) int32, the number of samples of each network
    active: Array | None  # (K, 1) bool, whether each network has samples in this step; None: all have


def number_of_networks(found: Mapping[str, int | None]) -> int | None:
    """Return K, the number on which all arguments agree; None if none of them is for several networks."""
    given = {name: k for name, k in found.items() if k is not None}
    if len(set(given.values())) > 1:
        texts = ", ".join(f"{k} in {name}" for name, k in given.items())
        raise ValueError(f"{' and '.join(given)} must be for the same number of networks, got {texts}")
    return next(iter(given.values()), None)


def check_rows(state: Any, networks: int) -> None:
    """Check that all of an optimizer's state has a row for each network, so that some of them can be updated."""
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in flatten(state)]
    wrong = [shape for shape in shapes if shape[:1] != (networks,)]
    if wrong:
        raise ValueError(
            "sample_weight gives the networks different numbers of steps, so all arrays in the state of the optimizer "
            f"must have shape ({networks}, ...), got {wrong[0]}"
        )


def of_active(update: Update, active: Array) -> Update:
    """Return the update that changes only the networks that are active, and their rows of the state."""

    def some(theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        xp, old = namespace(theta), (theta, state)

        def copied(leaf: Array) -> Array:  # because the update consumes it
            return xp.asarray(leaf, dtype=leaf.dtype, device=device(leaf), copy=True)

        before = iter(flatten(old))

        def chosen(leaf: Array) -> Array:
            return xp.where(xp.reshape(active, (-1, *(1,) * (leaf.ndim - 1))), leaf, next(before))

        after: tuple[Array, State] = tree_map(chosen, update(copied(theta), grad, tree_map(copied, state)))
        return after

    return some
