"""``Problem``: a network at a point with its samples, on one device and in one precision."""

from typing import NamedTuple

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend
from xpdl.network import Network


class Problem(NamedTuple):
    """The arguments of the cost and the gradient that ``check_network`` and ``check_backends`` compute."""

    net: Network
    home: Backend
    theta: Array
    x: Array
    y: Array  # targets (n, k)
    masks: list[Array | None] | None
    weight: Array | None = None  # (n,) or (n, k)

    @property
    def samples(self) -> tuple[Array, Array, list[Array | None] | None, Array | None]:
        """The arguments of ``Network.loss`` after theta."""
        return self.x, self.y, self.masks, self.weight

    def on(self, home: Backend, dtype: str) -> "Problem":
        """The same problem on another backend, in another precision."""

        def put(values: Array) -> Array:
            return home.asarray(values, None if checks.dtype_name(values.dtype) == "uint8" else dtype)

        masks = None if self.masks is None else [mask if mask is None else put(mask) for mask in self.masks]
        weight = None if self.weight is None else put(self.weight)
        return Problem(self.net, home, put(self.theta), put(self.x), put(self.y), masks, weight)


def supports(home: Backend, dtype: str) -> bool:
    """Whether a backend can compute in this dtype."""
    try:
        home.admit(home, dtype)
    except ValueError:
        return False
    return True
