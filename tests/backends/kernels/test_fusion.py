"""Groups of elementwise operations as CUDA C: what joins what, and the same numbers as one by one.

The text of a kernel means the same in Python, which rounds as NumPy does; g++ compiles it, and NVRTC for GPUs.
"""

import ctypes
from functools import partial
import re
import shutil
import subprocess

import numpy as np
from pretend_cupy import elementwise
import pytest

import xpdl
from xpdl import Network, schedules
from xpdl.activations import ACTIVATIONS
from xpdl.arrays import namespace
from xpdl.backends.kernels import fusion
from xpdl.backends.kernels.fusion import Fusion
from xpdl.backends.numpy_replay import TARGET
from xpdl.backends.replay.plan import Plan
from xpdl.backends.replay.replayed import Replayed
from xpdl.backends.replay.target import unfused
from xpdl.files.train_state import Carry
from xpdl.optimizers import OPTIMIZERS
from xpdl.pytree import flatten
from xpdl.training.step import Data, make_step

C_TYPES = {"bool": "bool", "uint8": "unsigned char", "int32": "int", "int64": "long long"}
C_TYPES |= {"float32": "float", "float64": "double"}
KERNEL = """
extern "C" __global__ void kernel{number}(long long size, {parameters}) {{
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {{
        {references}
        {body}
    }}
}}
"""
HOST = """
#include <cmath>
using namespace std;
#define __global__
#define __device__
static struct { unsigned x; } blockIdx{0}, threadIdx{0}, blockDim{1}, gridDim{1};
"""


def replayed(step, compiler=elementwise):
    """The step with groups of operations, by a compiler."""
    return Replayed(TARGET._replace(fusion=Fusion(TARGET.library, compiler)), step)


def launches(step):
    """The number of calls of the step's plan, without those that copy nothing."""
    [plan] = step.runs.values()
    assert isinstance(plan, Plan)
    return len(
        [call for number, call in plan.calls.items() if plan.record[number].function is not TARGET.library.xp.concat]
    )


def train_by(wrap, net, optimizer, dtype="float32", steps=6):
    """theta, the state and the counters after some steps, and the step."""
    rng = np.random.default_rng(0)
    n, d, k = 16, net.sizes[0], net.sizes[-1]
    x = rng.integers(0, 256, (n, d)).astype(np.uint8)
    y = net.targets(np.zeros(1, dtype), x, np.eye(k, dtype=dtype)[rng.integers(0, k, n)])
    masks = [(rng.random((8, units)) > 0.5).astype(dtype) for units in net.sizes[1:-1]]
    theta = net.initialize(0, dtype)
    step = wrap(make_step(net, optimizer.update))
    run = Carry(theta, optimizer.init(theta), *(np.zeros((), t) for t in ("int32", dtype, "int32")))
    data = Data(x, y, rng.permutation(n).astype(np.int32), np.arange(8, dtype=np.int32))
    for _ in range(steps):
        run = step(run, data, masks)
    return [np.array(leaf) for leaf in flatten(run)], step


RATES = schedules.warmup(schedules.cosine(0.1, 9), 3)
IMAGES = xpdl.Scaling.images
CASES = {
    **{name: (Network([6, 5, 4, 3], hidden=name, l2=0.1, inputs=IMAGES), xpdl.adam(1e-2)) for name in ACTIVATIONS},
    **{name: (Network([6, 3], output="sigmoid", inputs=IMAGES), make(RATES)) for name, make in OPTIMIZERS.items()},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_in_groups_gives_the_same_bits(name, dtype):
    expected, step = train_by(partial(Replayed, TARGET), *CASES[name], dtype)
    actual, fused = train_by(replayed, *CASES[name], dtype)
    assert launches(fused) < launches(step)
    assert all(np.array_equal(a, b) for a, b in zip(expected, actual, strict=True))


@pytest.fixture(scope="module")
def kernels():
    """All kernels of the cases: their inputs, outputs and body, and their numbers."""
    found = {}

    def compiler(inputs, outputs, body, name, *, preamble, options):
        assert (preamble, options) == (fusion.PREAMBLE, ("--fmad=false",))
        found.setdefault((inputs, outputs, body), len(found))
        return lambda *arrays: None

    for net, optimizer in CASES.values():
        for dtype in ("float32", "float64"):
            train_by(partial(replayed, compiler=compiler), net, optimizer, dtype, steps=2)
    return found


@pytest.fixture(scope="module")
def text(kernels):
    """All kernels in one text."""
    return fusion.PREAMBLE + "".join(whole(number, *kernel) for kernel, number in kernels.items())


def whole(number, inputs, outputs, body):
    """What CuPy puts around a body."""
    kinds = [f"const {x.removeprefix('raw ')}" for x in inputs.split(", ") if x] + outputs.split(", ")
    named = [kind.rpartition(" ")[::2] for kind in kinds]
    parameters = ", ".join(f"{kind} *{'p' * (name[0] != 'a')}{name}" for kind, name in named)
    references = " ".join(f"{kind} &{name} = p{name}[i];" for kind, name in named if name[0] != "a")
    return KERNEL.format(number=number, parameters=parameters, references=references, body=body)


@pytest.fixture(scope="module")
def library(text, tmp_path_factory):
    """All kernels compiled for the host."""
    if shutil.which("g++") is None:
        pytest.skip("running CUDA C on the host needs g++")
    folder = tmp_path_factory.mktemp("groups")
    (folder / "groups.cpp").write_text(HOST + text)
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", "groups.so"]
    subprocess.run(["g++", *options, "groups.cpp"], check=True, cwd=folder)
    return ctypes.CDLL(folder / "groups.so")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_compiled_for_the_host_give_the_same_numbers(kernels, library, name, dtype):
    def compiler(inputs, outputs, body, name, **options):
        function, stored = library[f"kernel{kernels[inputs, outputs, body]}"], outputs.count(",") + 1

        def launch(*arrays):
            shape, kinds = arrays[-1].shape, [*inputs.split(", "), *outputs.split(", ")]
            own = [not kind.startswith("raw") for kind in kinds if kind]
            entries = [
                np.array(np.broadcast_to(x, shape if one else x.shape), order="C")
                for x, one in zip(arrays, own, strict=True)
            ]
            function(ctypes.c_longlong(entries[-1].size), *(ctypes.c_void_p(x.ctypes.data) for x in entries))
            for x, result in zip(arrays[-stored:], entries[-stored:], strict=True):
                np.copyto(x, result)

        return launch

    expected, _ = train_by(partial(Replayed, TARGET), *CASES[name], dtype)
    actual, _ = train_by(partial(replayed, compiler=compiler), *CASES[name], dtype)
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e3 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_every_kernel_compiles_for_gpus_and_stays_in_registers(kernels, text, architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC does not know sm_{architecture}")
    program = nvrtc.createProgram(text, "groups.cu", (), ())
    options = (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *fusion.OPTIONS)
    nvrtc.compileProgram(program, options)
    assert nvrtc.getCUBIN(program)
    report = nvrtc.getProgramLog(program)
    assert report.count("Compiling entry function") == len(kernels)
    assert set(re.findall(r"(\d+) bytes spill", report)) == {"0"}


# What joins what


def check(step, theta, *others, calls, runs=5):
    """The numbers are the same, and there are so many calls."""
    fused, expected, actual = replayed(step), theta.copy(), theta.copy()
    for _ in range(runs):
        expected, actual = step(expected, *others), fused(actual, *others)
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert launches(fused) == calls


SQUARE = np.arange(9.0).reshape(3, 3)


def test_a_run_is_one_kernel():
    def step(theta, x):
        theta += 0.5 * x
        theta *= -x
        return theta

    check(step, SQUARE, SQUARE - 4, calls=1)


def test_an_operation_joins_past_what_it_does_not_need():
    def step(theta, x):
        a = x * 2.0
        b = x @ x
        a += 1.0
        theta += a
        return theta + b

    check(step, SQUARE, SQUARE, calls=3)  # the last addition waits for the product


def test_an_operation_waits_for_a_product():
    def step(theta, x):
        theta += 1.0
        theta += theta @ x
        return theta

    check(step, SQUARE, SQUARE, calls=3)


def test_a_product_reads_before_it_is_overwritten():
    def step(theta, x):
        a = x * 2.0
        b = a @ x
        a += 1.0
        theta += a * b
        return theta

    check(step, SQUARE, SQUARE, calls=3, runs=3)


def test_entries_read_elsewhere_do_not_join():
    """They read the transpose of an array that the group writes, or the row of another entry."""

    def transposed(theta, x):
        theta += x
        theta += namespace(theta).matrix_transpose(theta) * 1.0
        return theta

    def row(theta, x):
        theta += x
        return theta * theta[0:1, :]

    check(transposed, SQUARE, SQUARE, calls=3, runs=3)
    check(row, SQUARE, SQUARE / 9, calls=2, runs=3)


def test_entries_overwritten_elsewhere_do_not_join():
    def step(theta, x):
        a = x * theta[0:1, :]
        theta += 1.0
        return theta + a

    check(step, SQUARE, SQUARE / 9, calls=2)


def test_another_shape_is_another_kernel():
    def step(theta, x):
        row = x[0, :] * 2.0
        row += 1.0
        theta += row
        theta += 1.0
        return theta

    check(step, SQUARE, SQUARE, calls=2)


def test_what_is_returned_or_used_later_is_stored():
    def step(state, x):
        a, b = state
        c = a * x
        d = c + 1.0
        a += d
        return c, a + namespace(x).sum(b)

    expected, actual, fused = (SQUARE.copy(),) * 2, (SQUARE.copy(), SQUARE.copy()), replayed(step)
    expected = tuple(x.copy() for x in expected)
    for _ in range(4):
        expected, actual = step(expected, SQUARE / 9), fused(actual, SQUARE / 9)
    assert all(map(np.array_equal, expected, actual))


def test_what_nobody_uses_is_not_done():
    def step(theta, x):
        a = x * 2.0
        a += 1.0
        theta += namespace(x).sum(x)
        return theta

    check(step, SQUARE, SQUARE, calls=2)


def test_dtypes_are_those_of_numpy():
    def step(theta, images, counts):
        xp = namespace(theta)
        fraction = counts / 3
        above = xp.astype(images > 100, theta.dtype) * 0.1
        theta += xp.astype(images, theta.dtype) * above + xp.astype(counts + counts, theta.dtype)
        theta -= xp.astype(fraction, theta.dtype)
        theta -= xp.maximum(theta, 0.0) * xp.astype(theta != theta, theta.dtype) - (1 - theta) * 2
        return theta

    images, counts = np.arange(9, dtype="uint8") * 25, np.arange(9, dtype="int32")
    check(step, np.ones(9, "float32"), images, counts, calls=1)


def test_nan_and_infinity_pass():
    def step(theta):
        xp = namespace(theta)
        return xp.maximum(theta, 0.0) + xp.minimum(theta, 1.0) * xp.astype(xp.isfinite(theta), theta.dtype)

    check(step, np.array([np.nan, np.inf, 1.0, -1.0]), calls=1, runs=3)


def test_a_usual_step_takes_half_as_many_launches():
    """The network is 784-256-128-10."""
    net, optimizer = Network([784, 256, 128, 10], inputs=xpdl.Scaling.images), xpdl.adam()
    theta = net.initialize(0)
    data = Data(
        np.ones((16, 784), "u1"),
        np.eye(10, dtype="f4")[[1] * 16],
        np.arange(64, dtype="i4") % 16,
        np.arange(16, dtype="i4"),
    )
    counted = []
    for wrap in (partial(Replayed, TARGET._replace(fusion=unfused)), replayed):
        run = Carry(theta.copy(), optimizer.init(theta), *(np.zeros((), t) for t in ("int32", "float32", "int32")))
        step = wrap(make_step(net, optimizer.update))
        for _ in range(3):
            run = step(run, data, None)
        counted.append(launches(step))
    assert counted == [75, 29]
