"""Check before a run that all ranks are about to compute the same run."""

from collections.abc import Mapping
from typing import Any

from xpdl.distributed.communicators import Communicator, gather
from xpdl.files.checkpoint import differences


def check_agreement(communicator: Communicator, described: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` with all differences, on every rank, unless all ranks describe the same run."""
    first, *others = gather(communicator, described)
    for rank, other in enumerate(others, start=1):
        if found := differences(first, other, "on rank 0", f"on rank {rank}"):
            raise ValueError(f"the ranks have different runs: {found}")
