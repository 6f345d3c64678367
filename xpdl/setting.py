"""What every part of a run is told: what is trained, with which library and precision, and by how many."""

from typing import NamedTuple

from xpdl.backends import Backend
from xpdl.distributed.communicators import Communicator
from xpdl.network import Network


class Setting(NamedTuple):
    """The same for the whole run."""

    net: Network
    backend: Backend
    dtype: str
    seed: int
    communicator: Communicator

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes files, calls callbacks and shows progress."""
        return self.communicator.rank == 0
