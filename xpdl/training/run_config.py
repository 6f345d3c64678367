"""The configuration of a run: the network, the backend, the precision, the seed and the ranks."""

from dataclasses import dataclass

import numpy as np

from xpdl.backends import Backend
from xpdl.distributed.communicators import Communicator
from xpdl.network import Network
from xpdl.randomness import permutation


@dataclass(frozen=True)
class RunConfig:
    """The settings that stay the same for the whole run."""

    net: Network
    backend: Backend
    dtype: str
    seed: int
    communicator: Communicator
    shuffle: bool = True  # whether each epoch has its own order of samples

    def order(self, epoch: int, n: int) -> np.ndarray:
        """Return the order of n samples, or of n groups of samples, in an epoch."""
        return permutation(self.seed, epoch, n, shuffle=self.shuffle)

    @property
    def is_rank_0(self) -> bool:
        """Whether this is rank 0, the one that writes files, calls callbacks and shows progress."""
        return self.communicator.rank == 0
