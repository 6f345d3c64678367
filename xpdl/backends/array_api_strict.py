"""array-api-strict: only the Array API standard, on simulated devices; for tests."""

import array_api_strict as xp

from xpdl.backends.base import Backend
from xpdl.backends.numpy import quiet

DEVICES = {str(device).split("'")[1].lower(): device for device in xp.__array_namespace_info__().devices()}


def connect(name: str, device: str) -> Backend:
    """Return the backend of one of its devices: cpu_device (the default), device1, device2, no_float64, no_x64."""
    if (device or "cpu_device").lower() not in DEVICES:
        raise ValueError(f"backend 'array_api_strict' has the devices {', '.join(DEVICES)}, got {device!r}")
    return Backend(name, xp, DEVICES[(device or "cpu_device").lower()], activate=quiet)
