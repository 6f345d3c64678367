"""Ranks that would not compute the same run are refused before it begins."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from xpdl.distributed.communicators import Communicator, gather
from xpdl.files.checkpoint import differences


def agree(communicator: Communicator, described: Mapping[str, Any]) -> None:
    """``ValueError`` on every rank, with all that differs, unless all describe their run alike."""
    first, *others = gather(communicator, described)
    for rank, other in enumerate(others, start=1):
        if found := differences(first, other, "on rank 0", f"on rank {rank}"):
            raise ValueError(f"the ranks have different runs: {found}")


def constants(value: Any, name: str) -> dict[str, Any]:
    """A number under its name; of a function likewise what it has been made with, and that under its names there."""
    if isinstance(value, int | float):
        return {name: value}
    if not isinstance(value, FunctionType):
        return {}
    found = {name: value.__qualname__}
    for inner, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        found |= {} if cell.cell_contents is value else constants(cell.cell_contents, f"{name} {inner}")
    return found
