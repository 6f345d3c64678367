"""The table of elementwise operations: each row in C and in CUDA C against NumPy, and what the table does not know.

g++ compiles the CUDA C for the host, NVRTC for GPUs; each kernel runs inside a recorded step.
"""

import ctypes
from functools import partial
import math
import re
import shutil
import subprocess

import numpy as np
from pretend_cupy import elementwise
import pytest

import xpdl
from xpdl import schedules
from xpdl.activations import ACTIVATIONS
from xpdl.arrays import is_complex, namespace
from xpdl.backends.kernels import operations
from xpdl.backends.kernels.c_compiler import EXACT, Kernel, compiler
from xpdl.backends.kernels.fusion import Fusion
from xpdl.backends.kernels.operations import OPERATIONS, PREAMBLE, TRUTH
from xpdl.backends.numpy_replay import INEXACT, TARGET
from xpdl.backends.replay.recorder import OPERATORS, REFLECTED
from xpdl.backends.replay.replayed import Replayed

DTYPES = ["float32", "float64"]
IN_C = [name for name, row in OPERATIONS.items() if row.text]


def values(function, *arguments):
    """A step that changes a vector to the values of the function: (result, *arguments)."""

    def step(result, *arguments):
        value = function(*arguments)
        result *= 0.0
        result += value
        return result

    return step, arguments


def tabulated(name):
    """A function of the table as a function of vectors; truth as a number."""

    def function(x, *others):
        xp = namespace(x)
        operands = [y > 0 for y in (x, *others)] if name in ("bitwise_and", "bitwise_or", "invert") else [x, *others]
        operands[0] = operands[0] > 0 if name == "where" else operands[0]
        return xp.astype(getattr(xp, name)(*operands), x.dtype) + 0 * x

    return function


def operators(x, y, z):
    """Every arithmetic operator, plain, reflected and augmented; NumPy's scalars among the numbers."""
    u = (1 - x) * 2.5 + (3.0 / y - z) / (0.25 + x)
    u += 1
    u *= y
    u -= 0.1
    u /= 3
    u **= 2
    return -u + abs(z) ** 1.5 + 2.0**z + 0.3 * x + 0.5 * y


def comparisons(x, y):
    """Every comparison, as the bits of a number."""
    xp = namespace(x)
    tests = (x < y, x <= 0.5, x > y, x >= y, x == y, x != y, (x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0))
    return sum(2**i * xp.astype(test, x.dtype) for i, test in enumerate(tests))


def order(x, y):
    """A temporary keeps the value of its time; a second name is the same vector."""
    before, same = x + 0.0, x * 1.0
    x = same
    x += y
    after = x * 1.0
    same *= 3.0
    return before + 10 * after + 100 * x + 1000 * same


def numbers(x, rate):
    """0-d arrays and numbers take part."""
    rate = rate + 0.7
    rate *= 2.0
    return x * rate + 1.7


LINE = np.linspace(0.05, 5, 1000)
AROUND = np.concatenate([[0.0, 1e-30, -1e-30, 30.0, -30.0], np.linspace(-6, 6, 1000)])
NAN = [1.0, 2.0, math.nan, 1.0, -math.inf, 0.0, -0.0], [2.0, 1.0, 1.0, math.nan, 0.0, 0.0, 0.0]
POINTS = {
    **dict.fromkeys(["maximum", "minimum"], (NAN[0][:-1], NAN[1][:-1])),  # of -0 and 0 NumPy's loops take one or other
    **dict.fromkeys(["isfinite", "isnan", "sign", "absolute", "negative"], NAN[:1]),
    "power": (LINE, LINE[::-1] - 2),
    "where": (np.sin(7 * LINE), LINE, LINE[::-1]),
    **dict.fromkeys(["bitwise_and", "bitwise_or"], (np.sin(7 * LINE), np.cos(5 * LINE))),
    "invert": (np.sin(7 * LINE),),
}


def points(name):
    """Arguments for an operation of the table."""
    return POINTS.get(name, [LINE, LINE[::-1]][: OPERATIONS[name].operands])


SCHEDULES = {
    "exponential": schedules.exponential(0.1, 0.9, every=3),
    "inverse_time": schedules.inverse_time(0.1),
    "inverse_sqrt": schedules.inverse_sqrt(0.1),
    "step": schedules.step(0.1, every=3),
    "cosine": schedules.cosine(0.1, 50),
    "warmup": schedules.warmup(schedules.constant(0.1), 5),
}
CASES = {
    **{name: values(tabulated(name), *points(name)) for name in IN_C},
    **{f"{name} forward": values(f.forward, AROUND) for name, f in ACTIVATIONS.items()},
    **{
        f"{name} backward": values(lambda da, z, f=f: f.backward(da, z, f.forward(z)), np.cos(AROUND), AROUND)
        for name, f in ACTIVATIONS.items()
    },
    **{f"{name} in place": values(lambda x, t, f=f: f(t) * x, LINE, np.asarray(9.0)) for name, f in SCHEDULES.items()},
    "where a number": values(lambda x, y: namespace(x).where(x > y, x, 0.5), LINE, LINE[::-1]),
    "real": values(lambda x: x if is_complex(x) else 2 * x, LINE),
    "operators": values(operators, LINE, LINE[::-1], np.sin(LINE)),
    "comparisons": values(comparisons, [0.1, 0.5, -1.0, math.nan], [0.1, 0.7, -2.0, 0.0]),
    "order": values(order, LINE, LINE[::-1]),
    "numbers": values(numbers, LINE, np.asarray(0.3)),
}


def run(step, arguments, dtype, wrap=lambda step: step, times=3):
    """The last result of some steps, and the wrapped step."""
    arguments, wrapped = [np.array(x, dtype) for x in arguments], wrap(step)
    result = np.ones(max(x.size for x in arguments), dtype)
    with np.errstate(all="ignore"):
        for _ in range(times):
            result = wrapped(result, *arguments)
    return result.copy(), wrapped


def fused(step, compiler=elementwise):
    """The step with groups of operations, by a compiler of kernels in CUDA C."""
    return Replayed(TARGET._replace(fusion=Fusion(TARGET.library, compiler)), step)


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


def whole(number, inputs, outputs, body):
    """What CuPy puts around a body: inputs are constant, and an argument of one entry has the stride 0."""
    kinds = [f"const {x}" for x in inputs.split(", ") if x] + outputs.split(", ")
    named = [kind.rpartition(" ")[::2] for kind in kinds]
    parameters = ", ".join(f"{kind} *p{name}, long long s{name}" for kind, name in named)
    references = " ".join(f"{kind} &{name} = p{name}[i * s{name}];" for kind, name in named)
    return KERNEL.format(number=number, parameters=parameters, references=references, body=body)


@pytest.fixture(scope="module")
def kernels():
    """All kernels of the cases: their inputs, outputs and body, and their numbers."""
    found = {}

    def compiler(inputs, outputs, body, name, **options):
        found.setdefault((inputs, outputs, body), len(found))
        return lambda *arrays: None

    for case in CASES.values():
        for dtype in DTYPES:
            run(*case, dtype, partial(fused, compiler=compiler), times=2)
    return found


@pytest.fixture(scope="module")
def text(kernels):
    """All kernels in one text."""
    return PREAMBLE + "".join(whole(number, *kernel) for kernel, number in kernels.items())


@pytest.fixture(scope="module")
def library(text, tmp_path_factory):
    """All kernels compiled for the host."""
    if shutil.which("g++") is None:
        pytest.skip("running CUDA C on the host needs g++")
    folder = tmp_path_factory.mktemp("operations")
    (folder / "all.cpp").write_text(HOST + text)
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-o", "all.so"]
    subprocess.run(["g++", *options, "all.cpp"], check=True, cwd=folder)
    return ctypes.CDLL(folder / "all.so")


def by_gpp(kernels, library, inputs, outputs, body, name, **options):
    """``cupy.ElementwiseKernel`` by g++."""

    def launch(*arrays):
        words = [word for a in arrays for word in (a.ctypes.data, int(a.ndim > 0))]
        library[f"kernel{kernels[inputs, outputs, body]}"](*map(ctypes.c_longlong, [arrays[-1].size, *words]))

    return launch


def error(actual, expected):
    """The largest error, in units in the last place of the largest value; values that are not finite must agree."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    a, e = actual[finite], expected[finite]
    return np.max(np.abs(a - e), initial=0) / np.spacing(np.max(np.abs(e), initial=1))


def is_one_kernel(step):
    """Whether all operations on vectors became one kernel."""
    [plan] = step.runs.values()
    return sum(operation.results[0].ndim > 0 for operation in plan.record) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_in_cuda_c_gives_the_numbers_of_numpy(kernels, library, name, dtype):
    expected, _ = run(*CASES[name], dtype)
    actual, step = run(*CASES[name], dtype, partial(fused, compiler=partial(by_gpp, kernels, library)))
    assert actual.dtype == expected.dtype == dtype
    assert error(actual, expected) <= 16
    assert is_one_kernel(step)
    if name in OPERATIONS and OPERATIONS[name].exact:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_the_text_of_a_kernel_means_the_same_in_python(name, dtype):
    """Therefore the pretend CuPy of other tests can run kernels."""
    expected, _ = run(*CASES[name], dtype)
    np.testing.assert_array_equal(run(*CASES[name], dtype, fused)[0], expected)


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_every_kernel_compiles_for_gpus_and_stays_in_registers(kernels, text, architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC does not know sm_{architecture}")
    program = nvrtc.createProgram(text, "operations.cu", (), ())
    options = (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *operations.OPTIONS)
    nvrtc.compileProgram(program, options)
    assert nvrtc.getCUBIN(program)
    report = nvrtc.getProgramLog(program)
    assert report.count("Compiling entry function") == len(kernels)
    assert set(re.findall(r"(\d+) bytes spill", report)) == {"0"}


# C on the host


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in IN_C if OPERATIONS[name].exact])
def test_an_exact_operation_has_the_bits_of_numpy_in_c(name, dtype):
    row, truth = OPERATIONS[name], name in ("bitwise_and", "bitwise_or", "invert")
    operands = [np.array(x, dtype) for x in points(name)]
    operands = [x > 0 for x in operands] if truth else operands
    operands[0] = np.array(operands[0] > 0, dtype) if name == "where" else operands[0]
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*operands)
    inputs = ", ".join(f"{x.dtype} x{i}" for i, x in enumerate(operands))
    text = row.text.format(*(f"x{i}" for i in range(len(operands))))
    actual = np.empty_like(expected)
    Kernel(inputs, f"{expected.dtype} y0", f"y0 = {text};", "test")(*operands, actual)
    assert expected.dtype.name in row.dtypes
    np.testing.assert_array_equal(actual, expected)
    assert np.array_equal(np.signbit(actual), np.signbit(expected)) or row.dtypes == TRUTH


@pytest.mark.parametrize("name", [name for name in IN_C if not OPERATIONS[name].exact])
def test_an_operation_that_is_not_exact_is_refused_in_c(name):
    row = OPERATIONS[name]
    body = f"y0 = {row.text.format(*['x0'] * row.operands)};"
    with pytest.raises(TypeError, match="no exact kernel"):
        Kernel("float64 x0", "float64 y0", body, "test")
    assert getattr(np, name) in INEXACT


def test_exact_kernels_may_call_only_what_the_table_calls_exact():
    assert {"sqrt", "maximum", "isfinite", "float32"} <= EXACT
    assert EXACT.isdisjoint({"exp", "tanh", "pow"})


# Python's operators


def test_operators_are_those_of_python():
    import operator

    for name, function in OPERATORS.items():
        python = getattr(operator, f"__{name}__")
        operands = (np.array([True, False]),) * 2 if name in ("and", "or", "invert") else (np.array([[2.0]]),) * 2
        operands = operands[:1] if name in ("neg", "abs", "invert") else operands
        np.testing.assert_array_equal(python(*operands), getattr(np, function)(*operands))
    assert {"add", "matmul", "pow", "and"} <= REFLECTED
    assert REFLECTED.isdisjoint({"lt", "eq", "neg", "invert"})


# What the table does not know


def lion(x, m):
    """The step of an optimizer (Chen et al. 2023): the sign of an average."""
    return 0.1 * namespace(x).sign(0.9 * m + 0.1 * x)


def test_sign_is_one_of_the_operations_of_a_kernel():
    step, arguments = values(lion, np.sin(7 * LINE), np.cos(5 * LINE))
    expected, _ = run(step, arguments, "float32")
    actual, replayed = run(step, arguments, "float32", fused)
    assert is_one_kernel(replayed)
    np.testing.assert_array_equal(actual, expected)


def test_an_unknown_operation_stays_a_call_of_the_library(monkeypatch):
    """It is never an error."""
    monkeypatch.delitem(OPERATIONS, "square")
    step, arguments = values(lambda x: 2 * namespace(x).square(x + 1), LINE)
    expected, _ = run(step, arguments, "float32")
    actual, replayed = run(step, arguments, "float32", fused)
    [plan] = replayed.runs.values()
    assert np.square in [operation.function for operation in plan.record]
    np.testing.assert_array_equal(actual, expected)


ONES = np.ones(1000)
OTHERS = {
    "a sum": lambda x, rate: x * namespace(x).sum(x) + rate,
    "zeros": lambda x, rate: namespace(x).zeros_like(x) + x * rate,
    "another dtype": lambda x, rate: namespace(x).astype(x, namespace(x).int64) * rate,
    "an entry": lambda x, rate: x * x[0:1] + rate,
    "a remainder": lambda x, rate: x % 2 * rate,
    "a whole quotient": lambda x, rate: x // 2 * rate,
    "a constant vector": lambda x, rate: ONES * x + rate,
    "a number that is not finite": lambda x, rate: namespace(x).where(x < 2, -math.inf, x * rate),
    "a function of numpy": lambda x, rate: np.cbrt(x) * rate,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_in_a_kernel_stands_beside_it(name):
    step, arguments = values(OTHERS[name], LINE, np.asarray(0.3))
    expected, _ = run(step, arguments, "float64")
    actual, replayed = run(step, arguments, "float64", fused)
    assert hasattr(next(iter(replayed.runs.values())), "record")
    np.testing.assert_array_equal(actual, expected)


def test_a_backend_in_c_gives_the_same_numbers_with_unknown_operations():
    """The vectors are long, and the optimizer's state is consumed, as in a training step on NumPy."""
    x = np.sin(np.arange(200_000.0))

    def step(state, grad):
        theta, m = state
        theta -= lion(grad, m)
        m += np.cbrt(grad)
        return theta, m

    compiled, expected, actual = (xpdl.backend("numpy").compile(step), *((x.copy(), x * 2) for _ in range(2)))
    for _ in range(4):
        expected, actual = step(expected, x), compiled(actual, x)
    assert all(map(np.array_equal, expected, actual))
