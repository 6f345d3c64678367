"""The command line: flags in, one library call, a few lines out; a file for each command.

What is wrong with a flag, a file or an installation is said in one line on stderr, with exit code 2; Ctrl-C is 130,
SIGTERM 143.
"""

from collections.abc import Callable, Sequence
import os
import signal
import sys
import time
from typing import Any

from cyclopts import App, CycloptsError

import xpdl
from xpdl.cli.checking import check
from xpdl.cli.flags import SIGNALLED
from xpdl.cli.libraries import backends
from xpdl.cli.plotting import plot
from xpdl.cli.prediction import predict
from xpdl.cli.training import train
from xpdl.cli.tuning import tune
from xpdl.distributed import connect
from xpdl.distributed.launching import RanksWanted, fail_stop, launch, started

COMMANDS: list[Callable[..., Any] | App] = [train, tune, predict, check, plot, backends]

app = App(name="xpdl", help=xpdl.__doc__, version=xpdl.__version__, result_action="return_value")
for command in COMMANDS:
    app.command(command)


EXPECTED = (CycloptsError, ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What is said in one line."""

PATIENCE = 0.5
"""Seconds that other ranks wait for what rank 0 has to say of an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:  # as in ``xpdl ... | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EXPECTED as error:
        rank, _ = started()
        if rank and fail_stop():  # what is wrong for all is said once, by rank 0, whose end is that of the others
            time.sleep(PATIENCE)
            error.add_note(f"on rank {rank}")
            raise
        print("xpdl: error:", *(str(error) or repr(error)).split(), file=sys.stderr)
        return 2


def _run(arguments: Sequence[str]) -> int:
    """Run one command here, or as many times as it asks for."""
    if fail_stop():
        connect()  # a rank that failed before would end alone, and the others wait for it
    try:
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except RanksWanted as wanted:
        return launch(wanted.ranks, arguments)
