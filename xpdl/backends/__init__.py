"""Backends."""

from xpdl.backends.base import Backend
from xpdl.backends.selection import INSTALL, available_backends, backend, backend_of

__all__ = ["INSTALL", "Backend", "available_backends", "backend", "backend_of"]
