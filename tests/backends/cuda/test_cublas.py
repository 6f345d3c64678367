"""Products by cuBLAS: the arguments on a library that multiplies column by column in host memory, and the real one."""

import gc
from itertools import product as combinations
from types import SimpleNamespace

import numpy as np
from pretend_cublas import PLACES, STORED, HostLibrary, products, put
import pytest

from xpdl.backends import backend
from xpdl.backends.cuda import cublas


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place_stored", PLACES)
@pytest.mark.parametrize("y_stored", STORED)
@pytest.mark.parametrize("x_stored", STORED)
def test_every_layout_is_multiplied_as_it_lies(x_stored, y_stored, place_stored, dtype):
    rng, multiply = np.random.default_rng(0), products(HostLibrary())
    for n, k, m in combinations([1, 2, 5], [1, 3, 4], [1, 2, 7]):
        x, y = rng.integers(-9, 9, (n, k)).astype(dtype), rng.integers(-9, 9, (k, m)).astype(dtype)
        place = place_stored(np.full((n, m), np.nan, dtype))
        multiply.call(place, x_stored(x), y_stored(y))()
        np.testing.assert_array_equal(np.asarray(place), x @ y, err_msg=str((n, k, m)))


def test_tf32_is_for_float32_alone_and_only_if_asked_for():
    """CUBLAS_COMPUTE_32F_FAST_TF32 is 77, CUBLAS_COMPUTE_64F 70."""

    def compute(dtype, *arithmetic):
        return cublas.product(*(put(np.ones((2, 2), dtype)) for _ in range(3)), *arithmetic)[-2]

    assert [compute("float32"), compute("float64")] == [68, 70]
    assert [compute("float32", cublas.TF32), compute("float64", cublas.TF32)] == [77, 70]


def test_products_multiply_as_they_are_told():
    class Library(HostLibrary):
        def cublasGemmEx(self, *arguments):  # noqa: N802
            computed.append(arguments[-2])
            return 0

    computed = []
    for arithmetic in (cublas.ARITHMETIC, cublas.TF32):
        multiply = cublas.Products(Library(), lambda size: put(np.empty(size, "uint8")), lambda: 5, arithmetic)
        multiply.call(*(put(np.ones((2, 2), "float32")) for _ in range(3)))()
    assert computed == [68, 77]


def test_only_the_place_is_written():
    multiply, wide = products(HostLibrary()), put(np.full((4, 9), -1.0))
    multiply.call(wide[1:3, 2:7], put(np.ones((2, 3))), put(np.ones((3, 5))))()
    assert (np.asarray(wide) == -1).sum() == 36 - 10


ONES = put(np.ones((4, 4)))


@pytest.mark.parametrize(
    ("place", "x", "y"),
    [
        (ONES, ONES.astype("float32"), ONES),
        (ONES.astype("int32"), ONES.astype("int32"), ONES.astype("int32")),
        (ONES.astype("complex64"), ONES.astype("complex64"), ONES.astype("complex64")),
        (put(np.ones(4)), ONES, put(np.ones(4))),
        (put(np.ones((2, 4, 4))), put(np.ones((2, 4, 4))), ONES),
        (ONES.T, ONES, ONES),
        (ONES, put(np.ones((4, 8)))[:, ::2], ONES),
        (ONES, ONES[:, ::-1], ONES),
        (ONES, ONES[::-1, :], ONES),
        (ONES, put(np.broadcast_to(np.ones(4), (4, 4))), ONES),
        (ONES, put(np.broadcast_to(np.ones((4, 1)), (4, 4))), ONES),
        (ONES, put(np.ones((4, 0))), put(np.ones((0, 4)))),
    ],
)
def test_what_cublas_cannot_read_or_write_as_it_lies_is_left_to_others(place, x, y):
    assert products(HostLibrary()).call(place, x, y) is None


def test_a_status_is_named():
    library = HostLibrary()
    multiply = products(library).call(ONES.copy(), ONES, ONES)
    library.status = 13
    with pytest.raises(RuntimeError, match="cuBLAS: CUBLAS_STATUS_EXECUTION_FAILED"):
        multiply()
    library.status = 99
    with pytest.raises(RuntimeError, match="cuBLAS: status 99"):
        products(library)


def test_stream_and_workspace_are_set_when_the_stream_changes():
    library, current = HostLibrary(), SimpleNamespace(stream=5)
    handle = products(library, lambda: current.stream)
    multiply = handle.call(ONES.copy(), ONES, ONES)
    for current.stream in (5, 5, 6, 6, 5):
        multiply()
        assert (library.stream, library.workspace) == (current.stream, (handle.workspaces[0].data.ptr, 32 * 2**20))
    assert [entry for entry in library.log if entry != "multiply"] == ["create", *(("stream", s) for s in (5, 6, 5))]


def test_products_at_the_same_time_have_workspaces_of_their_own():
    """The streams of a capture are seen one after the other; those that only they share a workspace with wait."""
    library, current, used = HostLibrary(), SimpleNamespace(stream=5), {}
    handle = cublas.Products(library, lambda size: put(np.empty(size, "uint8")), lambda: current.stream, branches=2)
    multiply = handle.call(ONES.copy(), ONES, ONES)
    for current.stream in (5, 6, 7, 6, 7, 5):
        multiply()
        assert used.setdefault(current.stream, library.workspace) == library.workspace
    assert used[6] != used[7]


def test_the_handle_lives_as_long_as_its_calls():
    library = HostLibrary()
    multiply = products(library).call(ONES.copy(), ONES, ONES)
    gc.collect()
    assert "destroy" not in library.log
    del multiply
    gc.collect()
    assert library.log[-1] == "destroy"


def test_the_library_of_cupy_has_what_is_called():
    pytest.importorskip("cuda.pathfinder", reason="needs CuPy")
    from cuda.pathfinder import DynamicLibNotFoundError

    try:
        library = cublas.load()
    except DynamicLibNotFoundError as error:
        pytest.skip(f"no cuBLAS here: {str(error).splitlines()[0]}")
    for name in vars(HostLibrary):
        if name.startswith("cublas"):
            assert getattr(library, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_the_gpu_are_those_of_cupy(dtype):
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    try:
        gpu = backend("cupy")
    except RuntimeError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    multiply = cublas.Products(
        cublas.load(), lambda size: cupy.empty(size, "uint8"), lambda: cupy.cuda.get_current_stream().ptr
    )
    for n, k, m in [(128, 784, 256), (128, 256, 10), (1, 3, 5), (96, 17, 33)]:
        x, y, place = (gpu.asarray(rng.normal(size=shape), dtype) for shape in ((n, k), (k, m), (n, m)))
        for left, right in [(x, y), (cupy.asfortranarray(x), y), (x, cupy.asfortranarray(y))]:
            multiply.call(place, left, right)()
            expected = gpu.to_numpy(x).astype("float64") @ gpu.to_numpy(y).astype("float64")
            bound = 4 * np.finfo(dtype).eps * k**0.5 * np.abs(expected).max()
            np.testing.assert_allclose(gpu.to_numpy(place), gpu.to_numpy(left @ right), rtol=0, atol=bound)
            np.testing.assert_allclose(gpu.to_numpy(place), expected, rtol=0, atol=bound)
