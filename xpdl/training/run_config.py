"""What every part of a run is told: what is trained, with which library and precision, and by how many."""

from typing import NamedTuple

import numpy as np

from xpdl.backends import Backend
from xpdl.distributed.communicators import Communicator
from xpdl.network import Network
from xpdl.randomness import permutation


class Setting(NamedTuple):
    """The same for the whole run."""

    net: Network
    backend: Backend
    dtype: str
    seed: int
    communicator: Communicator
    shuffle: bool = True  # whether each epoch has an order of its own

    def order(self, epoch: int, n: int) -> np.ndarray:
        """The order of n samples, or of parts of them, in an epoch."""
        return permutation(self.seed, epoch, n, shuffle=self.shuffle)

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes files, calls callbacks and shows progress."""
        return self.communicator.rank == 0
