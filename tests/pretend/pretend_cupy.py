"""A CuPy whose GPU is NumPy: what a capture writes down, and only that, happens at a launch.

As on a GPU a graph knows addresses and numbers, and keeps nothing alive: memory that nobody holds is overwritten at
once.  Nothing happens during a capture, what would wait for the device raises, and so do CuPy's own products.
"""

from contextlib import contextmanager
import ctypes
from functools import partial
from itertools import count
import re
from types import SimpleNamespace
import weakref

import numpy as np

from xpdl.backends.kernels.operations import OPERATIONS
from xpdl.backends.replay.recorder import OPERATORS, REFLECTED

# A GPU


class Memory:
    """Bytes of a device: overwritten when nobody holds them any more."""

    def __init__(self, size):
        self.bytes = np.full(size, 0xFF, "uint8")
        weakref.finalize(self, self.bytes.fill, 0xFF).atexit = False
        GPU.memory.add(self)


class Array:
    """``cupy.ndarray``."""

    device = "a GPU"

    def __init__(self, view, memory):
        self.values, self.memory = view, memory

    def __getattr__(self, name):
        if name not in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags"):
            raise AttributeError(name)
        return getattr(self.values, name)

    def __array_namespace__(self, *, api_version=None):
        return XP

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        return Array(self.values[key if ... in key else (*key, ...)], self.memory)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.values.ctypes.data)

    @property
    def T(self):  # noqa: N802
        return Array(self.values.T, self.memory)

    def reshape(self, *shape):
        view = self.values.reshape(*shape)
        return Array(view, self.memory) if np.may_share_memory(view, self.values) else put(view)

    def view(self, dtype):
        return Array(self.values.view(dtype), self.memory)

    def copy(self):
        copied = empty(self.shape, self.dtype)
        copyto(copied, self)
        return copied

    def astype(self, dtype, copy=True):
        if self.dtype == dtype and not copy:
            return self
        converted = empty(self.shape, dtype)
        copyto(converted, self, "unsafe")
        return converted

    def host(self):
        if GPU.current.capture is not None:
            raise RuntimeError("the current stream is capturing")
        return self.values.copy()

    def __float__(self):
        return float(self.host())

    def __repr__(self):
        return repr(self.host())

    __array_ufunc__ = None
    __hash__ = object.__hash__


class Capture:
    """What the streams of a capture write down: for each node what it does, in which memory, and after which others."""

    def __init__(self):
        self.nodes = []

    def add(self, function, memories, after):
        self.nodes.append((function, memories, frozenset(after)))
        return {len(self.nodes) - 1}


class Stream:
    """``cupy.cuda.Stream``; ``tail`` are the nodes of a capture that what comes next must wait for."""

    numbers = count(1)

    def __init__(self, non_blocking=False):
        self.non_blocking, self.capture, self.tail, self.ptr = non_blocking, None, set(), next(self.numbers)
        self.previous = []
        GPU.streams[self.ptr] = self

    def __enter__(self):
        self.previous.append(GPU.current)
        GPU.current = self
        return self

    def __exit__(self, *error):
        GPU.current = self.previous.pop()

    def begin_capture(self):
        assert self.non_blocking
        assert self.capture is None
        assert GPU.current is self
        self.capture, self.tail = Capture(), set()

    def end_capture(self):
        nodes = self.capture.nodes
        ends = set(range(len(nodes))).difference(*(after for *_, after in nodes))
        unjoined = ends - self.tail
        for stream in [stream for stream in GPU.streams.values() if stream.capture is self.capture]:
            stream.capture, stream.tail = None, set()
        if unjoined:
            raise RuntimeError("cudaErrorStreamCaptureUnjoined")
        GPU.captures.append(len(nodes))
        return Graph(nodes)

    def record(self):
        return SimpleNamespace(capture=self.capture, tail=set(self.tail))

    def wait_event(self, event):
        assert self.capture in (None, event.capture)
        self.capture, self.tail = event.capture, self.tail | event.tail

    def do(self, function, *operands):
        """Launch: function(*views of the operands), now or never but in a graph."""
        views = [x.values if isinstance(x, Array) else x for x in operands]
        if self.capture is None:
            GPU.launches.append(self)
            return function(*views)
        memories = [weakref.ref(x.memory) for x in operands if type(x) is Array]
        self.tail = self.capture.add(partial(function, *views), memories, self.tail)
        return None


class Graph:
    """``cupy.cuda.Graph``: nodes in an order that ``GPU.next`` chooses."""

    def __init__(self, nodes):
        self.nodes = nodes

    def launch(self):
        assert GPU.current.capture is None
        GPU.graphs.append(GPU.current)
        done, left = set(), set(range(len(self.nodes)))
        while left:
            number = GPU.next([k for k in sorted(left) if self.nodes[k][2] <= done])
            function, memories, _ = self.nodes[number]
            assert all(memory() is not None for memory in memories), "a graph uses memory that nobody holds"
            function()
            done.add(number)
            left.remove(number)


class Pool:
    """``cupy.cuda.MemoryPool``: what it has given is overwritten by others only when the pool is gone."""

    def __init__(self):
        self.kept = []

    def malloc(self, size):
        self.kept.append(Memory(size))
        return self.kept[-1]


class Gpu:
    """What there is one of."""

    def __init__(self):
        self.memory, self.streams, self.allocate = weakref.WeakSet(), {}, Memory
        self.launches, self.graphs, self.captures = [], [], []  # streams, streams, numbers of nodes
        self.next = min


GPU = Gpu()


@contextmanager
def using_allocator(malloc):
    GPU.allocate, previous = malloc, GPU.allocate
    yield
    GPU.allocate = previous


def start(raw_kernel):
    """A GPU on which nothing has run yet; ``raw_kernel`` compiles CUDA C for the host."""
    vars(GPU).update(vars(Gpu()))
    GPU.current = Stream()
    CuPy.RawKernel = staticmethod(partial(RawKernel, raw_kernel))


# CuPy


class Ufunc:
    """``cupy.ufunc``."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *operands, out=None):
        assert not any(isinstance(x, np.ndarray) for x in operands)
        *operands, out = operands if len(operands) > self.function.nin else (*operands, out)
        with np.errstate(all="ignore"):
            like = self.function(*(x.values if isinstance(x, Array) else x for x in operands))
        out = empty(like.shape, like.dtype) if out is None else out
        do(lambda y, *xs: np.copyto(y, self.function(*xs)), out, *operands)
        return out


class ElementwiseKernel:
    """``cupy.ElementwiseKernel``; operators and functions of the body mean the same in Python."""

    def __init__(self, inputs, outputs, body, name, preamble="", options=()):
        self.inputs, self.outputs = (re.findall(r"[axy]\d+", names) for names in (inputs, outputs))
        self.nout, self.body = len(self.outputs), re.sub(r"const \w+ |;", "", body)

    def __call__(self, *operands):
        results = operands[len(self.inputs) :]
        do(self.run, *operands, *results)

    def run(self, *operands):
        results, dtype = operands[-self.nout :], operands[-1].dtype.type
        entries = [x[()] if isinstance(x, np.ndarray) else dtype(x) for x in operands]
        variables = dict(zip([*self.inputs, *self.outputs], entries, strict=False))
        variables |= {name: x.ravel() for name, x in variables.items() if name[0] == "a"}
        i = np.arange(results[0].size).reshape(results[0].shape)
        exec(self.body, {**vars(np), "T": dtype, "inside": inside, "entry": entry, "i": i}, variables)
        for name, result in zip(self.outputs, results, strict=True):
            np.copyto(result, variables[name])


def inside(i, n):
    """That of the preamble."""
    return i % n


def entry(rows, i, d, n):
    """That of the preamble."""
    return rows[i // d] % n * d + i % d


def elementwise(inputs, outputs, body, name, **options):
    """``cupy.ElementwiseKernel`` for arrays of NumPy."""
    names, stored = (re.findall(r"[axy]\d+", texts) for texts in (f"{inputs}, {outputs}", outputs))
    text = re.sub(r"const \w+ |;", "", body)

    def launch(*arrays):
        values = {n: x.ravel() if n[0] == "a" else x[()] for n, x in zip(names, arrays, strict=True)}
        i = np.arange(arrays[-1].size).reshape(arrays[-1].shape)
        exec(text, {**vars(np), "entry": entry, "inside": inside, "i": i}, values)
        for place, x in zip(stored, arrays[-len(stored) :], strict=True):
            assert values[place].dtype == x.dtype
            np.copyto(x, values[place])

    return launch


class Team:
    """``cupy.RawKernel`` for arrays of NumPy, with so many threads; ``texts`` are what it was given."""

    def __init__(self, raw_kernel, threads=3):
        self.raw_kernel, self.threads, self.texts = raw_kernel, threads, []

    def __call__(self, text, name, options):
        self.texts.append(text)
        kernel = self.raw_kernel(text, name, options)
        return lambda grid, block, arrays: kernel(*grid, self.threads, arrays)


class RawKernel:
    """``cupy.RawKernel``, by what compiles it for the host."""

    def __init__(self, compiler, *texts, options):
        self.run = compiler(*texts, options)

    def __call__(self, grid, block, operands):
        do(lambda *views: self.run(*grid, THREADS, views), *operands)


THREADS = 2
"""Whatever is asked for: results must not depend on it."""


def do(*launch):
    return GPU.current.do(*launch)


def empty(shape, dtype="float64"):
    dtype, shape = np.dtype(dtype), shape if isinstance(shape, tuple) else (shape,)
    memory = GPU.allocate(int(np.prod(shape)) * dtype.itemsize)
    return Array(memory.bytes.view(dtype).reshape(shape), memory)


def put(x):
    """To the device."""
    x = np.asarray(x)
    if GPU.current.capture is not None:
        raise RuntimeError("the current stream is capturing")
    array = empty(x.shape, x.dtype)
    array.values[...] = x
    return array


def zeros(shape, *, dtype, device=None):
    array = empty(shape, dtype)
    do(lambda x: x.fill(0), array)
    return array


def copyto(place, x, casting="same_kind"):
    do(partial(np.copyto, casting=casting), place, x)


def take(x, rows, axis=None, out=None):
    out = empty(np.take(x.values, np.zeros_like(rows.values), axis).shape, x.dtype) if out is None else out
    do(lambda y, x, rows: np.copyto(y, np.take(x, rows, axis, mode="wrap")), out, x, rows)
    return out


def reduction(function):
    def reduce(x, axis=None, out=None, keepdims=False):
        like = function(x.values, axis=axis, keepdims=keepdims)
        out = empty(like.shape, like.dtype) if out is None else out
        do(lambda y, x: np.copyto(y, function(np.array(x, order="C"), axis=axis, keepdims=keepdims)), out, x)
        return out

    return reduce


def concatenate(arrays, axis=0):
    out = empty(np.concatenate([x.values for x in arrays], axis).shape, arrays[0].dtype)
    do(lambda y, *xs: np.copyto(y, np.concatenate(xs, axis)), out, *arrays)
    return out


def where(condition, x, y):
    out = empty(condition.shape, x.dtype)
    do(lambda out, condition, x, y: np.copyto(out, np.where(condition, x, y)), out, condition, x, y)
    return out


def multiplied(x, y):
    """The same bits however x and y lie in memory."""
    return np.sum(np.array(x, order="C")[:, :, None] * np.array(y, order="C"), axis=1)


def matmul(x, y, out=None):
    if GPU.current.capture is not None:
        raise RuntimeError("calling cuBLAS API during stream capture is currently unsupported")
    out = empty((x.shape[0], y.shape[1]), x.dtype) if out is None else out
    do(lambda out, x, y: np.copyto(out, multiplied(x, y)), out, x, y)
    return out


UFUNCS = {name: Ufunc(getattr(np, name)) for name in OPERATIONS if name != "where"}


class CuPy:
    """``cupy``."""

    ndarray, ufunc, ElementwiseKernel = Array, Ufunc, ElementwiseKernel
    cuda = SimpleNamespace(
        Stream=Stream, MemoryPool=Pool, using_allocator=using_allocator, get_current_stream=lambda: GPU.current
    )
    empty, copyto, take, matmul = map(staticmethod, (empty, copyto, take, matmul))
    copy = staticmethod(lambda x: x.copy())
    asarray = staticmethod(lambda x: x if isinstance(x, Array) else put(x))
    may_share_memory = staticmethod(lambda x, y: np.may_share_memory(x.values, y.values))
    moveaxis = staticmethod(lambda x, *axes: Array(np.moveaxis(x.values, *axes), x.memory))


class XP:
    """``array_api_compat.cupy``."""

    __name__ = "array_api_compat.cupy"
    take, concat, where, zeros = map(staticmethod, (take, concatenate, where, zeros))
    sum, max, min = (staticmethod(reduction(function)) for function in (np.sum, np.max, np.min))
    matmul = staticmethod(lambda x, y: matmul(x, y))
    astype = staticmethod(lambda x, dtype, copy=True: x.astype(dtype, copy))
    reshape = staticmethod(lambda x, shape: x.reshape(shape))
    matrix_transpose = staticmethod(lambda x: Array(x.values.T, x.memory))
    zeros_like = staticmethod(lambda x: zeros(x.shape, dtype=x.dtype))
    uint8, int32, float32, float64, complex64, complex128 = map(
        np.dtype, ("uint8", "int32", "float32", "float64", "complex64", "complex128")
    )


CUPY, XP = CuPy(), XP()
vars(CUPY).update(UFUNCS)
vars(XP).update(UFUNCS)


def _give_operator(name, function):
    setattr(Array, f"__{name}__", lambda x, *y: UFUNCS[function](x, *y) if function != "matmul" else matmul(x, *y))
    if name in REFLECTED:
        setattr(Array, f"__r{name}__", lambda x, y: UFUNCS[function](y, x))
        setattr(Array, f"__i{name}__", lambda x, y: UFUNCS[function](x, y, x))


for _name, _function in OPERATORS.items():
    _give_operator(_name, _function)


class Cublas:
    """libcublas.so; the products stand in test_backends_cublas.py for more than these shapes."""

    def __init__(self):
        self.stream = self.workspace = None

    def cublasCreate_v2(self, handle):  # noqa: N802
        return 0

    def cublasDestroy_v2(self, handle):  # noqa: N802
        return 0

    def cublasSetStream_v2(self, handle, stream):  # noqa: N802
        self.stream, self.workspace = GPU.streams[stream.value], None
        return 0

    def cublasSetWorkspace_v2(self, handle, pointer, size):  # noqa: N802
        self.workspace = at(pointer, "uint8", 1, size.value, size.value)
        return 0

    def cublasGemmEx(self, _, b, a, m, n, k, one, y, kind, ldy, x, __, ldx, zero, out, ___, ldout, *____):  # noqa: N802
        assert GPU.current is self.stream
        dtype = ["float32", "float64"][kind]
        x = at(x, dtype, *((k, n) if a else (n, k)), ldx)
        y = at(y, dtype, *((m, k) if b else (k, m)), ldy)
        x, y = (Array(v.values.T if op else v.values, v.memory) for v, op in ((x, a), (y, b)))
        multiply = lambda out, x, y, workspace: np.copyto(out, multiplied(x, y))  # noqa: E731
        self.stream.do(multiply, at(out, dtype, n, m, ldout), x, y, self.workspace)
        return 0


def at(pointer, dtype, rows, columns, leading):
    """The matrix at an address, which must be memory that somebody holds."""
    dtype = np.dtype(dtype)
    size = ((rows - 1) * leading + columns) * dtype.itemsize
    offsets = {m: pointer.value - m.bytes.ctypes.data for m in GPU.memory}
    [memory] = [m for m, offset in offsets.items() if 0 <= offset <= m.bytes.size - size]
    buffer = (ctypes.c_char * size).from_address(pointer.value)
    return Array(np.ndarray((rows, columns), dtype, buffer, strides=(leading * dtype.itemsize, dtype.itemsize)), memory)
