"""One function on several backends: all gradients judged, timed and compared."""

from array_api_compat import array_namespace
import numpy as np
import pytest

import xpdl

W = np.random.default_rng(0).standard_normal((3, 4))
BACKENDS = ["numpy", "array_api_strict"]


def fun(w):
    xp = array_namespace(w)
    return xp.sum(xp.tanh(w) ** 2)


def grad(w, factor=1.0):
    xp = array_namespace(w)
    return 2 * xp.tanh(w) * (1 - xp.tanh(w) ** 2) * factor


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("array_api_strict")


def test_each_backend_has_its_rows_its_time_and_its_distances() -> None:
    report = xpdl.check_gradient(fun, grad, W, backends=BACKENDS)
    assert report.verdict == "PASS", str(report)
    assert list(report.parameters) == ["theta on numpy", "theta on array_api_strict"]
    assert [note.split(" ")[0] for note in report.notes[:2]] == ["numpy:", "array_api_strict:"]
    assert all(note.endswith("ms for a gradient") for note in report.notes[:2])
    assert float(report.notes[2].removeprefix("numpy against array_api_strict: ")) < 1e-12


def test_the_wrong_backend_is_named_and_the_distance_tells_how_wrong() -> None:
    def wrong(w):
        return grad(w, 1.0 if isinstance(w, np.ndarray) else 1.001)

    report = xpdl.check_gradient(fun, wrong, W, backends=BACKENDS)
    assert [name for name, p in report.parameters.items() if p.verdict == "FAIL"] == ["theta on array_api_strict"]
    assert float(report.notes[2].rpartition(" ")[2]) == pytest.approx(1e-3, rel=0.01)


def test_the_library_differentiates_itself() -> None:
    pytest.importorskip("jax")
    assert xpdl.check_gradient(fun, None, W, backends=["jax"]).verdict == "PASS"
    with pytest.raises(TypeError, match="and numpy has none: give grad"):
        xpdl.check_gradient(fun, None, W, backends=["jax", "numpy"])
