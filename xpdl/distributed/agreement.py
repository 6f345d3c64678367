"""Ranks that would not compute the same run are refused before it begins."""

from collections.abc import Mapping
from typing import Any

from xpdl.distributed.communicators import Communicator, gather
from xpdl.resuming import differences


def agree(communicator: Communicator, described: Mapping[str, Any]) -> None:
    """``ValueError`` on every rank, with all that differs, unless all describe their run alike."""
    first, *others = gather(communicator, described)
    for rank, other in enumerate(others, start=1):
        if found := differences(first, other, "on rank 0", f"on rank {rank}"):
            raise ValueError(f"the ranks have different runs: {found}")
