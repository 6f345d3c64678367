"""Seconds a full gradient check takes here and elsewhere: ``python -m benchmarks.gradcheck [--rounds 5]``.

    ours         xpdl.check_network, complex step and central differences
    torch        torch.autograd.gradcheck, slow mode, of the same loss in PyTorch
    passes       central differences with a forward pass for each side of each entry, from a sample of entries

All in float64, in one process, in turn; the table shows medians and the ratio to the complex step.
"""

from collections.abc import Callable
import statistics
import time
from typing import NamedTuple

from cyclopts import App
import numpy as np

import xpdl
from xpdl.gradcheck.network import check_network

app = App(help=__doc__, result_action="return_value")
CASES = {"64-24-24-10, n = 100": ([64, 24, 24, 10], 100), "784-256-128-10, n = 32": ([784, 256, 128, 10], 32)}
SAMPLED = 200
"""Entries whose forward passes are timed; the others are reckoned."""

TORCH_PARAMETERS = 10_000
"""More of them PyTorch is not asked to check."""


class Case(NamedTuple):
    """What is checked."""

    net: xpdl.Network
    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray


@app.default
def gradcheck(*, rounds: int = 5) -> None:
    """Time the checks."""
    for title, (sizes, n) in CASES.items():
        rng = np.random.default_rng(0)
        net = xpdl.Network(sizes)
        case = Case(
            net, net.initialize(0, "float64"), rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)
        )
        checks = {name: check for name, check in CHECKS.items() if name != "torch" or net.size < TORCH_PARAMETERS}
        times = [{name: check(case) for name, check in checks.items()} for _ in range(rounds)]
        print(f"{title}: {net.size:,} parameters")
        for name in checks:
            ratio = statistics.median(row[name] / row["complex step"] for row in times)
            print(f"  {name:<14}{statistics.median(row[name] for row in times):>12.4f} s{ratio:>12.1f} x")


def _timed(check: Callable[[Case], object]) -> Callable[[Case], float]:
    def run(case: Case) -> float:
        start = time.perf_counter()
        check(case)
        return time.perf_counter() - start

    return run


def _passes(case: Case) -> float:
    """The seconds of all passes, by those of a sample."""
    return _timed(_sampled_passes)(case) * case.net.size / SAMPLED


def _sampled_passes(case: Case) -> None:
    for entry in range(SAMPLED):
        for h in (-1e-6, 1e-6):
            moved = case.theta.copy()
            moved[entry] += h
            case.net.loss(moved, case.x, case.y)


def _torch(case: Case) -> None:
    import torch

    inputs, labels = torch.tensor(case.x), torch.tensor(case.y)
    parts = zip(case.net.layout.slices, case.net.shapes, strict=True)
    parameters = [torch.tensor(case.theta[part].reshape(shape), requires_grad=True) for part, shape in parts]

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        a, half = inputs, len(parameters) // 2
        for l, (w, b) in enumerate(zip(parameters[:half], parameters[half:], strict=True)):
            z = a @ w + b
            a = torch.relu(z) if l < half - 1 else z
        return torch.nn.functional.cross_entropy(a, labels)

    torch.autograd.gradcheck(loss, parameters, raise_exception=False)


CHECKS: dict[str, Callable[[Case], float]] = {
    "complex step": _timed(lambda case: check_network(*case)),
    "central": _timed(lambda case: check_network(*case, method="central")),
    "passes": _passes,
    "torch": _timed(_torch),
}

if __name__ == "__main__":
    app()
