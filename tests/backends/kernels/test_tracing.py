"""Kernels traced to CUDA C.  The same text is compiled for GPUs, run on the host by g++, and by CuPy where it can."""

import ctypes
from functools import partial
import math
import re
import shutil
import subprocess

import numpy as np
import pytest

from xpdl import adam, adamw, momentum, rmsprop, schedules, sgd
from xpdl.activations import ACTIVATIONS
from xpdl.arrays import is_complex, namespace
from xpdl.backends import backend
from xpdl.backends.kernels import tracing

C_TYPES = {"float32": "float", "float64": "double"}


def steps(optimizer):
    """Five steps: theta and the slots.  The rates are 0-d arrays or numbers."""

    def run(fuse, asarray):
        draw = np.random.default_rng(0).normal
        theta = asarray(draw(size=1000))
        state, update = optimizer.init(theta), optimizer.fused(fuse)
        for _ in range(5):
            theta, state = update(theta, asarray(draw(size=1000)), state)
        return theta, *state[1:]

    return run


def values(function, *arguments):
    """The function as a kernel that changes one more vector to the function's values."""

    def kernel(result, *arguments):
        value = function(*arguments)
        result *= 0.0
        result += value
        return (result,)

    def run(fuse, asarray):
        given = [a if isinstance(a, float) else asarray(np.asarray(a)) for a in arguments]
        return fuse(kernel)(asarray(np.ones(len(arguments[0]))), *given)

    return run


def tabulated(name):
    """A function of the table as one of vectors; truth as a number."""

    def function(x, *others):
        xp = namespace(x)
        return xp.astype(getattr(xp, name)(x, *others), x.dtype)

    return function


def operators(x, y, z):
    """Every arithmetic operator, plain, reflected and augmented; NumPy's scalars among the numbers."""
    u = (1 - x) * 2.5 + (3.0 / y - z) / (0.25 + x)
    u += 1
    u *= y
    u -= 0.1
    u /= 3
    u **= 2
    return -u + abs(z) ** 1.5 + 2.0**z + np.float64(0.3) * x + np.float32(0.5) * y


def comparisons(x, y):
    """Every comparison, as the bits of a number."""
    xp = namespace(x)
    tests = (x < y, x <= 0.5, x > y, x >= y, x == y, x != y, (x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0))
    return sum(2**i * xp.astype(test, x.dtype) for i, test in enumerate(tests))


def order(x, y):
    """A temporary keeps the value of its time; a second name is the same vector."""
    before, same = x + 0.0, x
    x += y
    after = x * 1.0
    same *= 3.0
    return before + 10 * after + 100 * x + 1000 * same


def numbers(x, rate, number):
    """0-d arrays and numbers take part, and can be reused as names."""
    rate = rate + number
    rate *= 2.0
    number += 1.0
    return x * rate + number


LINE = np.linspace(0.05, 5, 1000)
AROUND = np.concatenate([[0.0, 1e-30, -1e-30, 30.0, -30.0], np.linspace(-6, 6, 1000)])
PAIRS = [1.0, 2.0, math.nan, 1.0, -math.inf, 0.0], [2.0, 1.0, 1.0, math.nan, 0.0, 0.0]
POINTS = {"maximum": PAIRS, "minimum": PAIRS, "isfinite": PAIRS[:1], "isnan": PAIRS[:1], "pow": (LINE, LINE[::-1] - 2)}

OPTIMIZERS = {
    "sgd": sgd(0.1),
    "sgd cosine": sgd(schedules.cosine(0.1, 4)),
    "momentum": momentum(0.1),
    "momentum average": momentum(schedules.inverse_time(0.1), beta=0.8, average=True),
    "momentum nesterov": momentum(schedules.step(0.1, every=2), nesterov=True),
    "rmsprop": rmsprop(0.01),
    "rmsprop root": rmsprop(schedules.exponential(0.01, 0.9), eps=0.0, eps_root=1e-8),
    "adam": adam(),
    "adam root": adam(schedules.warmup(schedules.inverse_sqrt(0.01), 3), eps=0.0, eps_root=1e-8),
    "adamw": adamw(),
    "adamw root": adamw(schedules.cosine(0.01, 100), eps_root=1e-6, weight_decay=0.1),
}
SCHEDULES = {
    "exponential": schedules.exponential(0.1, 0.9, every=3),
    "inverse_time": schedules.inverse_time(0.1),
    "inverse_sqrt": schedules.inverse_sqrt(0.1),
    "step": schedules.step(0.1, every=3),
    "cosine": schedules.cosine(0.1, 50),
    "warmup": schedules.warmup(schedules.constant(0.1), 5),
}
CASES = {
    **{name: steps(optimizer) for name, optimizer in OPTIMIZERS.items()},
    **{f"{name} forward": values(f.forward, AROUND) for name, f in ACTIVATIONS.items()},
    **{
        f"{name} backward": values(lambda da, z, f=f: f.backward(da, z, f.forward(z)), np.cos(AROUND), AROUND)
        for name, f in ACTIVATIONS.items()
    },
    **{f"{name} in place": values(lambda x, t, f=f: f(t) * x, LINE, np.asarray(9)) for name, f in SCHEDULES.items()},
    **{name: values(tabulated(name), *POINTS.get(name, [LINE])) for name in tracing.FUNCTIONS if name != "where"},
    "where": values(lambda x, y: namespace(x).where(x > y, x, 0.5), LINE, LINE[::-1]),
    "infinite": values(lambda x: namespace(x).where(x < 2, -math.inf, math.inf), LINE),
    "nan": values(lambda x: namespace(x).where(x < 2, math.nan, x), LINE),
    "real": values(lambda x: x if is_complex(x) else 2 * x, LINE),
    "operators": values(operators, LINE, LINE[::-1], np.sin(LINE)),
    "comparisons": values(comparisons, [0.1, 0.5, -1.0, math.nan], [0.1, 0.7, -2.0, 0.0]),
    "order": values(order, LINE, LINE[::-1]),
    "numbers": values(numbers, LINE, np.asarray(0.3), 0.7),
}

KERNEL = """
extern "C" __global__ void kernel{number}(long long size{parameters}) {{
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
static struct { unsigned x; } blockIdx{0}, threadIdx{0}, blockDim{1}, gridDim{1};
"""


def whole(number, inputs, outputs, body):
    """What CuPy puts around a body: inputs are constant, and an argument of one entry has the stride 0."""
    x = dict.fromkeys(re.findall(r"\d+", inputs), "const T") | dict.fromkeys(re.findall(r"\d+", outputs), "T")
    parameters = "".join(f", T *p{n}, long long s{n}" for n in x)
    references = "".join(f"{kind} &x{n} = p{n}[i * s{n}]; " for n, kind in x.items())
    return KERNEL.format(number=number, parameters=parameters, references=references, body=body)


@pytest.fixture(scope="module")
def kernels():
    """The numbers of the kernels of all cases, by inputs, outputs and body."""
    found = {}

    def compiler(inputs, outputs, body, name):
        found.setdefault((inputs, outputs, body), len(found))
        return lambda *arguments: None

    for run in CASES.values():
        run(partial(tracing.fuse, compiler), np.array)
    return found


@pytest.fixture(scope="module")
def texts(kernels):
    """All kernels in one text, for each dtype."""
    everything = "".join(whole(number, *kernel) for kernel, number in kernels.items())
    return {dtype: f"typedef {c} T;\n{everything}" for dtype, c in C_TYPES.items()}


@pytest.fixture(scope="module")
def libraries(texts, tmp_path_factory):
    """All kernels compiled for the host, for each dtype."""
    if shutil.which("g++") is None:
        pytest.skip("running CUDA C on the host needs g++")
    folder = tmp_path_factory.mktemp("kernels")
    for dtype, text in texts.items():
        (folder / f"{dtype}.cpp").write_text(HOST + text)
        options = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", f"{dtype}.so"]
        subprocess.run(["g++", *options, f"{dtype}.cpp"], check=True, cwd=folder)
    return {dtype: ctypes.CDLL(folder / f"{dtype}.so") for dtype in texts}


class Host:
    """``fuse`` by g++, ``asarray`` by NumPy."""

    tolerance = 16

    def __init__(self, kernels, library, dtype):
        self.kernels, self.library = kernels, library
        self.fuse, self.asarray = partial(tracing.fuse, self.compiler), partial(np.array, dtype=dtype)

    def compiler(self, inputs, outputs, body, name):
        function = self.library[f"kernel{self.kernels[inputs, outputs, body]}"]

        def launch(*arguments):
            arrays = [a if isinstance(a, np.ndarray) else self.asarray(a) for a in arguments]
            words = [word for a in arrays for word in (a.ctypes.data, a.ndim)]
            function(*map(ctypes.c_longlong, [arrays[-1].size, *words]))

        return launch


class Gpu:
    """``fuse`` and ``asarray`` by CuPy, with its own tanh and with a * b + c rounded once."""

    tolerance = 64

    def __init__(self, dtype):
        chosen = backend("cupy")
        self.fuse, self.asarray = chosen.fuse, partial(chosen.asarray, dtype=dtype, copy=True)


@pytest.fixture(params=["g++", "cupy"])
def machine(request):
    """(dtype) -> what has ``fuse`` and ``asarray``."""
    if request.param == "g++":
        kernels, libraries = map(request.getfixturevalue, ("kernels", "libraries"))
        return lambda dtype: Host(kernels, libraries[dtype], dtype)
    try:
        backend("cupy")
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    return Gpu


def error(actual, expected):
    """The largest error, in units in the last place of the largest value; values that are not finite must agree."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    a, e = actual[finite], expected[finite]
    return np.max(np.abs(a - e), initial=0) / np.spacing(np.max(np.abs(e), initial=1))


@pytest.mark.parametrize("dtype", C_TYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_fused_kernel_gives_the_numbers_of_the_kernel(machine, name, dtype):
    run, device = CASES[name], machine(dtype)
    expected = run(lambda kernel: kernel, partial(np.array, dtype=dtype))
    actual = [backend("numpy").asarray(a) for a in run(device.fuse, device.asarray)]
    assert [a.dtype for a in actual] == [e.dtype for e in expected] == [dtype] * len(expected)
    assert max(map(error, actual, expected)) <= device.tolerance
    if name in OPTIMIZERS and isinstance(device, Host):
        np.testing.assert_array_equal(actual, expected, err_msg="operators and roots are exact to the last bit")


@pytest.mark.parametrize("dtype", C_TYPES)
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_every_kernel_compiles_for_gpus_and_stays_in_registers(kernels, texts, dtype, architecture):
    nvrtc = pytest.importorskip("cupy.cuda", reason="compiling for GPUs needs CuPy").nvrtc
    if architecture not in nvrtc.getSupportedArchs():
        pytest.skip(f"NVRTC does not know sm_{architecture}")
    program = nvrtc.createProgram(texts[dtype], "kernels.cu", (), ())
    nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"))
    assert nvrtc.getCUBIN(program)
    report = nvrtc.getProgramLog(program)
    assert report.count("Compiling entry function") == len(kernels)
    assert set(re.findall(r"(\d+) bytes spill", report)) == {"0"}


class Vector:
    """All that ``fuse`` looks at."""

    ndim = 1


def recorder():
    """A compiler that keeps what it and its launches are given."""
    calls = []

    def compiler(*texts):
        calls.append(texts)
        return lambda *arguments: calls.append(arguments)

    return calls, compiler


def test_arguments_that_change_come_last_and_results_in_the_order_of_the_kernel():
    """What is stored is what has changed, returned or not; and a number changes in the kernel only."""

    def kernel(a, rate, b, c):
        c += rate * b
        a -= c
        rate *= 2
        return c, b

    calls, compiler = recorder()
    a, b, c = Vector(), Vector(), Vector()
    assert tracing.fuse(compiler, kernel)(a, 0.1, b, c) == (c, b)
    [(inputs, outputs, body, name), launched] = calls
    assert (inputs, outputs) == ("T x1, T x2", "T x0, T x3")
    assert launched == (0.1, b, a, c)
    assert name.isidentifier()
    assert body.splitlines() == [
        "const T t0 = x1 * x2;",
        "const T t1 = x3 + t0;",
        "const T t2 = x0 - t1;",
        "const T t3 = x1 * T(2.0);",
        "x0 = t2;",
        "x3 = t1;",
    ]


def test_a_kernel_is_traced_again_only_for_another_mix_of_vectors_and_numbers():
    def kernel(x, y):
        x += y
        return (x,)

    calls, compiler = recorder()
    fused = tracing.fuse(compiler, kernel)
    for y in (0.1, 0.2, Vector(), np.float32(0.3), Vector()):
        fused(Vector(), y)
    assert len(calls) == 2 + 5


def branch(x, rate):
    if x > 0:
        x += 1
    return (x,)


def new(x, rate):
    return (x + rate,)


def number(x, rate):
    rate *= 2
    return x, rate


ONES = np.ones(3)
IMPOSSIBLE = {
    "sum": lambda x, rate: namespace(x).sum(x),
    "zeros_like": lambda x, rate: namespace(x).zeros_like(x),
    "float32": lambda x, rate: namespace(x).astype(x, namespace(x).float32),
    "astype to 'int'": lambda x, rate: namespace(x).astype(x, "int"),
    "shape": lambda x, rate: x.shape,
    "device": lambda x, rate: x.device,
    "subscriptable": lambda x, rate: x[0],
    r"float\(\)": lambda x, rate: float(rate),
    "real number": lambda x, rate: math.sqrt(x),
    r"len\(\)": lambda x, rate: len(x),
    "@": lambda x, rate: x @ x,
    "%": lambda x, rate: x % 2,
    "ufuncs": lambda x, rate: np.sqrt(x),
    "ndarray": lambda x, rate: ONES * x,
    "complex": lambda x, rate: x * 1j,
    "branch on a value: use where": branch,
    "not iterable": lambda x, rate: x,
    "must return vectors it was given": new,
    "must return vectors it was given, changed": number,
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_what_is_not_entry_by_entry_is_named(message):
    with pytest.raises(TypeError, match=message) as caught:
        tracing.fuse(None, IMPOSSIBLE[message])(Vector(), 0.1)
    assert IMPOSSIBLE[message].__name__ in str(caught.value)
