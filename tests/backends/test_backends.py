"""Backends: names, devices, what is missing, and the transfer of arrays into and out of each of them."""

from importlib.util import find_spec
import subprocess
import sys

from array_api_compat import array_namespace, device
import numpy as np
import pytest

import xpdl
from xpdl import Backend, backends, randomness
from xpdl.checks import dtype_name

NAMES = ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"]
on_each = pytest.mark.parametrize("lib", NAMES, indirect=True)

MATRIX = np.arange(6.0).reshape(2, 3) - 1.5


def readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def from_torch(make):
    """What ``make`` makes of the module torch."""
    return lambda: make(pytest.importorskip("torch"))


def from_jax(make):
    return lambda: make(pytest.importorskip("jax.numpy"))


def on_device1(array):
    strict = pytest.importorskip("array_api_strict")
    return strict.asarray(array, device=xpdl.backend("array_api_strict:device1").device)


SOURCES = {
    # name: (what is handed in, what it holds)
    "list": (lambda: [[1.5, 2], [3, 4]], np.array([[1.5, 2], [3, 4]])),
    "list of ints": (lambda: [1, 2], np.array([1, 2])),
    "list of bools": (lambda: [True, False], np.array([True, False])),
    "empty list": (list, np.array([])),
    "float": (lambda: 1.5, np.array(1.5)),
    "int": (lambda: 3, np.array(3)),
    "numpy scalar": (lambda: np.float32(2.5), np.array(2.5, "float32")),
    "numpy float64": (lambda: MATRIX, MATRIX),
    "numpy float32": (lambda: MATRIX.astype("float32"), MATRIX.astype("float32")),
    "numpy int64": (lambda: np.array([[1, -(2**40)]]), np.array([[1, -(2**40)]])),
    "numpy uint8": (lambda: np.array([0, 255], "uint8"), np.array([0, 255], "uint8")),
    "numpy bool": (lambda: MATRIX > 0, MATRIX > 0),
    "numpy 0-d": (lambda: np.array(2.0), np.array(2.0)),
    "numpy without rows": (lambda: np.zeros((0, 3), "float32"), np.zeros((0, 3), "float32")),
    "numpy read-only": (lambda: readonly(MATRIX), MATRIX),
    "numpy read-only uint8": (lambda: readonly(np.arange(4, dtype="uint8")), np.arange(4, dtype="uint8")),
    "numpy strided": (lambda: np.repeat(np.repeat(MATRIX, 2, 0), 3, 1)[::2, ::3], MATRIX),
    "numpy reversed": (lambda: MATRIX[::-1, ::-1].copy()[::-1, ::-1], MATRIX),
    "numpy reversed uint8": (lambda: np.arange(4, dtype="uint8")[::-1], np.array([3, 2, 1, 0], "uint8")),
    "numpy Fortran": (lambda: np.asfortranarray(MATRIX), MATRIX),
    "numpy broadcast": (lambda: np.broadcast_to(np.float32(1), (2, 3)), np.ones((2, 3), "float32")),
    "numpy big-endian": (lambda: MATRIX.astype(">f4"), MATRIX.astype("float32")),
    "numpy unaligned": (lambda: np.frombuffer(b"-" + MATRIX.tobytes(), "u1")[1:].view("f8"), MATRIX.ravel()),
    "torch": (from_torch(lambda torch: torch.tensor(MATRIX)), MATRIX),
    "torch transposed": (from_torch(lambda torch: torch.tensor(MATRIX.T).T), MATRIX),
    "torch bool": (from_torch(lambda torch: torch.tensor(MATRIX > 0)), MATRIX > 0),
    "torch uint8": (from_torch(lambda torch: torch.tensor([0, 255], dtype=torch.uint8)), np.array([0, 255], "uint8")),
    "jax": (from_jax(lambda jnp: jnp.asarray(MATRIX, dtype="float32")), MATRIX.astype("float32")),
    "jax bool": (from_jax(lambda jnp: jnp.asarray(MATRIX > 0)), MATRIX > 0),
    "strict device1": (lambda: on_device1(MATRIX), MATRIX),
    "strict device1 uint8": (lambda: on_device1(np.array([0, 255], "uint8")), np.array([0, 255], "uint8")),
}
every_source = pytest.mark.parametrize("source", SOURCES)


def lacks_float64(lib):
    return lib.backend.name.endswith("no_float64")


def check(lib, got, want, dtype):
    assert array_namespace(got) is lib.backend.xp
    assert device(got) == lib.backend.device
    assert dtype_name(got.dtype) == dtype
    assert tuple(got.shape) == want.shape
    assert lib.host(got).tolist() == want.astype(dtype).tolist()


@on_each
@every_source
def test_asarray_keeps_values_shape_and_dtype(lib, source) -> None:
    make, want = SOURCES[source]
    if lacks_float64(lib) and want.dtype == "float64":
        with pytest.raises(ValueError, match="float64"):
            lib.backend.asarray(make())
        return
    check(lib, lib.backend.asarray(make()), want, want.dtype.name)


@on_each
@every_source
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_asarray_converts_to_the_dtype_asked_for(lib, source, dtype) -> None:
    if lacks_float64(lib) and dtype == "float64":
        pytest.skip("has no float64")
    make, want = SOURCES[source]
    check(lib, lib.backend.asarray(make(), dtype), want, dtype)


@on_each
@pytest.mark.parametrize("source", ["numpy float32", "numpy read-only", "torch", "jax", "strict device1"])
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_a_copy_shares_no_memory_with_what_it_was_made_of(lib, source, dtype) -> None:
    make, want = SOURCES[source]
    if lacks_float64(lib) and want.dtype == "float64" and dtype is None:
        pytest.skip("has no float64")
    given = make()
    copied = lib.backend.asarray(given, dtype, copy=True)
    copied += 1
    assert np.array_equal(np.from_dlpack(given) if source == "strict device1" else np.asarray(given), want)


@on_each
def test_a_copy_of_an_array_of_the_same_library_is_its_own(lib) -> None:
    given = lib.put(MATRIX)
    copied = lib.backend.asarray(given, copy=True)
    copied += 1
    lib.close(given, MATRIX)
    lib.close(copied, MATRIX + 1)


@pytest.mark.parametrize("source", ["numpy", "torch"])
@on_each
def test_a_copy_does_not_follow_its_source(lib, source) -> None:
    given = np.ones(5, "float32") if source == "numpy" else pytest.importorskip("torch").ones(5)
    copied = lib.backend.asarray(given, copy=True)
    given[:] = 7
    assert lib.host(copied).tolist() == [1.0] * 5


@on_each
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_to_numpy_returns_what_was_put_in(lib, dtype, shape) -> None:
    if lacks_float64(lib) and dtype == "float64":
        pytest.skip("has no float64")
    given = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = lib.backend.to_numpy(lib.backend.asarray(given))
    assert type(back) is np.ndarray
    assert (back.dtype, back.shape) == (given.dtype, given.shape)
    assert np.array_equal(back, given)


@on_each
def test_to_numpy_takes_views(lib) -> None:
    x = lib.put(MATRIX)
    lib.close(lib.backend.xp.matrix_transpose(x), MATRIX.T)
    lib.close(x[:, 1:], MATRIX[:, 1:])


@on_each
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_zeros_are_zeros_on_the_device(lib, shape, dtype) -> None:
    if lacks_float64(lib) and dtype == "float64":
        pytest.skip("has no float64")
    check(lib, lib.backend.zeros(shape, dtype), np.zeros(shape), dtype)


@on_each
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33)])
@pytest.mark.parametrize("drop", [0.2, 0.5])
def test_dropout_masks_are_the_same_bits_everywhere(lib, shape, drop) -> None:
    mask = lib.backend.dropout_mask(3, 17, 2, shape, drop, lib.dtype)
    check(lib, mask, randomness.dropout_mask(3, 17, 2, shape, drop, lib.dtype), lib.dtype)


def test_dropout_masks_come_from_raw_philox_words() -> None:
    """Key (seed, 2), counter (0, step, layer, 0); of each 64-bit word first the low, then the high half."""
    words = np.random.Philox(key=[5, 2], counter=[0, 7, 1, 0]).random_raw(8).tolist()
    halves = [half for word in words for half in (word % 2**32, word // 2**32)][:15]
    expected = [[0.0 if half < 0.25 * 2**32 else 4 / 3 for half in halves[5 * row :][:5]] for row in range(3)]
    assert randomness.dropout_mask(5, 7, 1, (3, 5), 0.25, "float64").tolist() == expected


def test_the_device_without_float64_says_so() -> None:
    chosen = xpdl.backend("array_api_strict:no_float64")
    for call in (lambda: chosen.asarray([1.0], "float64"), lambda: chosen.zeros((1,), "float64")):
        with pytest.raises(ValueError, match="float64.*no_float64|no_float64.*float64"):
            call()


@on_each
@pytest.mark.parametrize("dtype", ["flaot32", "float128", "object"])
def test_asarray_refuses_a_dtype_that_the_library_does_not_have(lib, dtype) -> None:
    with pytest.raises(ValueError, match=f"dtype {dtype} is not available on backend '{lib.backend.name}'"):
        lib.backend.asarray([1.0], dtype)


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


def test_the_devices_of_one_library_differ() -> None:
    one, two = (xpdl.backend(f"array_api_strict:device{number}") for number in (1, 2))
    assert one.device != two.device


def test_a_backend_is_passed_through() -> None:
    mine = Backend("mine", np, "cpu")
    assert xpdl.backend(mine) is mine


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "array_api_strict"])
def test_tf32_is_refused_where_there_is_none(name) -> None:
    if xpdl.available_backends()[name] != "ready":
        pytest.skip(f"{name} is not installed")
    if name == "jax" and xpdl.backend(name).precisions:
        pytest.skip("JAX has a GPU")
    with pytest.raises(
        ValueError, match=rf"precision must be one of float32 on Backend\('{name}'\), got 'tf32'.*NVIDIA"
    ):
        xpdl.backend(name, precision="tf32")


@pytest.mark.parametrize("precision", ["fp16", "TF32", "float64"])
def test_an_unknown_precision_is_refused(precision) -> None:
    with pytest.raises(ValueError, match=f"precision must be one of 3xtf32, float32, tf32, got '{precision}'"):
        xpdl.backend("numpy", precision=precision)


def test_a_backend_in_tf32_is_another_one() -> None:
    """And says so; asking twice changes nothing."""
    mine = Backend("mine", np, "cpu", precisions={"tf32": {"compile": list}})
    other = xpdl.backend(mine, precision="tf32")
    assert (other.compile, other.precision, str(other)) == (list, "tf32", "Backend('mine', tf32)")
    assert (mine.compile, mine.precision) == (Backend.compile, "float32")
    assert xpdl.backend(other, precision="tf32") is other
    assert xpdl.backend(other) is other
    with pytest.raises(ValueError, match=r"one of float32, tf32 on Backend\('mine', tf32\), got '3xtf32'"):
        xpdl.backend(other, precision="3xtf32")


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
        monkeypatch.setattr(backends, "find_spec", lambda name: None if name in libraries else find_spec(name))
        backends._connect.cache_clear()

    yield hide
    backends._connect.cache_clear()


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
    real = backends.import_module

    def load(name):
        if name.endswith("array_api_strict"):
            raise error("lib.so: cannot open shared object file")
        return real(name)

    lack()
    monkeypatch.setattr(backends, "import_module", load)
    assert "lib.so" in xpdl.available_backends()["array_api_strict"]
    assert xpdl.available_backends()["numpy"] == "ready"


def test_auto_takes_the_first_accelerator_that_can_be_used(lack, monkeypatch) -> None:
    lack("cupy")
    monkeypatch.setattr(backends, "_driver", lambda: True)
    monkeypatch.setattr(backends, "ACCELERATED", ("cupy", "array_api_strict:device9", "array_api_strict:device1"))
    assert xpdl.backend("auto").name == "array_api_strict:device1"
    monkeypatch.setattr(backends, "ACCELERATED", ("cupy", "array_api_strict:device9"))
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
xpdl.backends.ctypes = types.SimpleNamespace(CDLL=fail)
print(xpdl.backend().name, *{"torch", "jax", "cupy", "sklearn", "matplotlib"} & set(sys.modules))
"""
    assert python(text) == ["numpy"]


@pytest.fixture
def fresh_jax():
    """JAX as it is imported, without its 64-bit types."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda b: b.asarray(np.ones(2)), "float64"),
        (lambda b: b.asarray(np.ones(2), "float64"), "float64"),
        (lambda b: b.asarray(np.ones(2), "float64", copy=True), "float64"),
        (lambda b: b.asarray(np.array([2**40])), "int64"),
        (lambda b: b.zeros((2,), "float64"), "float64"),
        (lambda b: b.dropout_mask(0, 0, 1, (2, 2), 0.5, "float64"), "float64"),
    ],
)
def test_jax_gives_64_bits_from_the_first_call_on(fresh_jax, make, dtype) -> None:
    made = make(xpdl.backend("jax"))
    assert made.dtype == dtype
    assert fresh_jax.device_get(made).dtype == dtype


def test_jax_keeps_its_32_bit_default_until_64_bits_are_asked_for() -> None:
    """The backend must not change what a user's own JAX code computes."""
    pytest.importorskip("jax")
    text = """
import jax, numpy as np, xpdl
options = {"backend": "jax", "epochs": 1, "dtype": "float32", "progress": False}
xpdl.train(xpdl.Network([3, 3]), np.eye(3), np.arange(3), **options)
print(jax.config.jax_enable_x64)
"""
    assert python(text) == ["False"]


def test_a_backend_of_your_own_trains() -> None:
    """A namespace and a device are enough."""
    strict = pytest.importorskip("array_api_strict")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    net = xpdl.Network([3, 4, 2], l2=0.1, dropout=0.5)
    options = {"epochs": 2, "batch_size": 8, "dtype": "float64", "validation": (x, y), "progress": False}
    mine = Backend("mine", strict, xpdl.backend("array_api_strict:device1").device)
    actual = xpdl.train(net, x, y, backend=mine, **options)
    expected = xpdl.train(net, x, y, backend="numpy", **options)
    np.testing.assert_allclose(actual.theta, expected.theta, rtol=0, atol=1e-12)
    assert actual.history[-1]["validation_accuracy"] == expected.history[-1]["validation_accuracy"]
