"""Assertions for test suites: a wrong gradient fails the test, with the whole report.

    @pytest.mark.parametrize("backend", xpdl.testing.backends())
    def test_my_loss(backend):
        xpdl.testing.assert_gradients(fun, grad, theta, backend=backend)

The test is skipped on a backend that is not installed.
"""

from collections.abc import Callable, Mapping, Sequence
import inspect
from typing import Any
from unittest import SkipTest

from xpdl.backends import INSTALL, Backend, backend as connect
from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.function.arguments import Arguments
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.report import FAIL, INCONCLUSIVE, Parameter, Report
from xpdl.gradcheck.vector import check_jacobian, check_jvp, check_vjp
from xpdl.network import Network

__all__ = ["assert_gradients", "assert_jacobian", "assert_jvp", "assert_vjp", "backends"]


def backends() -> list[str]:
    """Return the names of all backends, for ``pytest.mark.parametrize``.

    ``assert_gradients`` skips the test, with the reason, on a backend that is not installed or has no device.

    Returns
    -------
    list of str
        The names.

    Examples
    --------
    >>> import xpdl
    >>> "numpy" in xpdl.testing.backends()
    True
    """
    return list(INSTALL)


def assert_gradients(
    fun: Callable[[Any], Any] | Network,
    *args: Any,
    backend: str | None = None,
    allow_inconclusive: bool = False,
    **options: Any,
) -> Report:
    """Assert that a gradient is right, and return the report.

        assert_gradients(fun, grad, *args, **options)    any scalar function, as ``xpdl.check_gradient`` takes it
        assert_gradients(net, theta, x, y, **options)    a network, as ``xpdl.check_network`` takes it

    Unlike ``jax.test_util.check_grads`` and ``torch.autograd.gradcheck`` it takes no tolerance: the error bars are
    measured.

    Parameters
    ----------
    fun : callable or Network
        The function, or the network.
    *args : Any
        The other positional arguments of the check.
    backend : str, optional
        The backend that theta, or every floating array in the arguments, is moved to, in float64 if the backend
        supports it; by default nothing is moved.
    allow_inconclusive : bool, default False
        Whether INCONCLUSIVE is accepted.  By default it fails, because an inconclusive check has proved nothing.
    **options : Any
        All keyword arguments of the check.

    Returns
    -------
    Report
        The report of the check.

    Raises
    ------
    AssertionError
        If the gradient is wrong: with the report, the call that repeats the check, and the worst entry of every wrong
        tensor in full precision.
    unittest.SkipTest
        If the backend is not installed or has no device.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> report = xpdl.testing.assert_gradients(lambda w: np.sum(w**3), lambda w: 3 * w**2, np.array([1.0, 2.0]))
    >>> report.verdict
    'PASS'
    """
    check = check_network if isinstance(fun, Network) else check_gradient
    return _asserted(check, fun, args, backend, allow_inconclusive, options)


def assert_vjp(
    fun: Callable[..., Any],
    vjp: Callable[..., Any] | None,
    *args: Any,
    backend: str | None = None,
    allow_inconclusive: bool = False,
    **options: Any,
) -> Report:
    """Assert that a backward pass is right, as ``xpdl.check_vjp`` checks it, and return the report.

    Parameters
    ----------
    fun, vjp : callable
        The function and its backward pass.
    *args : Any
        The point.
    backend : str, optional
        The backend that the arguments are moved to, as by ``assert_gradients``.
    allow_inconclusive : bool, default False
        Whether INCONCLUSIVE is accepted.
    **options : Any
        All keyword arguments of the check.

    Returns
    -------
    Report
        The report of the check.

    Raises
    ------
    AssertionError
        If the backward pass is wrong.
    unittest.SkipTest
        If the backend is not installed or has no device.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.testing.assert_vjp(np.sin, lambda c, x: c * np.cos(x), np.array([1.0, 2.0])).verdict
    'PASS'
    """
    return _asserted(check_vjp, fun, (vjp, *args), backend, allow_inconclusive, options)


def assert_jvp(
    fun: Callable[..., Any],
    jvp: Callable[..., Any] | None,
    *args: Any,
    backend: str | None = None,
    allow_inconclusive: bool = False,
    **options: Any,
) -> Report:
    """Assert that a forward pass is right, as ``xpdl.check_jvp`` checks it, and return the report.

    Parameters
    ----------
    fun, jvp : callable
        The function and its forward pass.
    *args : Any
        The point.
    backend : str, optional
        The backend that the arguments are moved to, as by ``assert_gradients``.
    allow_inconclusive : bool, default False
        Whether INCONCLUSIVE is accepted.
    **options : Any
        All keyword arguments of the check.

    Returns
    -------
    Report
        The report of the check.

    Raises
    ------
    AssertionError
        If the forward pass is wrong.
    unittest.SkipTest
        If the backend is not installed or has no device.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.testing.assert_jvp(np.sin, lambda t, x: np.cos(x) * t, np.array([1.0, 2.0])).verdict
    'PASS'
    """
    return _asserted(check_jvp, fun, (jvp, *args), backend, allow_inconclusive, options)


def assert_jacobian(
    fun: Callable[..., Any],
    jac: Callable[..., Any],
    *args: Any,
    backend: str | None = None,
    allow_inconclusive: bool = False,
    **options: Any,
) -> Report:
    """Assert that a Jacobian is right, as ``xpdl.check_jacobian`` checks it, and return the report.

    Parameters
    ----------
    fun, jac : callable
        The function and its Jacobian.
    *args : Any
        The point.
    backend : str, optional
        The backend that the arguments are moved to, as by ``assert_gradients``.
    allow_inconclusive : bool, default False
        Whether INCONCLUSIVE is accepted.
    **options : Any
        All keyword arguments of the check.

    Returns
    -------
    Report
        The report of the check.

    Raises
    ------
    AssertionError
        If the Jacobian is wrong.
    unittest.SkipTest
        If the backend is not installed or has no device.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> xpdl.testing.assert_jacobian(np.sin, lambda x: np.diag(np.cos(x)), np.array([1.0, 2.0])).verdict
    'PASS'
    """
    return _asserted(check_jacobian, fun, (jac, *args), backend, allow_inconclusive, options)


def _asserted(
    check: Callable[..., Report],
    fun: Any,
    args: Sequence[Any],
    backend: str | None,
    allow_inconclusive: bool,
    options: Mapping[str, Any],
) -> Report:
    """The report of a check; ``AssertionError`` unless it passes."""
    call = inspect.signature(check).bind(fun, *args, **options)
    home = connect("numpy") if backend is None else _ready(backend)
    if backend is not None:
        _move(home, call.arguments)
    with home.activate():
        report = check(*call.args, **call.kwargs)
    if report or (allow_inconclusive and report.verdict == INCONCLUSIVE):
        return report
    names = [_shown(name, value) for name, value in call.arguments.items() if name not in {*options, "options"}]
    shown = [*names, *(f"{name}={value!r}" for name, value in options.items())]
    again = f"xpdl.{check.__name__}({', '.join(shown)})" + (f"  # theta on backend {backend!r}" if backend else "")
    wrong = [_worst(p) for p in report.parameters.values() if p.verdict in (FAIL, report.verdict)]
    raise AssertionError("\n".join([str(report), "", again, *wrong]))


def _ready(name: str) -> Backend:
    try:
        return connect(name)
    except (ImportError, RuntimeError) as error:
        raise SkipTest(str(error)) from error


def _shown(name: str, value: Any) -> str:
    """A positional argument in the call that repeats a check."""
    return name if name != "args" else "theta" if len(value) == 1 else "*args"


def _move(home: Backend, call: dict[str, Any]) -> None:
    """Move the point of a check: theta of a network, or all arrays in the arguments of a function."""
    if "theta" in call:
        call["theta"] = _moved(home, call["theta"])
    else:
        arguments = Arguments(call["args"])
        call["args"] = arguments.filled({name: _moved(home, array) for name, array in arguments.arrays.items()})


def _moved(home: Backend, theta: Any) -> Any:
    try:
        return home.asarray(theta, "float64", copy=True)
    except ValueError:
        return home.asarray(theta, "float32", copy=True)


def _worst(parameter: Parameter) -> str:
    worst = parameter.worst
    numbers = f"analytic {worst.analytic!r}, numeric {worst.numeric!r}, bar {worst.bar:.1e}"
    return f"{parameter.name}{list(worst.index)}: {numbers}"
