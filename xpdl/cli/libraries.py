"""xpdl backends."""

from xpdl.backends import available_backends


def backends() -> None:
    """Print which array libraries can be used here, and for the others what to install."""
    for name, state in available_backends().items():
        print(f"{name:<17} {state}")
