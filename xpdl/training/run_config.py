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
    seed: int | tuple[int, ...]  # one for all networks, or one for each
    communicator: Communicator
    shuffle: bool = True  # whether each epoch has its own order of samples
    networks: int | None = None  # K, if theta is (K, P); None if it is (P,)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each network."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,) * (self.networks or 1)

    def order(self, epoch: int, n: int) -> np.ndarray:
        """Return the order (n,) of n samples, or of n groups of samples, in an epoch; (K, n) if the seeds differ."""
        if isinstance(self.seed, tuple):
            return np.stack([permutation(seed, epoch, n, shuffle=self.shuffle) for seed in self.seed])
        return permutation(self.seed, epoch, n, shuffle=self.shuffle)

    @property
    def is_rank_0(self) -> bool:
        """Whether this is rank 0, the one that writes files, calls callbacks and shows progress."""
        return self.communicator.rank == 0
