"""The pretend CuPy of the tests is never kinder than CuPy, which can be imported without a GPU."""

import inspect
from operator import attrgetter
import re
from types import SimpleNamespace

import numpy as np
import pretend_cupy
from pretend_cupy import CUPY, WRAPPED, XP, Array, Memory, start
import pytest

from xpdl.backends import backend

FUNCTIONS = [
    *("asarray", "copy", "copyto", "empty", "matmul", "may_share_memory", "moveaxis", "take"),
    *("ElementwiseKernel", "RawKernel", "cuda.Event", "cuda.MemoryPool", "cuda.MemoryPool.malloc", "cuda.Stream"),
    *("cuda.Stream.begin_capture", "cuda.Stream.end_capture", "cuda.Stream.is_capturing", "cuda.Stream.record"),
    *("cuda.Stream.synchronize", "cuda.Stream.wait_event", "cuda.get_current_stream", "cuda.using_allocator"),
    *("cuda.Graph.launch", "ndarray.astype", "ndarray.copy", "ndarray.get", "ndarray.reshape", "ndarray.view"),
]
FUNCTIONS_OF_THE_STANDARD = [
    *("astype", "concat", "matmul", "matrix_transpose", "max", "min", "reshape", "sum", "take", "where", "zeros"),
    *("zeros_like", *sorted(WRAPPED)),
]
OUR_OWN = {"values", "memory", "host", "capture", "tail", "previous", "do", "numbers", "non_blocking", "nodes", "kept"}
"""Attributes by which the pretend CuPy does its work and by which tests look into it."""


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy", reason="needs CuPy")


@pytest.fixture(scope="module")
def standard(cupy):
    return __import__("array_api_compat.cupy", fromlist=["zeros"])


@pytest.fixture(autouse=True)
def another_gpu():
    start(None)


# Names, signatures, types


def parameters(function):
    """Names, kinds and defaults; those of Cython's functions stand in the first line of their docstrings."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        text = re.search(r"(\(.*\))", function.__doc__.strip().splitlines()[0])[1]
        text = re.sub(r"\b(?:str|tuple|bool|int|size_t) (?=\w)", "", text)
        signature = inspect.signature(eval(f"lambda {text[1:-1]}: None"))  # from CuPy's own documentation
    listed = [(p.name, p.kind, p.default) for p in signature.parameters.values()]
    return [entry for entry in listed if entry[0] != "self"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signatures_are_those_of_cupy(cupy, name) -> None:
    assert parameters(attrgetter(name)(CUPY)) == parameters(attrgetter(name)(cupy))


@pytest.mark.parametrize("name", FUNCTIONS_OF_THE_STANDARD)
def test_the_signatures_of_the_standard_are_those_of_array_api_compat(standard, name) -> None:
    assert parameters(getattr(XP, name)) == parameters(getattr(standard, name))


def public(thing) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")} - OUR_OWN


def test_there_is_nothing_that_cupy_does_not_have(cupy, standard) -> None:
    assert public(CUPY) <= public(cupy)
    assert public(CUPY.cuda) <= public(cupy.cuda)
    assert public(XP) <= public(standard)
    for name in ("ndarray", "ufunc", "ElementwiseKernel", "RawKernel"):
        assert public(getattr(CUPY, name)) <= public(getattr(cupy, name))
    for name in ("Event", "Graph", "MemoryPool", "Stream"):
        assert public(getattr(CUPY.cuda, name)) <= public(getattr(cupy.cuda, name)) | {"ptr"}
    for method in ("__array_namespace__", "__index__", "__iter__", "__setitem__"):
        assert hasattr(Array, method) <= hasattr(cupy.ndarray, method)


def test_every_function_that_is_compared_is_there_and_no_other(cupy) -> None:
    listed = {name for name in FUNCTIONS if "." not in name}
    assert {name for name in public(CUPY) - {"cuda", "ndarray", "ufunc"} if name not in pretend_cupy.UFUNCS} == listed
    plain = {name for name in public(XP) if not isinstance(getattr(XP, name), (type, pretend_cupy.Ufunc))}
    assert plain == set(FUNCTIONS_OF_THE_STANDARD)


def test_ufuncs_are_those_of_cupy(cupy, standard) -> None:
    for ours, theirs in ((CUPY, cupy), (XP, standard)):
        names = {name for name in dir(ours) if isinstance(getattr(ours, name), CUPY.ufunc)}
        also = {name for name in dir(np) if isinstance(getattr(theirs, name, None), cupy.ufunc)}
        assert names == {name for name in also if isinstance(getattr(np, name), np.ufunc)}
        for name in names:
            function = getattr(theirs, name)
            assert (getattr(ours, name).nin, getattr(ours, name).nout) == (function.nin, function.nout)


def test_dtypes_are_classes_as_those_of_cupy(standard) -> None:
    names = {name for name in public(XP) if isinstance(getattr(XP, name), type)}
    assert names >= {"int32", "float32", "float64"}
    for name in names:
        assert getattr(XP, name) is getattr(standard, name)


def test_a_product_is_no_ufunc(cupy) -> None:
    assert not isinstance(cupy.matmul, cupy.ufunc)
    assert not isinstance(CUPY.matmul, CUPY.ufunc)


def test_kernels_know_their_operands(cupy) -> None:
    for library in (CUPY, cupy):
        kernel = library.ElementwiseKernel("float32 x0, float32 x1", "float32 y0", "y0 = x0 + x1", "sum_of_two")
        assert (kernel.name, kernel.nin, kernel.nout, kernel.nargs) == ("sum_of_two", 2, 1, 3)
        with pytest.raises(TypeError, match="Wrong number of arguments"):
            kernel(1.0, 2.0, 3.0, 4.0)
        with pytest.raises(TypeError, match="expected tuple, got list"):
            library.RawKernel("", "kernel", ["-O3"])


# Arrays: CuPy's, too, can be made of host memory as long as nothing is computed


def ours(host):
    memory = Memory(host.nbytes)
    memory.bytes[:] = host.view("uint8").ravel()
    return Array(memory.bytes.view(host.dtype).reshape(host.shape), memory)


def theirs(cupy, host):
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    return cupy.ndarray(host.shape, host.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))


VIEWS = {
    "itself": lambda a, library: a,
    "row": lambda a, library: a[1],
    "entry": lambda a, library: a[1, 2],
    "rows": lambda a, library: a[1:3],
    "columns": lambda a, library: a[:, 2:5],
    "every other": lambda a, library: a[::2, ::3],
    "reversed": lambda a, library: a[::-1],
    "new axis": lambda a, library: a[None],
    "all": lambda a, library: a[...],
    "transposed": lambda a, library: a.T,
    "flat": lambda a, library: a.reshape(-1),
    "another shape": lambda a, library: a.reshape((6, 4)),
    "in numbers": lambda a, library: a.reshape(2, 12),
    "other dtype": lambda a, library: a.view("int32"),
    "other axes": lambda a, library: library.moveaxis(a, 0, 1),
    "same dtype": lambda a, library: a.astype("float32", copy=False),
}


def described(view, whole):
    flags = view.flags
    return (
        (view.shape, view.strides, view.dtype, view.ndim, view.size, view.nbytes, view.itemsize),
        (flags.c_contiguous, flags.f_contiguous),
        view.data.ptr - whole.data.ptr,
    )


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_those_of_cupy(cupy, name) -> None:
    host = np.arange(24, dtype="float32").reshape(4, 6)
    both = []
    for whole, library in ((ours(host), CUPY), (theirs(cupy, host), cupy)):
        view = VIEWS[name](whole, library)
        assert type(view) is library.ndarray
        assert library.may_share_memory(view, whole) is True
        both.append(described(view, whole))
    assert both[0] == both[1]


REFUSED = {
    "hash": (lambda a, library: hash(a), TypeError),
    "bool": (lambda a, library: bool(a), (ValueError, RuntimeError)),
    "to NumPy": (lambda a, library: np.asarray(a), TypeError),
    "copy from the host": (lambda a, library: library.copyto(a, np.ones((4, 6), "float32")), ValueError),
    "namespace": (lambda a, library: a.__array_namespace__(), AttributeError),
    "a third factor": (lambda a, library: library.matmul(a, a, a), (TypeError, ValueError)),
    "attribute": (lambda a, library: a.sums, AttributeError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cupy_refuses_is_refused(cupy, name) -> None:
    host = np.arange(24, dtype="float32").reshape(4, 6)
    function, kind = REFUSED[name]
    for whole, library in ((ours(host), CUPY), (theirs(cupy, host), cupy)):
        with pytest.raises(kind):
            function(whole, library)


# A capture: these are the rules of CuPy's own tests, cupy_tests/cuda_tests/test_graph.py, and run on a GPU too


@pytest.fixture(params=["pretend", "cupy"])
def library(request):
    if request.param == "pretend":
        return SimpleNamespace(cupy=CUPY, put=pretend_cupy.put)
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    try:
        return SimpleNamespace(cupy=cupy, put=backend("cupy").asarray)
    except RuntimeError as error:
        pytest.skip(str(error))


WAITING = {
    "a number": (lambda a, library: float(a[0, 0]), RuntimeError, "capturing"),
    "a branch": (lambda a, library: bool(a[0, 0] > 0), RuntimeError, "capturing"),
    "an array for the host": (lambda a, library: a.get(), RuntimeError, "capturing"),
    "a product": (lambda a, library: library.cupy.matmul(a, a), NotImplementedError, "cuBLAS"),
    "an operator": (lambda a, library: a @ a, NotImplementedError, "cuBLAS"),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_and_what_multiplies_raises_during_a_capture(library, name) -> None:
    function, kind, message = WAITING[name]
    a = library.put(np.ones((3, 3), "float32"))
    with library.cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(kind, match=message):
            function(a, library)
        stream.end_capture()
    assert not stream.is_capturing()


def test_a_stream_that_waits_spoils_its_capture(library) -> None:
    with library.cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="StreamCaptureUnsupported"):
            stream.synchronize()
        with pytest.raises(RuntimeError, match="StreamCaptureInvalidated"):
            stream.end_capture()
    stream.synchronize()


def test_a_branch_that_does_not_come_back_is_an_error(library) -> None:
    a = library.put(np.ones((3, 3), "float32"))
    one, other = (library.cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    with one:
        one.begin_capture()
        other.wait_event(one.record())
        with other:
            a += 1.0
        with pytest.raises(RuntimeError, match="StreamCaptureUnjoined"):
            one.end_capture()
    assert not other.is_capturing()


def test_nothing_is_done_before_the_launch(library) -> None:
    a = library.put(np.ones((3, 3), "float32"))
    with library.cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        a += 1.0
        graph = stream.end_capture()
        before = a.get()
        graph.launch()
        stream.synchronize()
        assert (before == 1).all()
        assert (a.get() == 2).all()


def test_a_stream_without_a_capture_ends_none(library) -> None:
    stream = library.cupy.cuda.Stream(non_blocking=True)
    with pytest.raises(RuntimeError, match="IllegalState"):
        stream.end_capture()
