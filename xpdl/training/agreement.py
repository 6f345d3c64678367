"""All ranks must be about to compute the same run; this is checked before it begins."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from xpdl.distributed.communicators import Communicator, gather
from xpdl.files.checkpoint import differences


def check_agreement(communicator: Communicator, described: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` on every rank, naming all differences, unless all ranks describe the same run."""
    first, *others = gather(communicator, described)
    for rank, other in enumerate(others, start=1):
        if found := differences(first, other, "on rank 0", f"on rank {rank}"):
            raise ValueError(f"the ranks have different runs: {found}")


def constants(value: Any, name: str) -> dict[str, Any]:
    """Return the numbers that a function has been made with, such as a learning rate, by name.

    For a number this is the number.  For a function it is the function's own name, and the constants of everything in
    its closure, each under a name that begins with ``name``.
    """
    if isinstance(value, int | float):
        return {name: value}
    if not isinstance(value, FunctionType):
        return {}
    found = {name: value.__qualname__}
    for inner, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        found |= {} if cell.cell_contents is value else constants(cell.cell_contents, f"{name} {inner}")
    return found
