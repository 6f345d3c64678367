"""What is compared: the same training, float32 and Adam, once with xpdl and once with each peer.

Each function trains for a number of epochs and yields the seconds of each.  x is (n, 784) uint8, y (n,) int64.
"""

from collections.abc import Callable, Iterator
import time

import numpy as np

from benchmarks.networks import LR, Setup

Contender = Callable[[np.ndarray, np.ndarray, Setup, int], Iterator[float]]


def xpdl(backend: str) -> Contender:
    """xpdl on one of its backends."""

    def run(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
        import xpdl

        net = xpdl.Network(setup.sizes)
        options = {"optimizer": xpdl.adam(LR), "batch_size": setup.batch_size, "backend": backend, "progress": False}
        yield from (metrics["seconds"] for metrics in xpdl.train(net, x, y, epochs=epochs, **options).history)

    return run


def torch_eager(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """PyTorch as most people write it, with the fused Adam."""
    import torch

    inputs, labels = torch.from_numpy(x).float() / 255, torch.from_numpy(y)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in zip(setup.sizes[:-1], setup.sizes[1:], strict=True):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    for _ in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(inputs)).split(setup.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        yield time.perf_counter() - start


CONTENDERS: dict[str, Contender] = {
    "xpdl-numpy": xpdl("numpy"),
    "xpdl-jax": xpdl("jax"),
    "xpdl-torch": xpdl("torch"),
    "torch": torch_eager,
}
