"""The command line: flags in, one call of the library, a few lines out.  Each command has its own file.

If a flag, a file or an installation is wrong, one line on stderr says why, and the exit code is 2.  After Ctrl-C it is
130, after SIGTERM 143.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
import inspect
import os
import re
import signal
import sys
import time
from typing import Any
import warnings

from cyclopts import App, CycloptsError

import xpdl
from xpdl.checks import one_line
from xpdl.cli.checking import check
from xpdl.cli.flags import SIGNALLED
from xpdl.cli.libraries import backends
from xpdl.cli.plotting import plot
from xpdl.cli.prediction import predict
from xpdl.cli.training import train
from xpdl.cli.tuning import tune
from xpdl.distributed import connect
from xpdl.distributed.launching import RanksWanted, fail_stop, launch, started
from xpdl.progress import LOST, SILENT, say

COMMANDS: list[Callable[..., Any] | App] = [train, tune, predict, check, plot, backends]

HELP = """Dense networks from first principles, on any array library that speaks the Python Array API.

Start with xpdl train, which needs no options and no data of yours. xpdl COMMAND --help lists the options of a command.
"""

app = App(name="xpdl", help=HELP, version=xpdl.__version__, result_action="return_value")
for command in COMMANDS:
    app.command(command)

EXPECTED = (CycloptsError, ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""Errors that are reported in one line, without a traceback."""

LONGEST = 2000
"""Characters of a message; the names of files and the content of damaged ones may be longer."""

PATIENCE = 0.5
"""Seconds that other ranks wait for rank 0 to report the same error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    LOST.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("default", RuntimeWarning)
        warnings.showwarning = lambda message, *where, **more: _tell("warning", message)
        try:
            code = _run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt:
            code = SIGNALLED + signal.SIGINT
        except BrokenPipeError as error:
            LOST["stdout"], code = error, 1
        except EXPECTED as error:
            rank, _ = started()
            if rank and fail_stop():  # if all ranks have this error, rank 0 reports it and then ends all
                time.sleep(PATIENCE)
                error.add_note(f"on rank {rank}")
                raise
            _tell("error", error)
            code = 2
    unsaid = _unsaid()
    return code or unsaid


def _tell(kind: str, what: Warning | Exception | str) -> None:
    """Say on stderr, in one line of limited length, what is wrong."""
    text = re.sub(r"^(\w+)(?= must | is for )", _flag, str(what) or repr(what))
    say(f"xpdl: {kind}: {one_line(text, LONGEST)}", to="stderr")


def _flag(found: re.Match[str]) -> str:
    """Return an argument that a message begins with as the flag that stands for it, if there is one."""
    commands = (command for command in COMMANDS if not isinstance(command, App))
    flags = {name for command in commands for name in inspect.signature(command).parameters}
    return f"--{found[1].replace('_', '-')}" if found[1] in flags else found[1]


def _unsaid() -> int:
    """Return the exit code of a command that has done its work: not 0 if what it said could not be written."""
    error = LOST.get("stdout")
    if error is None:
        return 0
    with suppress(*SILENT):  # it may be no file, or None
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would fail to flush it, too
    if isinstance(error, BrokenPipeError):  # as in ``xpdl ... | head``
        return 1
    _tell("error", error)
    return 2


def _run(arguments: Sequence[str]) -> int:
    """Run one command, in this process or in as many processes as its flag --ranks asks for."""
    if fail_stop():
        connect()  # first of all: if an unconnected rank failed, the other ranks would wait for it for ever
    try:
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except RanksWanted as wanted:
        return launch(wanted.ranks, arguments)
