"""xpdl backends: which array libraries can be used here."""

from xpdl.backends import available_backends
from xpdl.progress import say


def backends() -> None:
    """Print which array libraries can be used here, and what to install for the others."""
    for name, state in available_backends().items():
        say(f"{name:<17} {state}")
