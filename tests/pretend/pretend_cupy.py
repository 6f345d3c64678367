"""A CuPy whose GPU is NumPy: what a capture writes down, and only that, happens at a launch.

As on a GPU a graph knows addresses and numbers, and keeps nothing alive: memory that nobody holds is overwritten at
once.  Nothing happens during a capture, what would wait for the device raises, and so do CuPy's own products.

It must never be kinder than CuPy.  So what is here has the names, parameters and types of CuPy 14.2, and raises what
that raises; ``test_pretend_cupy.py`` compares the two where CuPy can be imported, which needs no GPU.
"""

from contextlib import contextmanager
import ctypes
from functools import partial
from itertools import count
import re
from types import SimpleNamespace
import weakref

import numpy as np

from xpdl import arrays

# A GPU


class Memory:
    """Bytes of a device: overwritten when nobody holds them any more."""

    def __init__(self, size):
        self.bytes = np.full(size, 0xFF, "uint8")
        weakref.finalize(self, self.bytes.fill, 0xFF).atexit = False
        GPU.memory.add(self)


class Capture:
    """What the streams of a capture write down: for each node what it does, in which memory, and after which others."""

    def __init__(self):
        self.nodes, self.valid = [], True

    def add(self, function, memories, after):
        self.nodes.append((function, memories, frozenset(after)))
        return {len(self.nodes) - 1}


class Event:
    """``cupy.cuda.Event``."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.capture, self.tail = None, set()


class Stream:
    """``cupy.cuda.Stream``; ``tail`` are the nodes of a capture that what comes next must wait for."""

    numbers = count(1)

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        assert not null
        assert not ptds
        self.non_blocking, self.capture, self.tail, self.ptr = non_blocking, None, set(), next(self.numbers)
        self.previous = []
        GPU.streams[self.ptr] = self

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return self.ptr

    def __enter__(self):
        self.previous.append(GPU.current)
        GPU.current = self
        return self

    def __exit__(self, *args):
        GPU.current = self.previous.pop()

    def begin_capture(self, mode=None):
        assert mode is None
        assert self.non_blocking
        assert self.capture is None
        assert GPU.current is self
        self.capture, self.tail = Capture(), set()

    def end_capture(self):
        capture = self.capture
        if capture is None:
            raise RuntimeError("cudaErrorIllegalState")
        ends = set(range(len(capture.nodes))).difference(*(after for *_, after in capture.nodes))
        unjoined = ends - self.tail
        for stream in [stream for stream in GPU.streams.values() if stream.capture is capture]:
            stream.capture, stream.tail = None, set()
        if not capture.valid:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        if unjoined:
            raise RuntimeError("cudaErrorStreamCaptureUnjoined")
        GPU.captures.append(len(capture.nodes))
        return Graph(capture.nodes)

    def is_capturing(self):
        return self.capture is not None

    def synchronize(self):
        if self.capture is not None:
            self.capture.valid = False
            raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    def record(self, event=None):
        event = event or Event()
        event.capture, event.tail = self.capture, set(self.tail)
        return event

    def wait_event(self, event):
        assert self.capture in (None, event.capture), "cudaErrorStreamCaptureIsolation"
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

    def launch(self, stream=None):
        assert stream is None
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

    def __init__(self, allocator=None):
        assert allocator is None
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
def using_allocator(allocator=None):
    GPU.allocate, previous = allocator, GPU.allocate
    try:
        yield
    finally:
        GPU.allocate = previous


def get_current_stream(device_id=-1):
    assert device_id == -1
    return GPU.current


def start(raw_kernel):
    """A GPU on which nothing has run yet; ``raw_kernel`` compiles CUDA C for the host."""
    vars(GPU).update(vars(Gpu()))
    GPU.current = Stream()
    GPU.compile = raw_kernel
    arrays._NAMESPACES[Array] = XP  # array_api_compat knows arrays of CuPy by their type


def do(*launch):
    return GPU.current.do(*launch)


def check_not_capturing():
    """Of what waits for the device, and of copies from and to the host."""
    if GPU.current.capture is not None:
        raise RuntimeError("the current stream is capturing")


# Arrays


class Array:
    """``cupy.ndarray``: no hash, no implicit way to the host, and functions of NumPy do not take it."""

    device = "a GPU"
    __hash__ = None

    def __init__(self, view, memory):
        self.values, self.memory = view, memory

    def __getattr__(self, name):
        if name not in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides"):
            raise AttributeError(name)
        return getattr(self.values, name)

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        return Array(self.values[key if ... in key else (*key, ...)], self.memory)

    def __len__(self):
        return len(self.values)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return NotImplemented

    def __array__(self, dtype=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    @property
    def flags(self):
        own = self.values.flags
        return SimpleNamespace(c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, owndata=own.owndata)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.values.ctypes.data)

    @property
    def T(self):  # noqa: N802
        return Array(self.values.T, self.memory)

    def reshape(self, *shape, order="C", copy=None):
        assert (order, copy) == ("C", None)
        view = self.values.reshape(*shape)
        if np.may_share_memory(view, self.values):
            return Array(view, self.memory)
        result = empty(view.shape, view.dtype)
        do(lambda out, x: np.copyto(out, x.reshape(out.shape)), result, self)
        return result

    def view(self, dtype=None, type=None):
        return Array(self.values.view(dtype), self.memory)

    def copy(self, order="C"):
        copied = empty(self.shape, self.dtype)
        copyto(copied, self)
        return copied

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if self.dtype == dtype and not copy:
            return self
        converted = empty(self.shape, dtype)
        copyto(converted, self, "unsafe")
        return converted

    def get(self, stream=None, order="C", out=None, blocking=True):
        check_not_capturing()
        return self.values.copy()

    host = get

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __repr__(self):
        return repr(self.get())


def empty(shape, dtype=float, order="C"):
    assert order == "C"
    dtype, shape = np.dtype(dtype), shape if isinstance(shape, tuple) else (shape,)
    memory = GPU.allocate(int(np.prod(shape)) * dtype.itemsize)
    return Array(memory.bytes.view(dtype).reshape(shape), memory)


def put(x):
    """To the device."""
    x = np.asarray(x)
    check_not_capturing()
    array = empty(x.shape, x.dtype)
    array.values[...] = x
    return array


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    assert (dtype, order, copy, blocking) == (None, None, None, False)
    return a if isinstance(a, Array) else put(a)


def copy(a, order="K"):
    return a.copy()


def copyto(dst, src, casting="same_kind", where=None):
    assert where is None
    if isinstance(src, np.ndarray) and src.ndim:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    do(partial(np.copyto, casting=casting), dst, src)


def may_share_memory(a, b, max_work=None):
    return np.may_share_memory(a.values, b.values)


def moveaxis(a, source, destination):
    return Array(np.moveaxis(a.values, source, destination), a.memory)


def take(a, indices, axis=None, out=None):
    like = np.take(a.values, np.zeros_like(indices.values), axis)
    out = empty(like.shape, a.dtype) if out is None else out
    do(lambda y, x, rows: np.copyto(y, np.take(x, rows, axis, mode="wrap")), out, a, indices)
    return out


def reduced(function, a, axis, out, keepdims):
    like = function(a.values, axis=axis, keepdims=keepdims)
    out = empty(like.shape, like.dtype) if out is None else out
    do(lambda y, x: np.copyto(y, function(np.array(x, order="C"), axis=axis, keepdims=keepdims)), out, a)
    return out


def sum(a, axis=None, dtype=None, out=None, keepdims=False):
    assert dtype is None
    return reduced(np.sum, a, axis, out, keepdims)


def amax(a, axis=None, out=None, keepdims=False):
    return reduced(np.max, a, axis, out, keepdims)


def amin(a, axis=None, out=None, keepdims=False):
    return reduced(np.min, a, axis, out, keepdims)


def concatenate(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    assert (dtype, casting) == (None, "same_kind")
    joined = np.concatenate([x.values for x in tup], axis)
    out = empty(joined.shape, joined.dtype) if out is None else out
    do(lambda y, *xs: np.copyto(y, np.concatenate(xs, axis)), out, *tup)
    return out


def where(condition, x=None, y=None):
    operands = [condition, x, y]
    like = np.where(*(a.values if isinstance(a, Array) else a for a in operands))
    out = empty(like.shape, like.dtype)
    do(lambda out, *arrays: np.copyto(out, np.where(*arrays)), out, *operands)
    return out


def multiplied(x, y):
    """The same bits however x and y lie in memory."""
    return np.sum(np.array(x, order="C")[..., None] * np.array(y, order="C")[..., None, :, :], axis=-2)


def matmul(*args, axes=None, axis=None, keepdims=False, casting="same_kind", dtype=None, signature=None, order="K",
           out=None):  # fmt: skip
    x, y = args
    if GPU.current.capture is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    out = empty((*x.shape[:-1], y.shape[-1]), x.dtype) if out is None else out
    do(lambda out, x, y: np.copyto(out, multiplied(x, y)), out, x, y)
    return out


# Kernels


class Ufunc:
    """``cupy.ufunc``."""

    def __init__(self, function):
        self.function, self.nin, self.nout, self.nargs = function, function.nin, function.nout, function.nargs

    def __call__(self, *args, out=None):
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(f"Wrong number of arguments for {self.function.__name__!r}")
        if any(isinstance(x, np.ndarray) for x in args):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        *operands, out = args if len(args) > self.nin else (*args, out)
        with np.errstate(all="ignore"):
            like = self.function(*(x.values if isinstance(x, Array) else x for x in operands))
        out = empty(like.shape, like.dtype) if out is None else out
        do(lambda y, *xs: np.copyto(y, self.function(*xs)), out, *operands)
        return out


UFUNCS = {name: Ufunc(function) for name, function in vars(np).items() if isinstance(function, np.ufunc)}
for _name in ("isnat", "matmul", "matvec", "spacing", "vecdot", "vecmat"):
    UFUNCS.pop(_name, None)

OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "neg": "negative",
    "abs": "absolute",
    "invert": "invert",
}


def _give_operator(name, function):
    setattr(Array, f"__{name}__", lambda x, *y: function(x, *y))
    if name in OPERATORS:
        setattr(Array, f"__r{name}__", lambda x, y: function(y, x))
        setattr(Array, f"__i{name}__", lambda x, y: function(x, y, x))


for _name, _function in (OPERATORS | COMPARISONS).items():
    _give_operator(_name, UFUNCS[_function])
Array.__matmul__ = lambda x, y: matmul(x, y)


class InPython:
    """The body of an elementwise kernel, whose operators and functions mean the same in Python, on arrays of NumPy."""

    def __init__(self, in_params, out_params, operation):
        self.inputs, self.outputs = (re.findall(r"[axy]\d+", names) for names in (in_params, out_params))
        self.text = re.sub(r"const \w+ |;", "", operation)

    def __call__(self, *operands):
        results = operands[len(self.inputs) :]
        i = np.arange(results[0].size).reshape(results[0].shape)
        dtype = results[-1].dtype.type
        entries = [x[()] if isinstance(x, np.ndarray) else dtype(x) for x in operands]
        variables = dict(zip([*self.inputs, *self.outputs], entries, strict=True))
        variables |= {name: x.ravel() for name, x in variables.items() if name[0] == "a"}
        exec(self.text, {**vars(np), "T": dtype, "inside": inside, "entry": entry, "i": i}, variables)
        for name, result in zip(self.outputs, results, strict=True):
            assert variables[name].dtype == result.dtype
            np.copyto(result, variables[name])


def inside(i, n):
    """That of the preamble."""
    return i % n


def entry(rows, i, d, n):
    """That of the preamble."""
    return rows[i // d] % n * d + i % d


def elementwise(inputs, outputs, body, name, **options):
    """``cupy.ElementwiseKernel`` for arrays of NumPy."""
    return InPython(inputs, outputs, body)


class ElementwiseKernel:
    """``cupy.ElementwiseKernel``; the results are given to it, as CuPy allows, never made by it."""

    def __init__(self, in_params, out_params, operation, name="kernel", reduce_dims=True, preamble="",
                 no_return=False, return_tuple=False, **kwargs):  # fmt: skip
        self.in_python = InPython(in_params, out_params, operation)
        self.nin, self.nout = len(self.in_python.inputs), len(self.in_python.outputs)
        self.name, self.nargs = name, self.nin + self.nout

    def __call__(self, *args, **kwargs):
        if len(args) != self.nargs:
            raise TypeError(f"Wrong number of arguments for {self.name!r}.")
        if any(isinstance(x, np.ndarray) for x in args):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        do(self.in_python, *args)
        return args[self.nin] if self.nout == 1 else args[self.nin :]


class Team:
    """``cupy.RawKernel`` for arrays of NumPy, with so many threads; ``texts`` are what it was given."""

    def __init__(self, raw_kernel, threads=3):
        self.raw_kernel, self.threads, self.texts = raw_kernel, threads, []

    def __call__(self, text, name, options):
        self.texts.append(text)
        kernel = self.raw_kernel(text, name, options)
        return lambda grid, block, arrays: kernel(*grid, self.threads, arrays)


class RawKernel:
    """``cupy.RawKernel``, compiled for the host."""

    def __init__(self, code, name, options=(), backend="nvrtc", translate_cucomplex=False, *,
                 enable_cooperative_groups=False, jitify=None):  # fmt: skip
        if not isinstance(options, tuple):
            raise TypeError(f"Argument 'options' has incorrect type (expected tuple, got {type(options).__name__})")
        self.run = GPU.compile(code, name, options)

    def __call__(self, grid, block, args, **kwargs):
        do(lambda *views: self.run(*grid, THREADS, views), *args)


THREADS = 2
"""Whatever is asked for: results must not depend on it."""


# The two namespaces


class CuPy:
    """``cupy``."""

    ndarray, ufunc, ElementwiseKernel, RawKernel = Array, Ufunc, ElementwiseKernel, RawKernel
    cuda = SimpleNamespace(
        Event=Event,
        Graph=Graph,
        MemoryPool=Pool,
        Stream=Stream,
        get_current_stream=get_current_stream,
        using_allocator=using_allocator,
    )
    empty, copyto, take, matmul = map(staticmethod, (empty, copyto, take, matmul))
    copy, asarray, may_share_memory, moveaxis = map(staticmethod, (copy, asarray, may_share_memory, moveaxis))


def _zeros(shape, *, dtype=None, device=None, **kwargs):
    array = empty(shape, dtype or float)
    do(lambda x: x.fill(0), array)
    return array


def _zeros_like(x, /, *, dtype=None, device=None, **kwargs):
    return _zeros(x.shape, dtype=dtype or x.dtype)


def _matmul(x1, x2, /, **kwargs):
    return matmul(x1, x2, **kwargs)


def _astype(x, dtype, /, *, copy=True, device=None):
    return x if not copy and dtype == x.dtype else x.astype(dtype=dtype, copy=copy)


def _reshape(x, /, shape, *, copy=None, **kwargs):
    assert copy is None
    return x.reshape(shape, **kwargs)


def _matrix_transpose(x, /):
    return Array(np.matrix_transpose(x.values), x.memory)


def _sign(x, /, **kwargs):
    return UFUNCS["sign"](x, **kwargs)


def _rounded(name):
    return lambda x, /: UFUNCS[name](x)


WRAPPED = {"sign": _sign, **{name: _rounded(name) for name in ("ceil", "floor", "trunc")}}
"""Of these ufuncs array-api-compat makes functions that are none."""


def _asarray(obj, /, *, dtype=None, device=None, copy=None, **kwargs):
    assert copy is None
    return put(np.asarray(obj, dtype))


class XP:
    """``array_api_compat.cupy``.  Its dtypes are the classes of NumPy, whose ``tolist`` is a method of no object."""

    __name__ = "array_api_compat.cupy"
    take, concat, where, sum, max, min = map(staticmethod, (take, concatenate, where, sum, amax, amin))
    zeros, zeros_like, matmul, astype = map(staticmethod, (_zeros, _zeros_like, _matmul, _astype))
    reshape, matrix_transpose, asarray = map(staticmethod, (_reshape, _matrix_transpose, _asarray))
    bool, uint8, int32, int64 = np.bool, np.uint8, np.int32, np.int64
    float32, float64, complex64, complex128 = np.float32, np.float64, np.complex64, np.complex128


CUPY, XP = CuPy(), XP()
vars(CUPY).update(UFUNCS)
vars(XP).update(UFUNCS | WRAPPED)
zeros = XP.zeros


class Cublas:
    """libcublas.so; the products stand in test_cublas.py for more than these shapes."""

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
