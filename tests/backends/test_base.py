"""Backends as data: the transfer of arrays into and out of each of them, precisions, and what is compiled."""

from functools import reduce

from array_api_compat import array_namespace, device
import numpy as np
import pytest

import xpdl
from xpdl import Backend, randomness
from xpdl.backends.base import Simple
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


@on_each
@pytest.mark.parametrize("dtype", ["flaot32", "float128", "object"])
def test_asarray_refuses_a_dtype_that_the_library_does_not_have(lib, dtype) -> None:
    with pytest.raises(ValueError, match=f"dtype {dtype} is not available on backend '{lib.backend.name}'"):
        lib.backend.asarray([1.0], dtype)


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


@pytest.mark.parametrize("hook", ["compile", "repeat"])
def test_a_hook_of_your_own_may_return_a_plain_function(hook) -> None:
    """As ``jax.jit`` does; with a schedule the step is checked again in each epoch."""

    def repeat(step, offsets):
        return lambda run, data, count: reduce(lambda carry, _: step(carry, data, None), range(count), run)

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)
    options = {"epochs": 3, "batch_size": 8, "progress": False}
    options["optimizer"] = xpdl.sgd(xpdl.schedules.exponential(0.1, 0.5))
    mine = Backend("mine", np, "cpu", **{hook: {"compile": lambda step: step, "repeat": repeat}[hook]})
    actual, expected = (xpdl.train(xpdl.Network([3, 2]), x, y, backend=b, **options) for b in (mine, "numpy"))
    np.testing.assert_allclose(actual.theta, expected.theta, rtol=0, atol=1e-6)


# What is compiled


def total(run, data, masks):
    """A step: the sum of what it has seen."""
    run += data
    return run


@on_each
def test_a_compiled_step_does_the_same_before_and_after_it_is_invalidated(lib) -> None:
    step, run = lib.backend.compile(total), lib.backend.zeros((3,), lib.dtype)
    for number in range(8):
        run = step(run, lib.put(np.full(3, float(number))), None)
        if number in (0, 3, 4):
            step.invalidate()
    lib.close(run, np.full(3, 28.0))


@on_each
def test_repeated_steps_can_be_invalidated(lib) -> None:
    if lib.backend.repeat is None:
        pytest.skip("the host repeats the steps")
    repeated, run = lib.backend.repeat(total, (0, 3)), lib.backend.zeros((3,), lib.dtype)
    for _ in range(2):
        run = repeated(run, lib.put(np.ones(3)), 4)
        repeated.invalidate()
    lib.close(run, np.full(3, 8.0))


def test_by_default_a_step_is_compiled_to_itself() -> None:
    compiled = Backend("mine", np, "cpu").compile(total)
    assert (compiled.function, type(compiled)) == (total, Simple)
    compiled.invalidate()
    assert compiled(1, 2, None) == 3


def test_a_backend_is_its_own_copy() -> None:
    """It holds a module and a device, which cannot be copied."""
    from copy import deepcopy

    chosen = xpdl.backend("numpy")
    assert deepcopy(chosen) is chosen
