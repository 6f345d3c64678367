"""Kernels in C: the numbers of NumPy to the last bit, however operands are broadcast, with or without a compiler."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import time

import numpy as np
import pytest

from xpdl.backends.kernels import c_compiler
from xpdl.backends.kernels.c_compiler import Kernel

needs_compiler = pytest.mark.skipif(c_compiler.compiler() is None, reason="there is no C compiler")


BROADCAST = {
    "one": np.array(2.5, "float32"),
    "a number": 2.5,
    "row": np.arange(5, dtype="float32"),
    "a row of two axes": np.arange(5, dtype="float32")[None, :],
    "column": np.arange(3, dtype="float32")[:, None],
    "all": np.arange(15, dtype="float32").reshape(3, 5),
    "another dtype": np.arange(15, dtype="uint8").reshape(3, 5),
    "truth": np.arange(15).reshape(3, 5) % 2 == 0,
}


@needs_compiler
@pytest.mark.parametrize("operand", BROADCAST)
def test_operands_are_broadcast_as_by_numpy(operand) -> None:
    x = BROADCAST[operand]
    dtype = getattr(x, "dtype", np.dtype("float32")).name
    out, changed = np.zeros((3, 5), "float32"), np.ones((3, 5), "float32")
    kernel = Kernel(f"{dtype} x0", "float32 x1, float32 y2", "y2 = x1 - float32(x0);\nx1 = x1 + float32(x0);", "test")
    kernel(x, changed, out)
    assert np.array_equal(out, np.broadcast_to(1 - np.asarray(x, "float32"), (3, 5)))
    assert np.array_equal(changed, np.broadcast_to(1 + np.asarray(x, "float32"), (3, 5)))


@needs_compiler
def test_a_bound_kernel_reads_what_is_there_when_it_is_called() -> None:
    rate, out = np.array(1.0), np.zeros(4)
    call = Kernel("float64 x0", "float64 y1", "y1 = x0 * x0;", "test").bind(rate, out)
    rate[...] = 3.0
    call()
    assert out.tolist() == [9.0] * 4


@needs_compiler
def test_nan_passes_through_maximum() -> None:
    x, out = np.array([np.nan, -1.0, 2.0]), np.zeros(3)
    Kernel("float64 x0", "float64 y1", "y1 = maximum(x0, float64(0.0));", "test")(x, out)
    assert np.array_equal(out, np.maximum(x, 0.0), equal_nan=True)


@needs_compiler
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((5, 3)).T, "strides"),
        (np.ones((3, 5), complex), "complex128"),
        (np.ones((2, 5)), r"shape \(2, 5\)"),
    ],
)
def test_what_it_cannot_read_is_refused(x, message) -> None:
    with pytest.raises(TypeError, match=message):
        Kernel("float64 x0", "float64 y1", "y1 = x0;", "test")(x, np.zeros((3, 5)))


@pytest.mark.parametrize("function", ["exp", "tanh", "pow", "log1p"])
def test_what_two_libraries_may_round_differently_is_refused(function) -> None:
    with pytest.raises(TypeError, match=function):
        Kernel("float64 x0", "float64 y1", f"y1 = {function}(x0);", "test")


@pytest.fixture
def with_compiler(monkeypatch):
    """A way to set $CC."""

    def use(command):
        monkeypatch.setenv("CC", command)
        c_compiler.compiler.cache_clear()

    yield use
    monkeypatch.undo()
    c_compiler.compiler.cache_clear()


@pytest.mark.parametrize("command", ["", "no-such-compiler", "false"])
def test_a_compiler_that_is_missing_or_fails_is_none(with_compiler, command) -> None:
    with_compiler(command)
    assert c_compiler.compiler() is None
    with pytest.raises(TypeError, match="no exact kernel by the compiler None"):
        Kernel("float64 x0", "float64 y1", "y1 = x0;", "test")


FLOODS = """#!/bin/sh
head -c 20000000 /dev/zero >&2
exec cc "$@"
"""
ENDLESS = """#!/bin/sh
exec yes >&2
"""


@needs_compiler
@pytest.mark.parametrize("options", ["", " -DNAME", " '-DNAME=a b'"])
def test_cc_may_have_arguments_and_a_compiler_may_print_any_amount(with_compiler, tmp_path, options) -> None:
    script = tmp_path / "my cc"
    script.write_text(FLOODS)
    script.chmod(0o755)
    with_compiler(f"'{script}'{options}" if options else str(script))
    assert c_compiler.compiler() is not None


@pytest.mark.parametrize("command", ["'", "cc '", "{}/endless"])
def test_a_command_that_is_none_and_a_compiler_without_end_are_none(
    with_compiler, tmp_path, monkeypatch, command
) -> None:
    monkeypatch.setattr(c_compiler, "PATIENCE", 0.2)
    script = tmp_path / "endless"
    script.write_text(ENDLESS)
    script.chmod(0o755)
    with_compiler(command.format(tmp_path))
    assert c_compiler.compiler() is None


@needs_compiler
def test_threads_wait_for_the_kernel_that_another_one_compiles(monkeypatch) -> None:
    """Each needs both kernels; whoever comes first compiles them."""
    compiled, text = c_compiler.compiled, "y1 = x0 * float64({}.125);"
    monkeypatch.setattr(c_compiler, "compiled", lambda *arguments: time.sleep(0.05) or compiled(*arguments))
    barrier = Barrier(4)

    def work(number):
        out = np.zeros((2, 3))
        calls = [Kernel("float64 x0", "float64 y1", text.format(k), "test").bind(np.ones(3), out[k]) for k in range(2)]
        barrier.wait()
        c_compiler.ready(calls)
        for call in calls:
            call()
        return out[:, 0].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [[0.125, 1.125]] * 4


@needs_compiler
def test_a_kernel_that_could_not_be_compiled_is_refused_before_it_is_called() -> None:
    """Also the second time, when nothing waits any more."""
    for _ in range(2):
        call = Kernel("float64 x0", "float64 y1", "y1 = missing;", "test").bind(np.ones(3), np.ones(3))
        with pytest.raises(TypeError, match="cannot compile|has failed"):
            c_compiler.ready([call])


@needs_compiler
def test_kernels_that_wait_are_compiled_together(monkeypatch) -> None:
    """They form one library, because a compiler takes as long for ten kernels as for one."""
    c_compiler.compiler()  # it compiles a text of its own, once
    calls, compiled = [], c_compiler.compiled
    monkeypatch.setattr(c_compiler, "compiled", lambda *arguments: calls.append(1) or compiled(*arguments))
    places = [np.zeros(3) for _ in range(4)]
    bound = [
        Kernel("float64 x0", "float64 y1", f"y1 = x0 + float64({number}.25);", "test").bind(np.ones(3), place)
        for number, place in enumerate(places)
    ]
    for call in bound:
        call()
    assert len(calls) == 1
    assert [place[0] for place in places] == [1.25, 2.25, 3.25, 4.25]


@needs_compiler
def test_an_error_of_the_compiler_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="cannot compile kernels"):
        Kernel("float64 x0", "float64 y1", "y1 = unknown;", "test")(np.ones(3), np.ones(3))
