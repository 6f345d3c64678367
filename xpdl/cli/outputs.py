"""The files that commands write, by their flags.

All of them are checked together, before the work begins.  A trained model is saved first, and nothing that fails later
takes it away.
"""

from collections.abc import Iterable, Mapping
import json
from pathlib import Path
import re
import tempfile
from typing import Any

import numpy as np

from xpdl.data.coding import Coding
from xpdl.data.loading import NAMED
from xpdl.files.checkpoint import RUN
from xpdl.files.model import MODEL, save as save_model
from xpdl.files.outputs import (
    Kind,
    append_line,
    check,
    distinct,
    is_of,
    mend_last_line,
    regular,
    shown,
    write_whole,
)
from xpdl.network import Network
from xpdl.progress import LOST
from xpdl.training.callbacks import Metrics
from xpdl.training.train import GO_ON

HISTORY = Kind("a history of xpdl", re.compile(rb'\{"epoch": \d').match)
PICTURE = Kind("a picture of xpdl", re.compile(rb".{0,4096}(Software\0xpdl|<dc:title>xpdl)", re.DOTALL).match)
KINDS = {"save": MODEL, "checkpoint": RUN, "history": HISTORY, "plot": PICTURE, "out": PICTURE}
"""What the file of each flag holds."""


def check_outputs(inputs: Mapping[str, Any], *, force: bool = False, **outputs: Path | None) -> None:
    """Check that the file of each flag can be written, and that no two of them, and no input, are one file.

    ``OSError`` if a file cannot be written, or holds something else and there is no ``force``; ``ValueError`` if two
    are one file.
    """
    given = {flag: path for flag, path in outputs.items() if path is not None}
    read = {flag: Path(path).expanduser() for flag, path in inputs.items() if path not in (None, GO_ON, *NAMED)}
    distinct(given, read, together=[("checkpoint", "resume")])
    for flag, path in given.items():
        check(flag, path, KINDS[flag], force=force)


def check_new(checkpoint: Path | None, resume: str | None, *, force: bool = False) -> None:
    """Raise ``FileExistsError`` if a run that starts would write its checkpoints over those of another one."""
    if checkpoint and not resume and not force and checkpoint.exists() and checkpoint.stat().st_size:
        raise FileExistsError(
            f"checkpoint {shown(checkpoint)} holds a run: --resume auto goes on with it, another name keeps it, and "
            "--force replaces it"
        )


def save_first(
    path: Path | None, net: Network, theta: np.ndarray, *, coding: Coding | None = None, **metadata: Any
) -> None:
    """Save a model, if there is a path for it.

    If that fails, save it in the system's folder for temporary files, and raise the error.
    """
    if path is None:
        return
    try:
        save_model(path, net, theta, metadata=metadata, coding=coding)
    except OSError as error:
        rescue = Path(tempfile.mkdtemp(prefix="xpdl-"), "model.safetensors")
        save_model(rescue, net, theta, metadata=metadata, coding=coding)
        raise OSError(f"save {shown(path)}: {error}; the model is in {shown(rescue)}") from error


class History:
    """A callback that adds a line for each epoch to a file.  A line that is there stays there.

    A run that is resumed may compute epochs again; the later line is the valid one.  If the disk fails, the training
    goes on without a history, and ``error`` holds the reason.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = regular(path, "history")
        self.error: OSError | None = None
        if force and not is_of(HISTORY, self.path):
            write_whole(self.path)  # empty
        mend_last_line(self.path)

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Add the line of an epoch."""
        if self.error is None:
            try:
                line = json.dumps({**metrics, "step": step}, default=np.ndarray.tolist)  # arrays (K,) of K networks
                append_line(self.path, line.encode())
            except OSError as error:
                self.error = error


def end_unheard(metrics: Metrics, step: int) -> None:
    """A callback that ends a run whose only output is a closed pipe."""
    if isinstance(LOST.get("stdout"), BrokenPipeError):
        raise LOST["stdout"]


def valid_epochs(lines: Iterable[dict[str, float]]) -> list[dict[str, float]]:
    """Return the epochs of the last run in a history: where it goes back to an epoch, the later lines are valid."""
    kept: list[dict[str, float]] = []
    for line in lines:
        while kept and kept[-1]["epoch"] >= line["epoch"]:
            kept.pop()
        kept.append(line)
    return kept
