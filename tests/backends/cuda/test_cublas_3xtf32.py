"""Three products in TF32: the parts of a number, the digits of float32, and the kernel that splits."""

import ctypes

import numpy as np
from pretend_cublas import PLACES, STORED, HostLibrary, put
import pytest

from xpdl.backends.cuda import cublas_3xtf32

ONES = put(np.ones((4, 4)))


class InTF32(HostLibrary):
    """As tensor cores may do it: they read 19 of a float's 32 bits."""

    computes = 77, 70  # CUBLAS_COMPUTE_32F_FAST_TF32

    def read(self, x):
        return (x.view("int32") & ~0x1FFF).view("float32") if x.dtype == "float32" else x


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
    """These are products of float64, and of arrays that cuBLAS cannot read."""
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
