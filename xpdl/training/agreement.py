"""Check before a run that all ranks are about to compute the same run."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from xpdl.distributed.communicators import Communicator, gather
from xpdl.files.checkpoint import differences


def check_agreement(communicator: Communicator, described: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` with all differences, on every rank, unless all ranks describe the same run."""
    first, *others = gather(communicator, described)
    for rank, other in enumerate(others, start=1):
        if found := differences(first, other, "on rank 0", f"on rank {rank}"):
            raise ValueError(f"the ranks have different runs: {found}")


def constants(value: Any, name: str) -> dict[str, Any]:
    """Return the constants in a function, such as a learning rate, by name.

    A number is a constant itself.  For a function, these are the name of the function and the constants of everything
    in its closure; their names begin with ``name``.
    """
    if isinstance(value, int | float):
        return {name: value}
    if not isinstance(value, FunctionType):
        return {}
    found = {name: value.__qualname__}
    for inner, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        found |= {} if cell.cell_contents is value else constants(cell.cell_contents, f"{name} {inner}")
    return found
