"""Evidence made of a numeric gradient and a claim: entry by entry, or along eleven directions."""

import numpy as np
import pytest

from xpdl.gradcheck.function.causes import Evidence
from xpdl.gradcheck.function.directional import DirectionalDerivative

EXACT = 1e-10
"""The error bars, as a part of each value and of the largest one."""


def _derivatives(values, exact, entries):
    least = exact**2 * np.max(np.abs(values), initial=0.0) if entries else exact * np.median(np.abs(values))
    bars = np.maximum(exact * np.abs(values), least)
    return [DirectionalDerivative(v, b, v, v) for v, b in zip(values.tolist(), bars.tolist(), strict=True)]


def _evidence(claim, numeric, *, theta=None, entries=True, exact=EXACT, seed=0, **more):
    claim, numeric = (np.asarray(tensor, np.float64) for tensor in (claim, numeric))
    generator = np.random.default_rng(seed)
    theta = np.random.default_rng(99).standard_normal(claim.shape) if theta is None else theta
    signs = None if entries else generator.choice(np.array([-1.0, 1.0]), (11, claim.size))
    noisy = (numeric.ravel() if signs is None else signs @ numeric.ravel()) * (
        1 + exact / 4 * generator.uniform(-1, 1, claim.size if entries else 11)
    )
    if signs is not None:
        more["misses"] = lambda d: bool(abs(d @ (claim - numeric).ravel()) > 2 * exact * np.abs(numeric).sum())
    return Evidence(claim, theta, np.ones(claim.shape), _derivatives(noisy, exact, entries), signs, **more)


@pytest.fixture
def evidence():
    """evidence(claim, numeric, theta=, entries=, exact=, seed=, ...)."""
    return _evidence
