"""What is compared: the same training, float32 and Adam, once with xpdl and once with each peer.

Each function trains for a number of epochs and yields the seconds of each.  x is (n, 784) uint8, y (n,) int64.
"""

from collections.abc import Callable, Iterator
import time
from typing import Any

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


def _torch_epochs(
    x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int, wrap: Callable[[Any], Any]
) -> Iterator[float]:
    import torch

    inputs, labels = torch.from_numpy(x).float() / 255, torch.from_numpy(y)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in zip(setup.sizes[:-1], setup.sizes[1:], strict=True):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = wrap(torch.nn.Sequential(*layers[:-1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    for _ in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(inputs)).split(setup.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        yield time.perf_counter() - start


def torch_eager(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """PyTorch as most people write it, with the fused Adam."""
    yield from _torch_epochs(x, y, setup, epochs, lambda model: model)


def torch_compiled(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """The same with ``torch.compile`` around loss and gradient."""
    import torch

    yield from _torch_epochs(x, y, setup, epochs, torch.compile)


def jax_scan(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """JAX as it is fastest: a whole epoch is one jitted scan, the last smaller batch a jitted step."""
    import jax
    import jax.numpy as jnp

    inputs, labels = jnp.asarray(x, dtype=jnp.float32) / 255, jnp.asarray(y)
    batch, rng = setup.batch_size, np.random.default_rng(0)

    def loss(parameters: Any, a: Any, y: Any) -> Any:
        *hidden, (w, b) = parameters
        for u, c in hidden:
            a = jax.nn.relu(a @ u + c)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(a @ w + b), y[:, None], axis=1))

    def step(carry: Any, rows: Any) -> Any:
        parameters, m, v, t = carry
        cost, grads = jax.value_and_grad(loss)(parameters, inputs[rows], labels[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        rate, scale = LR / (1 - 0.9**t), 1 / (1 - 0.999**t)
        parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + 1e-8), parameters, m, v)
        return (parameters, m, v, t), cost

    scan = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order), donate_argnums=0)
    single = jax.jit(step, donate_argnums=0)
    pairs = zip(setup.sizes[:-1], setup.sizes[1:], strict=True)
    weights = [(rng.normal(0, (2 / n) ** 0.5, (n, k)).astype("f4"), np.zeros(k, "f4")) for n, k in pairs]
    parameters = jax.tree.map(jnp.asarray, weights)
    carry = (parameters, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters), 0.0)
    for _ in range(epochs):
        start = time.perf_counter()
        order = rng.permutation(len(x)).astype("i4")
        whole = len(x) // batch * batch
        carry, _ = scan(carry, order[:whole].reshape(-1, batch))
        if whole < len(x):
            carry, _ = single(carry, order[whole:])
        jax.block_until_ready(carry)
        yield time.perf_counter() - start


def sklearn(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """scikit-learn's MLPClassifier; a ``partial_fit`` is one epoch."""
    from sklearn.neural_network import MLPClassifier

    inputs = x.astype("f4") / 255
    model = MLPClassifier(setup.sizes[1:-1], batch_size=setup.batch_size, learning_rate_init=LR, alpha=0.0)
    for _ in range(epochs):
        start = time.perf_counter()
        model.partial_fit(inputs, y, classes=np.arange(setup.sizes[-1]))
        yield time.perf_counter() - start


CONTENDERS: dict[str, Contender] = {
    "xpdl-numpy": xpdl("numpy"),
    "xpdl-jax": xpdl("jax"),
    "xpdl-torch": xpdl("torch"),
    "torch": torch_eager,
    "torch-compile": torch_compiled,
    "jax-scan": jax_scan,
    "sklearn": sklearn,
}
