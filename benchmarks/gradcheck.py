"""The time of a full gradient check in xpdl and in other libraries: ``python -m benchmarks.gradcheck [--rounds 5]``.

    complex step, central   xpdl.check_network, which also tells where errors are and how large
    passes                  central differences with two forward passes per entry, estimated from a sample of entries
    torch                   torch.autograd.gradcheck of the same loss in PyTorch, slow mode: all entries
    torch fast              its fast mode: one random direction
    jax                     jax.test_util.check_grads of the same loss, jitted: one random direction, reverse mode
    scipy                   scipy.optimize.check_grad of xpdl's loss and gradient: forward differences, all entries
    scipy random            the same in one random direction

All checks run in float64 in one process and take turns.  The table shows medians, and the ratio to the complex step.
"""

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
import statistics
import time
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.output import Output
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
Run = Callable[[], object]
CASES = {"64-24-24-10, n = 100": ([64, 24, 24, 10], 100), "784-256-128-10, n = 32": ([784, 256, 128, 10], 32)}
QUICK = {"8-4-3, n = 10": ([8, 4, 3], 10)}
SAMPLED = 200
"""Entries whose forward passes are timed; the time of all is estimated from them."""

MANY = 10_000
"""PyTorch and SciPy check entry by entry only networks with fewer parameters."""

COLUMNS = {"case": "", "parameters": ",d", "check": "", "scope": "", "median_s": ".4f", "ratio": ".1f"}


class Case(NamedTuple):
    """A network with parameters and samples."""

    net: xpdl.Network
    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def random(cls, sizes: list[int], n: int) -> "Case":
        """Return a network of these sizes with n random samples."""
        rng, net = np.random.default_rng(0), xpdl.Network(sizes)
        x, y = rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)
        return cls(net, net.initialize(0, "float64"), x, y)


class Check(NamedTuple):
    """A check: prepare(case) -> the function to time; its library, its scope, and its largest number of parameters."""

    prepare: Callable[[Case], Run]
    needs: str = "xpdl"
    scope: str = "all entries"
    most: float = float("inf")


@app.default
def gradcheck(
    *,
    rounds: int = 5,
    checks: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Time the checks.

    Parameters
    ----------
    rounds
        Number of runs of each check, after a first run that compiles.
    checks
        By default, all whose libraries are installed. "complex step" always runs: all are compared with it.
    quick
        One round on a tiny network, to see that it works.
    """
    skipped = {name: f"{check.needs} is not installed" for name, check in CHECKS.items() if not find_spec(check.needs)}
    wanted = [name for name in CHECKS if name not in skipped and name in {FIRST, *(checks or CHECKS)}]
    rows = []
    for title, (sizes, n) in (QUICK if quick else CASES).items():
        case = Case.random(sizes, n)
        runs = {name: CHECKS[name].prepare(case) for name in wanted if case.net.size < CHECKS[name].most}
        times = [
            {name: _seconds(name, run, case) for name, run in runs.items()} for _ in range(2 if quick else rounds + 1)
        ]
        rows += [_row(title, case, name, times[1:]) for name in runs]
    output.publish("gradcheck", COLUMNS, rows, rounds=rounds, skipped=skipped)


def _seconds(name: str, run: Run, case: Case) -> float:
    """Return the seconds of a check, scaled to all entries if it looks at a sample."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * (case.net.size / SAMPLED if name == "passes" else 1)


def _row(title: str, case: Case, name: str, times: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "case": title,
        "parameters": case.net.size,
        "check": name,
        "scope": CHECKS[name].scope,
        "median_s": statistics.median(row[name] for row in times),
        "ratio": statistics.median(row[name] / row[FIRST] for row in times),
        "rounds_s": [row[name] for row in times],
    }


def _passes(case: Case) -> Run:
    def run() -> None:
        for entry in range(SAMPLED):
            for h in (-1e-6, 1e-6):
                moved = case.theta.copy()
                moved[entry % case.net.size] += h
                case.net.loss(moved, case.x, case.y)

    return run


def _torch(case: Case, *, fast: bool) -> Run:
    import torch

    inputs, labels = torch.tensor(case.x), torch.tensor(case.y)
    parameters = [torch.tensor(array, requires_grad=True) for array in _arrays(case)]

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(_forward(parameters, inputs, torch.relu), labels)

    return lambda: torch.autograd.gradcheck(loss, parameters, raise_exception=False, fast_mode=fast)


def _jax(case: Case) -> Run:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    inputs, labels = jax.numpy.asarray(case.x), jax.numpy.asarray(case.y)
    parameters = [jax.numpy.asarray(array) for array in _arrays(case)]

    @jax.jit
    def loss(*parameters: Any) -> Any:
        scores = jax.nn.log_softmax(_forward(parameters, inputs, jax.nn.relu))
        return -jax.numpy.mean(jax.numpy.take_along_axis(scores, labels[:, None], axis=1))

    def run() -> None:
        with suppress(AssertionError):  # its verdict at kinks does not matter here
            check_grads(loss, parameters, order=1, modes=["rev"])

    return run


def _scipy(case: Case, direction: str) -> Run:
    from scipy.optimize import check_grad

    net, theta, x, y = case
    rng = np.random.default_rng(0)
    return lambda: check_grad(
        lambda theta: float(net.loss(theta, x, y)),
        lambda theta: net.loss_and_grad(theta, x, y)[1],
        theta,
        direction=direction,
        **({"rng": rng} if direction == "random" else {}),
    )


def _arrays(case: Case) -> list[np.ndarray]:
    """Return the weights, then the biases."""
    return [
        case.theta[part].reshape(shape) for part, shape in zip(case.net.layout.slices, case.net.shapes, strict=True)
    ]


def _forward(parameters: Any, a: Any, relu: Callable[[Any], Any]) -> Any:
    """Return the logits, in any library."""
    half = len(parameters) // 2
    for l, (w, b) in enumerate(zip(parameters[:half], parameters[half:], strict=True)):
        z = a @ w + b
        a = relu(z) if l < half - 1 else z
    return a


FIRST, DIRECTION = "complex step", "one direction"
CHECKS: dict[str, Check] = {
    FIRST: Check(lambda case: lambda: xpdl.check_network(*case, method="complex")),
    "central": Check(lambda case: lambda: xpdl.check_network(*case, method="central")),
    "passes": Check(_passes),
    "torch": Check(lambda case: _torch(case, fast=False), "torch", most=MANY),
    "torch fast": Check(lambda case: _torch(case, fast=True), "torch", DIRECTION),
    "jax": Check(_jax, "jax", DIRECTION),
    "scipy": Check(lambda case: _scipy(case, "all"), "scipy", most=MANY),
    "scipy random": Check(lambda case: _scipy(case, "random"), "scipy", DIRECTION),
}

if __name__ == "__main__":
    app()
