"""Selection: names and devices of backends, what is missing, and what "auto" chooses."""

from importlib.util import find_spec
import subprocess
import sys

from array_api_compat import device
import numpy as np
import pytest

import xpdl
from xpdl import Backend
from xpdl.backends import backend_of, selection


@pytest.mark.parametrize(
    "name",
    ["numpy", "numpy:cpu", "array_api_strict", "array_api_strict:device2", "torch", "torch:cpu", "jax", "jax:cpu:0"],
)
def test_a_backend_is_found_by_its_name(name) -> None:
    pytest.importorskip(name.partition(":")[0])
    chosen = xpdl.backend(name)
    assert chosen.name == name
    assert repr(chosen) == f"Backend({name!r})"
    assert device(chosen.asarray([1.0], "float32")) == chosen.device
    assert chosen.synchronize() is None


def test_a_backend_is_passed_through() -> None:
    mine = Backend("mine", np, "cpu")
    assert xpdl.backend(mine) is mine


@pytest.mark.parametrize("precision", ["fp16", "TF32", "float64"])
def test_an_unknown_precision_is_refused(precision) -> None:
    with pytest.raises(ValueError, match=f"precision must be one of 3xtf32, float32, tf32, got '{precision}'"):
        xpdl.backend("numpy", precision=precision)


@pytest.mark.parametrize(
    ("name", "close"), [("nmupy", "numpy"), ("NumPy", "numpy"), ("troch", "torch"), ("pytorch:cuda", "torch")]
)
def test_an_unknown_name_is_answered_with_the_close_match(name, close) -> None:
    with pytest.raises(ValueError, match=f"backend must be one of .* did you mean '{close}'"):
        xpdl.backend(name)


@pytest.mark.parametrize("name", [None, 5, np, b"numpy", Backend])
def test_a_backend_that_is_no_name_is_a_type_error(name) -> None:
    with pytest.raises(TypeError, match="backend must be one of .*, got "):
        xpdl.backend(name)


@pytest.mark.parametrize(
    "name",
    [
        "numpy:1",
        "auto:1",
        "array_api_strict:device9",
        "torch:cuda:99",
        "torch:tpu",
        "torch:meta",
        "jax:tpu",
        "jax:cpu:1",
        "jax:cpu:x",
        "jax:cpu:-1",
        "cupy:99",
        "cupy:x",
        "cupy:-1",
    ],
)
def test_a_device_that_is_not_there_is_an_error_naming_the_backend(name) -> None:
    library = name.partition(":")[0]
    if library != "auto":
        pytest.importorskip(library)
    with pytest.raises((ValueError, RuntimeError), match=f"backend '{library}"):
        xpdl.backend(name)


@pytest.fixture
def lack(monkeypatch):
    """A function that makes libraries be not installed."""

    def hide(*libraries):
        monkeypatch.setattr(selection, "find_spec", lambda name: None if name in libraries else find_spec(name))
        selection._connect.cache_clear()

    yield hide
    selection._connect.cache_clear()


@pytest.mark.parametrize(
    ("library", "install"), [("cupy", "cuda12x"), ("torch", "torch"), ("jax", "jax"), ("array_api_strict", "strict")]
)
def test_a_missing_library_is_an_import_error_that_says_what_to_install(lack, library, install) -> None:
    lack(library)
    for name in (library, f"{library}:0"):
        with pytest.raises(ImportError, match=rf'{library}.*pip install "xpdl\[{install}\]"'):
            xpdl.backend(name)


def test_available_backends_tells_ready_or_what_to_install(lack) -> None:
    lack("torch", "cupy")
    states = xpdl.available_backends()
    assert set(states) == {"numpy", "cupy", "torch", "jax", "array_api_strict"}
    assert states["numpy"] == "ready"
    assert 'pip install "xpdl[torch]"' in states["torch"]
    assert 'pip install "xpdl[cuda12x]"' in states["cupy"]


@pytest.mark.parametrize("error", [OSError, ImportError, RuntimeError, AttributeError])
def test_a_library_that_fails_to_load_is_a_reason_not_a_crash(lack, monkeypatch, error) -> None:
    """Broken installations of large libraries raise OSError (a missing .so), RuntimeError (versions) and more."""
    real = selection.import_module

    def load(name):
        if name.endswith("array_api_strict"):
            raise error("lib.so: cannot open shared object file")
        return real(name)

    lack()
    monkeypatch.setattr(selection, "import_module", load)
    assert "lib.so" in xpdl.available_backends()["array_api_strict"]
    assert xpdl.available_backends()["numpy"] == "ready"


def test_auto_takes_the_first_accelerator_that_can_be_used(lack, monkeypatch) -> None:
    lack("cupy")
    monkeypatch.setattr(selection, "_driver", lambda: True)
    monkeypatch.setattr(selection, "ACCELERATED", ("cupy", "array_api_strict:device9", "array_api_strict:device1"))
    assert xpdl.backend("auto").name == "array_api_strict:device1"
    monkeypatch.setattr(selection, "ACCELERATED", ("cupy", "array_api_strict:device9"))
    assert xpdl.backend("auto").name == "numpy"


def python(text):
    """What a fresh interpreter prints."""
    run = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_auto_without_a_driver_is_numpy_and_imports_no_other_library() -> None:
    text = """
import sys, types, xpdl
def fail(name): raise OSError(name)
xpdl.backends.selection.ctypes = types.SimpleNamespace(CDLL=fail)
print(xpdl.backend().name, *{"torch", "jax", "cupy", "sklearn", "matplotlib"} & set(sys.modules))
"""
    assert python(text) == ["numpy"]


@pytest.mark.parametrize("name", ["numpy", "array_api_strict:device1", "torch", "jax"])
def test_the_backend_of_an_array_is_that_of_its_library_and_device(name) -> None:
    pytest.importorskip(name.partition(":")[0])
    chosen = xpdl.backend(name)
    found = backend_of(chosen.asarray([1.0], "float32"))
    assert (found.xp, found.device) == (chosen.xp, chosen.device)
    assert found.name.startswith(name.partition(":")[0])


def test_the_public_names_are_those_of_the_package() -> None:
    for name in ("INSTALL", "PRECISIONS", "available_backends", "backend", "backend_of"):
        assert getattr(xpdl.backends, name) is getattr(selection, name)
