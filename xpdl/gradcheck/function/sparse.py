"""Sparse arrays of SciPy, PyTorch, CuPy and JAX: entries that are not stored count as 0.

A sparse tensor of PyTorch may be an argument, too.  Its stored entries are the variables; the others stay 0.
"""

from typing import Any

import numpy as np

from xpdl.arrays import Array
from xpdl.gradcheck.report import Vector

DENSE = ("toarray", "to_dense", "todense")
"""What makes a sparse array dense: in SciPy and CuPy, in PyTorch, in JAX."""


def dense(found: Any) -> Any:
    """An array with all its entries; what is not sparse as it is."""
    return next((getattr(found, name)() for name in DENSE if hasattr(found, name)), found)


def is_sparse(array: Array) -> bool:
    """Whether an array is a sparse tensor of PyTorch."""
    return str(getattr(array, "layout", "")).startswith("torch.sparse")


def stored_as(array: Array, like: Array) -> Array:
    """The entries of an array that a sparse one stores, stored as it does."""
    pattern = like.detach()
    return array.sparse_mask(pattern.coalesce() if pattern.is_sparse else pattern)


def is_stored(array: Array) -> Vector:
    """Whether a sparse array stores an entry."""
    whole = dense(array.detach())
    return np.asarray(dense(stored_as(whole * 0 + 1, array)).numpy(), bool)
