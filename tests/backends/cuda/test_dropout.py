"""Dropout masks by a CUDA kernel: on the host by g++, and by CuPy where it can, bit for bit those of NumPy."""

import ctypes
import itertools
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from xpdl.backends import backend
from xpdl.backends.cuda import dropout as cuda_dropout
from xpdl.randomness import dropout_bits, dropout_mask

HOST = """
#define __device__ static
#define __global__
struct Place { unsigned x; };
extern "C" { Place blockIdx, threadIdx, blockDim, gridDim; }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
"""


def compiler(folder):
    """``cupy.RawKernel`` by g++: one thread after the other."""

    def raw_kernel(text, name, options):
        path = folder / f"{name}{len(list(folder.iterdir()))}.so"
        path.with_suffix(".cpp").write_text(HOST + text)
        subprocess.run(["g++", "-O1", "-shared", "-fPIC", *options, "-o", path, path.with_suffix(".cpp")], check=True)
        library = ctypes.CDLL(path)
        place = {n: ctypes.c_uint.in_dll(library, n) for n in ("blockIdx", "threadIdx", "blockDim", "gridDim")}

        def launch(grid, block, arguments):
            words = [np.ctypeslib.as_ctypes_type(a.dtype)(a) if a.ndim == 0 else a.ctypes for a in arguments]
            place["gridDim"].value, place["blockDim"].value = grid[0], block[0]
            for place["blockIdx"].value, place["threadIdx"].value in itertools.product(range(*grid), range(*block)):
                library[name](*words)

        return launch

    return raw_kernel


@pytest.fixture(scope="module", params=["g++", "cupy"])
def library(request, tmp_path_factory):
    """What has ``empty`` and ``RawKernel``."""
    if request.param == "g++" and shutil.which("g++") is None:
        pytest.skip("running CUDA C on the host needs g++")
    if request.param == "g++":
        return SimpleNamespace(empty=np.empty, RawKernel=compiler(tmp_path_factory.mktemp("dropout")))
    try:
        return backend("cupy") and pytest.importorskip("cupy")
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))


ADDRESSES = [(0, 0, 0), (1, 0, 3), (2**32, 1, 0), (2**63 + 5, 10**6, 1), (2**64 - 1, 2**40, 2**33)]
SHAPES = [(1, 1), (1, 7), (8, 1), (3, 3), (2, 8), (31, 33), (64, 64), (0, 5)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("drop", [0.0, 1e-12, 0.1, 0.5, 0.9, 1 - 2.0**-33])
def test_masks_are_those_of_numpy_bit_for_bit(library, drop, dtype):
    for address, shape in itertools.product(ADDRESSES, SHAPES):
        mask = backend("numpy").asarray(cuda_dropout.dropout_mask(library, *address, shape, drop, dtype))
        expected = dropout_mask(*address, shape, drop, dtype)
        assert (mask.dtype, mask.shape) == (expected.dtype, shape)
        assert mask.tobytes() == expected.tobytes()


def test_a_word_is_compared_with_the_rounded_threshold(library):
    """The words are chosen: a random word is next to the threshold once in four billion entries."""
    for word, offset in itertools.product(dropout_bits(1, 2, 3, 20).tolist(), [-0.75, -0.25, 0.0, 0.25, 0.75]):
        address = (1, 2, 3, (4, 5), (word + offset) / 2**32, "float64")
        mask = backend("numpy").asarray(cuda_dropout.dropout_mask(library, *address))
        np.testing.assert_array_equal(mask, dropout_mask(*address))


def test_a_grid_smaller_than_the_mask_goes_round(library):
    def few_threads(*texts, **options):
        kernel = library.RawKernel(*texts, **options)
        return lambda grid, block, arguments: kernel((2,), (3,), arguments)

    small = SimpleNamespace(empty=library.empty, RawKernel=few_threads)
    mask = backend("numpy").asarray(cuda_dropout.dropout_mask(small, 7, 8, 9, (10, 51), 0.3, "float32"))
    np.testing.assert_array_equal(mask, dropout_mask(7, 8, 9, (10, 51), 0.3, "float32"))


def test_a_seed_out_of_range_is_refused(library):
    with pytest.raises(ValueError, match="seed must be in"):
        cuda_dropout.dropout_mask(library, 2**64, 0, 0, (2, 2), 0.5, "float32")


@pytest.mark.parametrize("c_type", ["float", "double"])
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_the_kernel_compiles_for_gpus_and_stays_in_registers(architecture, c_type):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC does not know sm_{architecture}")
    program = nvrtc.createProgram(cuda_dropout.TEXT, "cuda_dropout.cu", (), ())
    options = (f"--gpu-architecture=sm_{architecture}", f"-DENTRY={c_type}", "--ptxas-options=-v", "--std=c++14")
    nvrtc.compileProgram(program, options)
    assert nvrtc.getCUBIN(program)
    assert set(re.findall(r"(\d+) bytes (?:stack frame|spill)", nvrtc.getProgramLog(program))) == {"0"}
