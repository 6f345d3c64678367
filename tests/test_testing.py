"""xpdl.testing: an assertion that is silent when a gradient is right, and says all when it is not."""

import re
import subprocess
import sys
from unittest import SkipTest

from array_api_compat import array_namespace
import numpy as np
import pytest

import xpdl
from xpdl.gradcheck.report import Report
from xpdl.testing import assert_gradients, backends

THETA = np.random.default_rng(0).standard_normal((3, 4))


def fun(theta):
    xp = array_namespace(theta)
    return xp.sum(theta * theta * theta)


def right(theta):
    return 3.0 * theta * theta


def wrong(theta):
    return 3.01 * theta * theta


def ready(name):
    """Skip where a backend is missing."""
    try:
        return xpdl.backend(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("backend", backends())
def test_one_line_parametrises_over_backends(backend) -> None:
    ready(backend)
    report = assert_gradients(fun, right, THETA, backend=backend)
    assert isinstance(report, Report)
    assert report.precision == "float64"
    with pytest.raises(AssertionError, match=f"# theta on backend '{backend}'"):
        assert_gradients(fun, wrong, THETA, backend=backend)


def test_a_device_without_float64_gets_float32() -> None:
    ready("array_api_strict")
    assert assert_gradients(fun, right, THETA, backend="array_api_strict:no_float64").precision == "float32"


def test_dicts_move_too() -> None:
    ready("array_api_strict")
    seen = []

    def product(p):
        seen.append(type(p["a"]).__module__.partition(".")[0])
        return array_namespace(p["a"]).sum(p["a"] * p["b"])

    assert_gradients(
        product, lambda p: {"a": p["b"], "b": p["a"]}, {"a": THETA, "b": THETA}, backend="array_api_strict"
    )
    assert set(seen) == {"array_api_strict"}


def test_a_missing_backend_skips_with_the_reason(monkeypatch) -> None:
    """unittest.SkipTest, which pytest takes for a skip."""

    def missing(name):
        raise ImportError("backend 'torch' needs torch")

    monkeypatch.setattr("xpdl.testing.connect", missing)
    with pytest.raises(SkipTest, match="needs torch"):
        assert_gradients(fun, right, THETA, backend="torch")


def test_pytest_skips_where_a_backend_is_missing(tmp_path) -> None:
    test = tmp_path / "test_missing.py"
    test.write_text(
        "import numpy, pytest, xpdl.testing\n"
        "def missing(name): raise ImportError('nothing here')\n"
        "@pytest.mark.parametrize('backend', ['torch'])\n"
        "def test(backend, monkeypatch):\n"
        "    monkeypatch.setattr('xpdl.testing.connect', missing)\n"
        "    xpdl.testing.assert_gradients(sum, abs, numpy.ones(3), backend=backend)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(test)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "1 skipped" in result.stdout, result.stdout + result.stderr
    assert "nothing here" in result.stdout


def test_the_message_has_the_report_the_call_and_the_worst_entry() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_gradients(fun, wrong, THETA, seed=3, full=True)
    message = str(caught.value)
    assert message.startswith("FAIL  difference")
    assert "xpdl.check_gradient(fun, grad, theta, full=True, seed=3)" in message.replace(
        "seed=3, full=True", "full=True, seed=3"
    )
    index, analytic, numeric = re.search(r"theta\[(.*)\]: analytic (.*), numeric (.*), bar", message).groups()
    place = tuple(map(int, index.split(",")))
    assert float(analytic) == wrong(THETA)[place]
    assert float(numeric) == pytest.approx(right(THETA)[place], rel=1e-12)


def test_what_cannot_be_told_fails_unless_that_is_allowed() -> None:
    def hidden(theta):
        return 1e100 + 1e-12 * np.sum(np.abs(theta) ** 2)

    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        assert_gradients(hidden, lambda t: 2e-12 * t, THETA)
    report = assert_gradients(hidden, lambda t: 2e-12 * t, THETA, allow_inconclusive=True)
    assert report.verdict == "INCONCLUSIVE"
    with pytest.raises(AssertionError, match="FAIL"):
        assert_gradients(fun, wrong, THETA, allow_inconclusive=True)


@pytest.mark.parametrize("backend", [None, "numpy", "torch", "jax"])
def test_networks(backend) -> None:
    ready(backend or "numpy")
    rng = np.random.default_rng(1)
    net = xpdl.Network([3, 5, 2])
    theta, x, y = net.initialize(0, "float64"), rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    assert_gradients(net, theta, x, y, backend=backend)

    def doubled(t):
        home = xpdl.backend(backend or "numpy")
        return 2 * net.loss_and_grad(t, home.asarray(x, "float64"), home.asarray(y))[1]

    with pytest.raises(AssertionError, match=r"xpdl.check_network\(net, theta, x, y, grad\)"):
        assert_gradients(net, theta, x, y, doubled, backend=backend)


def test_options_that_do_not_exist_are_errors() -> None:
    with pytest.raises(TypeError, match="tolerance"):
        assert_gradients(fun, right, THETA, tolerance=1e-5)
    with pytest.raises(TypeError, match="theta is missing"):
        assert_gradients(fun, right)
    with pytest.raises(ValueError, match="backend must be one of"):
        assert_gradients(fun, right, THETA, backend="numpi")


def test_neither_pytest_nor_a_library_is_imported() -> None:
    code = "import sys, xpdl.testing; xpdl.testing.backends(); print({'pytest', 'torch', 'jax'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("backend", [None, "array_api_strict"])
def test_vector_functions_have_assertions_of_their_own(backend) -> None:
    if backend:
        ready(backend)

    def scaled(factor):
        return lambda c, x: factor * c * x

    def square(x):
        return x * x

    def jacobian(x, factor=2.0):
        return factor * np.diag(np.asarray(x))

    x = np.array([1.0, 2.0])
    for check in (xpdl.testing.assert_vjp, xpdl.testing.assert_jvp):
        assert check(square, scaled(2.0), x, backend=backend).verdict == "PASS"
        with pytest.raises(AssertionError, match=rf"xpdl.check_{check.__name__[7:]}\(fun, .*, theta, seed=1\)"):
            check(square, scaled(2.01), x, backend=backend, seed=1)
    assert xpdl.testing.assert_jacobian(square, jacobian, x, backend=backend).verdict == "PASS"
    with pytest.raises(AssertionError, match=r"J\[\d, \d\] is"):
        xpdl.testing.assert_jacobian(square, lambda x: jacobian(x, 2.01), x, backend=backend)
