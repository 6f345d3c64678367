"""``python -m xpdl`` and the installed command ``xpdl`` are the same program."""

from pathlib import Path
import subprocess
import sys

import pytest

import xpdl


def test_the_command_is_installed_under_its_name() -> None:
    """``xpdl`` is ``python -m xpdl``."""
    command = Path(sys.executable).with_name("xpdl")
    if not command.exists():
        pytest.skip("xpdl is not installed as a command here")
    outputs = [
        subprocess.run([*call, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        for call in ([str(command)], [sys.executable, "-m", "xpdl"])
    ]
    assert outputs[0] == outputs[1] == f"{xpdl.__version__}\n"
