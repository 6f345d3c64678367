"""Seconds a full gradient check takes here and elsewhere: ``python -m benchmarks.gradcheck [--rounds 5]``.

    ours         xpdl.check_network, complex step and central differences
    torch        torch.autograd.gradcheck, slow mode, of the same loss in PyTorch
    passes       central differences with a forward pass for each side of each entry, from a sample of entries

All in float64, in one process, in turn; the table shows medians and the ratio to the complex step.
"""

from collections.abc import Callable
import statistics
import time

from cyclopts import App
import numpy as np

import xpdl
from xpdl.gradcheck.network import check_network

app = App(help=__doc__, result_action="return_value")
CASES = {"64-24-24-10, n = 100": ([64, 24, 24, 10], 100), "784-256-128-10, n = 32": ([784, 256, 128, 10], 32)}
SAMPLED = 200
"""Entries whose forward passes are timed."""


@app.default
def gradcheck(*, rounds: int = 5) -> None:
    """Time the checks."""
    for title, (sizes, n) in CASES.items():
        rng = np.random.default_rng(0)
        net = xpdl.Network(sizes)
        theta, x, y = net.initialize(0, "float64"), rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)
        runs: dict[str, Callable[[], float]] = {
            "complex step": lambda: _seconds(lambda: check_network(net, theta, x, y)),
            "central": lambda: _seconds(lambda: check_network(net, theta, x, y, method="central")),
            "passes": lambda: _seconds(lambda: _passes(net, theta, x, y)) * net.size / SAMPLED,
        }
        if net.size < 10_000:
            runs["torch"] = lambda: _seconds(lambda: _torch(net, theta, x, y))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(run())
        print(f"{title}: {net.size:,} parameters")
        first = statistics.median(times["complex step"])
        for name, values in times.items():
            median = statistics.median(values)
            print(f"  {name:<14}{median:>12.4f} s{median / first:>12.1f} x")


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _passes(net: xpdl.Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for entry in range(SAMPLED):
        for h in (-1e-6, 1e-6):
            moved = theta.copy()
            moved[entry] += h
            net.loss(moved, x, y)


def _torch(net: xpdl.Network, theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    import torch

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        a, half = inputs, len(parameters) // 2
        for l, (w, b) in enumerate(zip(parameters[:half], parameters[half:], strict=True)):
            z = a @ w + b
            a = torch.relu(z) if l < half - 1 else z
        return torch.nn.functional.cross_entropy(a, labels)

    inputs, labels = torch.tensor(x), torch.tensor(y)
    parts = zip(net.layout.slices, net.shapes, strict=True)
    parameters = [torch.tensor(theta[part].reshape(shape), requires_grad=True) for part, shape in parts]
    assert torch.autograd.gradcheck(loss, parameters, raise_exception=False) is not None


if __name__ == "__main__":
    app()
