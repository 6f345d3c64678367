"""Products by cuBLAS: the arguments on a library that multiplies column by column in host memory, and the real one."""

import ctypes
import gc
from itertools import product as combinations
from types import SimpleNamespace

import numpy as np
import pytest

from xpdl.backends import backend
from xpdl.backends.cuda import cublas, cublas_3xtf32


class OnHost(np.ndarray):
    """Host memory that looks like an array of CuPy."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def put(x):
    return np.asarray(x).view(OnHost)


def columns(pointer, dtype, rows, n, leading):
    """The matrix (rows, n), stored by columns, at an address."""
    buffer = (ctypes.c_char * (dtype.itemsize * (leading * (n - 1) + rows))).from_address(pointer.value)
    return np.ndarray((rows, n), dtype, buffer, strides=(dtype.itemsize, leading * dtype.itemsize))


class HostLibrary:
    """libcublas.so in NumPy: C = alpha op(A) op(B) + beta C, all stored by columns (cuBLAS Library, cublasGemmEx)."""

    computes = 68, 70  # CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F

    def __init__(self):
        self.log, self.status, self.stream, self.workspace = [], 0, None, None

    def cublasCreate_v2(self, handle):  # noqa: N802
        handle._obj.value = 4711
        self.log.append("create")
        return self.status

    def cublasDestroy_v2(self, handle):  # noqa: N802
        assert handle.value == 4711
        self.log.append("destroy")
        return 0

    def cublasSetStream_v2(self, handle, stream):  # noqa: N802
        self.log.append(("stream", stream.value))
        self.stream, self.workspace = stream.value, None
        return 0

    def cublasSetWorkspace_v2(self, handle, pointer, size):  # noqa: N802
        self.workspace = pointer.value, size.value
        return 0

    def cublasGemmEx(  # noqa: N802
        self, handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algo
    ):
        assert handle.value == 4711
        assert self.workspace is not None
        assert (a_type, b_type, c_type) in [(0,) * 3, (1,) * 3]
        assert (compute, algo) == (self.computes[a_type], -1)
        dtype = np.dtype(["float32", "float64"][a_type])
        assert lda >= max(1, k if op_a else m)
        assert ldb >= max(1, n if op_b else k)
        assert ldc >= max(1, m)
        left = self.read(columns(a, dtype, *((k, m) if op_a else (m, k)), lda))
        right = self.read(columns(b, dtype, *((n, k) if op_b else (k, n)), ldb))
        value = alpha._obj.value * ((left.T if op_a else left) @ (right.T if op_b else right))
        result = columns(c, dtype, m, n, ldc)
        result[...] = value + beta._obj.value * result if beta._obj.value else value
        self.log.append("multiply")
        return self.status

    def read(self, x):
        """What of a factor is multiplied."""
        return x


class InTF32(HostLibrary):
    """As tensor cores may do it: they read 19 of a float's 32 bits."""

    computes = 77, 70  # CUBLAS_COMPUTE_32F_FAST_TF32

    def read(self, x):
        return (x.view("int32") & ~0x1FFF).view("float32") if x.dtype == "float32" else x


def products(library, stream=lambda: 5):
    return cublas.Products(library, lambda size: put(np.empty(size, "uint8")), stream)


def by_rows(x):
    return put(np.ascontiguousarray(x))


def by_columns(x):
    return put(np.ascontiguousarray(x.T)).T


def part_of_rows(x):
    wide = put(np.full((x.shape[0], x.shape[1] + 3), np.nan, x.dtype))
    wide[:, 2:-1] = x
    return wide[:, 2:-1]


def part_of_columns(x):
    return part_of_rows(x.T).T


def every_other_row(x):
    tall = put(np.full((2 * x.shape[0], x.shape[1]), np.nan, x.dtype))
    tall[::2, :] = x
    return tall[::2, :]


STORED = [by_rows, by_columns, part_of_rows, part_of_columns, every_other_row]
PLACES = [by_rows, part_of_rows, every_other_row]


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


@pytest.fixture(scope="module")
def split(host_library):
    """The kernel of 3xTF32 on the host: split(x, big, small, big)."""
    inputs, outputs, body, _ = cublas_3xtf32.SPLIT
    text = f"""
        #include <cstring>
        #define __device__
        using float32 = float;
        static int __float_as_int(float x) {{ int i; std::memcpy(&i, &x, 4); return i; }}
        static float __int_as_float(int i) {{ float x; std::memcpy(&x, &i, 4); return x; }}
        {cublas_3xtf32.PREAMBLE}
        extern "C" void split(int n, const float *x, float *big, float *small, float *again) {{
            for (int i = 0; i < n; i++) {{
                {inputs} = x[i]; {outputs.replace(", float32", ",")}; {body}
                big[i] = y0; small[i] = y1; again[i] = y2;
            }}
        }}"""
    library = host_library(text)

    def launch(x, *places):
        x = np.ascontiguousarray(x)
        parts = [np.empty_like(x) for _ in places]
        library.split(x.size, *(ctypes.c_void_p(array.ctypes.data) for array in (x, *parts)))
        for place, part in zip(places, parts, strict=True):
            place[...] = part

    return launch


@pytest.fixture
def three_products(split):
    return cublas_3xtf32.ThreeProducts(InTF32(), lambda size: put(np.empty(size, "uint8")), lambda: 5, split)


def test_the_parts_of_a_number_are_numbers_of_tf32_and_all_of_it_but_its_last_bits(split):
    x = np.random.default_rng(0).normal(size=10_000).astype("float32")
    x[:6] = 0, 1, -1 - 2**-10, 1 + 2**-11, 2**-126, 3e38
    big, small, again = np.empty((3, len(x)), "float32")
    split(x, big, small, again)
    np.testing.assert_array_equal(big, again)
    for part in (big, small):
        assert not np.any(part.view("int32") & 0x1FFF)
    off = np.abs(x.astype("float64") - big - small)
    assert np.all(off <= 2.0**-23 * np.abs(x))
    assert np.mean(off[6:] / np.abs(x[6:])) < 2**-25


@pytest.mark.parametrize("place_stored", PLACES)
@pytest.mark.parametrize("y_stored", STORED)
@pytest.mark.parametrize("x_stored", STORED)
def test_three_products_in_tf32_have_the_digits_of_float32(three_products, x_stored, y_stored, place_stored):
    """Positive factors: nothing averages out.  One product in TF32 is off by a thousand times as much."""
    rng = np.random.default_rng(0)
    for n, k, m in [(5, 33, 7), (1, 20, 3), (4, 1, 1), (2, 3, 1)]:
        x, y = rng.uniform(1, 2, (n, k)).astype("float32"), rng.uniform(1, 2, (k, m)).astype("float32")
        expected, place = x.astype("float64") @ y, place_stored(np.full((n, m), np.nan, "float32"))
        three_products.call(place, x_stored(x), y_stored(y))()
        np.testing.assert_allclose(np.asarray(place), expected, rtol=2**-20)
        assert np.all(np.abs(cut(x) @ cut(y) - expected) > 2**-14 * expected)


def cut(x):
    """What TF32 holds of it, in float64."""
    return InTF32().read(x).astype("float64")


def test_other_products_are_as_they_were(three_products):
    """float64, and what cuBLAS cannot read."""
    place = put(np.empty((2, 2)))
    three_products.call(place, put(np.full((2, 3), 1 + 2**-40)), put(np.ones((3, 2))))()
    np.testing.assert_array_equal(np.asarray(place), 3 * (1 + 2**-40))
    assert three_products.call(ONES, ONES.astype("float32"), ONES) is None


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_the_kernel_of_three_products_compiles_for_gpus(architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    inputs, outputs, body, name = (text.replace("float32 ", "float &") for text in cublas_3xtf32.SPLIT)
    text = f"{cublas_3xtf32.PREAMBLE} __device__ void {name}({inputs}, {outputs}) {{ {body} }}"
    program = nvrtc.createProgram(text, "split.cu", (), ())
    nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{architecture}",))
    assert nvrtc.getCUBIN(program)


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
