"""Tell where an activation is linear near z.  There f and f' add no rounding error; f only passes on the error of z."""

from collections.abc import Callable
from functools import reduce
import operator
from typing import TypeAlias

from xpdl.arrays import Array, namespace

Function: TypeAlias = Callable[[Array], Array]

NEARBY = 1 + 2.0**-10
"""A number near z is z times this."""


def derivative_and_curvature(fprime: Function, z: Array, *elsewhere: Array) -> tuple[Array, Array]:
    """f'(z), and c: 0 where f is linear near z, else 1.

    f is linear where f' is the same at z, at z (1 + 2^-10) and at the corresponding entries of ``elsewhere``.
    """
    here = fprime(z)
    changes = [fprime(place) != here for place in (z * NEARBY, *elsewhere)]
    return here, namespace(z).astype(reduce(operator.or_, changes), z.dtype)
