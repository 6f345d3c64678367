"""The command line: flags in, one library call, a few lines out; a file for each command.

What is wrong with a flag, a file or an installation is said in one line on stderr, with exit code 2; Ctrl-C is 130,
SIGTERM 143.
"""

from collections.abc import Callable, Sequence
import os
import signal
import sys
from typing import Any

from cyclopts import App, CycloptsError

import xpdl
from xpdl.cli.checking import check
from xpdl.cli.flags import SIGNALLED
from xpdl.cli.libraries import backends
from xpdl.cli.prediction import predict
from xpdl.cli.training import train
from xpdl.cli.tuning import tune

COMMANDS: list[Callable[..., Any]] = [train, tune, predict, check, backends]

app = App(name="xpdl", help=xpdl.__doc__, version=xpdl.__version__, result_action="return_value")
for command in COMMANDS:
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:  # as in ``xpdl ... | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CycloptsError, ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print("xpdl: error:", *str(error).split(), file=sys.stderr)
        return 2
