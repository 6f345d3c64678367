"""Properties of an array for kernels: its namespace, its device, and whether it is complex.

Comments give shapes, with the same letters everywhere: n samples, d features, k outputs, P parameters, L layers.
"""

from typing import Any, TypeAlias

from array_api_compat import array_namespace, device

Array: TypeAlias = Any
Namespace: TypeAlias = Any

__all__ = ["Array", "Namespace", "device", "is_complex", "namespace", "real"]

_NAMESPACES: dict[type, Namespace] = {}


def namespace(x: Array) -> Namespace:
    """The Array API namespace of x.  It is cached for each type: kernels need it about forty times in a step."""
    try:
        return _NAMESPACES[type(x)]
    except KeyError:
        return _NAMESPACES.setdefault(type(x), array_namespace(x))


def is_complex(x: Array) -> bool:
    """Whether x has a complex dtype."""
    xp = namespace(x)
    return bool(x.dtype == xp.complex128 or x.dtype == xp.complex64)


def real(x: Array) -> Array:
    """The real part; x itself if it is real, because the standard has ``real`` for complex arrays only."""
    return namespace(x).real(x) if is_complex(x) else x
