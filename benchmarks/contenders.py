"""The contenders: the same training in float32 with Adam, by xpdl and by other libraries.

Products of float32 numbers are in float32, or in TF32 for contenders with that in their name.

A contender trains for a number of epochs and yields the seconds of each.  x is (n, 784) uint8, y (n,) int64.  If its
library or device is missing, it raises the error of that library.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
import time
from typing import Any

import numpy as np

from benchmarks.networks import LR, Setup

Contender = Callable[[np.ndarray, np.ndarray, Setup, int], Iterator[float]]


def xpdl(
    backend: str, precision: str = "float32", changed: Callable[[Any], dict[str, Any]] = lambda own: {}
) -> Contender:
    """Return the contender xpdl on one of its backends; ``changed`` may replace attributes of the backend."""

    def run(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
        import xpdl

        net = xpdl.Network(setup.sizes, inputs=xpdl.Scaling.images)
        options = {"optimizer": xpdl.adam(LR), "batch_size": setup.batch_size, "progress": False}
        own = xpdl.backend(backend, precision=precision)
        options |= {"backend": replace(own, **changed(own))}
        yield from (metrics["seconds"] for metrics in xpdl.train(net, x, y, epochs=epochs, **options).history)

    return run


def branches(own: Any) -> dict[str, Any]:
    """CuPy with graphs of two branches."""
    from xpdl.backends.cuda.graph import Repeated

    compiled = partial(own.compile, branches=True)
    return {"compile": compiled, "repeat": lambda step, offsets: Repeated(compiled(step))}


def torch(
    device: str = "cpu",
    *,
    wrap: Callable[[str], Callable[..., Any]] | None = None,
    capture: Callable[..., Any] | None = None,
    precision: str = "highest",
) -> Contender:
    """Return the contender PyTorch, written as most people do, with the fused Adam and the samples on the device.

    wrap       the name of a function of PyTorch that is applied to the model
    capture    a function that makes a faster step from the plain one
    precision  "highest", or "high" for TF32
    """

    def run(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
        import torch

        torch.set_float32_matmul_precision(precision)
        inputs, labels = torch.from_numpy(x).to(device).float() / 255, torch.from_numpy(y).to(device)
        layers: list[torch.nn.Module] = []
        for n_in, n_out in zip(setup.sizes[:-1], setup.sizes[1:], strict=True):
            layers += [torch.nn.Linear(n_in, n_out, device=device), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        model = getattr(torch, wrap)(model) if wrap else model
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True, capturable=capture is not None)

        def step(rows: Any) -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()

        step = capture(step) if capture else step
        for _ in range(epochs):
            start = time.perf_counter()
            for rows in torch.randperm(len(inputs), device=device).split(setup.batch_size):
                step(rows)
            if device == "cuda":
                torch.cuda.synchronize()
            yield time.perf_counter() - start

    return run


def cuda_graph(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return the step as a CUDA graph that reads the rows of its batch from a buffer; each batch size has its graph.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture
    """
    import torch

    @cache
    def captured(size: int) -> tuple[torch.Tensor, torch.cuda.CUDAGraph]:
        rows, graph, side = torch.arange(size, device="cuda"), torch.cuda.CUDAGraph(), torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(rows)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            step(rows)
        return rows, graph

    def replay(batch: Any) -> None:
        rows, graph = captured(len(batch))
        rows.copy_(batch)
        graph.replay()

    return replay


def jax(platform: str = "cpu", *, scanned: bool = True, precision: str = "float32") -> Contender:
    """Return the contender JAX.

    Fastest is a jitted scan over the epoch, with a jitted step for the smaller last batch; without ``scanned``, each
    batch is a jitted step.  The precision is given, because the default of JAX on a GPU is TF32.
    """

    def run(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_default_device", jax.devices(platform)[0])
        jax.config.update("jax_default_matmul_precision", precision)
        data = jnp.asarray(x, dtype=jnp.float32) / 255, jnp.asarray(y)
        batch, rng = setup.batch_size, np.random.default_rng(0)
        scan = jax.jit(
            lambda carry, order, *data: jax.lax.scan(lambda carry, rows: _jax_step(carry, rows, *data), carry, order),
            donate_argnums=0,
        )
        single = jax.jit(_jax_step, donate_argnums=0)
        carry = _jax_start(setup, rng)
        for _ in range(epochs):
            start = time.perf_counter()
            order = rng.permutation(len(x)).astype("i4")
            whole = len(x) // batch * batch if scanned else 0
            if whole:
                carry, _ = scan(carry, order[:whole].reshape(-1, batch), *data)
            for first in range(whole, len(x), batch):
                carry, _ = single(carry, order[first : first + batch], *data)
            jax.block_until_ready(carry)
            yield time.perf_counter() - start

    return run


def _jax_start(setup: Setup, rng: np.random.Generator) -> tuple[Any, ...]:
    """Return parameters, moments and the number of steps."""
    import jax
    import jax.numpy as jnp

    pairs = zip(setup.sizes[:-1], setup.sizes[1:], strict=True)
    weights = [(rng.normal(0, (2 / n) ** 0.5, (n, k)).astype("f4"), np.zeros(k, "f4")) for n, k in pairs]
    parameters = jax.tree.map(jnp.asarray, weights)
    return parameters, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters), 0.0


def _jax_step(carry: Any, rows: Any, inputs: Any, labels: Any) -> Any:
    """Return the state after a step of Adam, written by hand, and the cost."""
    import jax
    import jax.numpy as jnp

    parameters, m, v, t = carry
    cost, grads = jax.value_and_grad(_jax_loss)(parameters, inputs[rows], labels[rows])
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    rate, scale = LR / (1 - 0.9**t), 1 / (1 - 0.999**t)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + 1e-8), parameters, m, v)
    return (parameters, m, v, t), cost


def _jax_loss(parameters: Any, a: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    *hidden, (w, b) = parameters
    for u, c in hidden:
        a = jax.nn.relu(a @ u + c)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(a @ w + b), y[:, None], axis=1))


def sklearn(x: np.ndarray, y: np.ndarray, setup: Setup, epochs: int) -> Iterator[float]:
    """Run scikit-learn's MLPClassifier; a ``partial_fit`` is one epoch."""
    from sklearn.neural_network import MLPClassifier

    inputs = x.astype("f4") / 255
    model = MLPClassifier(setup.sizes[1:-1], batch_size=setup.batch_size, learning_rate_init=LR, alpha=0.0)
    for _ in range(epochs):
        start = time.perf_counter()
        model.partial_fit(inputs, y, classes=np.arange(setup.sizes[-1]))
        yield time.perf_counter() - start


CONTENDERS: dict[str, Contender] = {
    "xpdl-numpy": xpdl("numpy"),
    "xpdl-jax": xpdl("jax:cpu"),
    "xpdl-torch": xpdl("torch"),
    "torch": torch(),
    "torch-compile": torch(wrap="compile"),
    "jax-scan": jax(),
    "jax-step": jax(scanned=False),
    "sklearn": sklearn,
    # on a GPU
    "xpdl-cupy": xpdl("cupy"),
    "xpdl-cupy-one-step": xpdl("cupy", changed=lambda own: {"repeat": None}),
    "xpdl-cupy-branches": xpdl("cupy", changed=branches),
    "xpdl-torch-cuda": xpdl("torch:cuda"),
    "xpdl-jax-gpu": xpdl("jax:gpu"),
    "torch-cuda": torch("cuda"),
    "torch-cuda-compile": torch("cuda", wrap="compile"),
    "torch-graph": torch("cuda", capture=cuda_graph),
    "jax-gpu-scan": jax("gpu"),
    "jax-gpu-step": jax("gpu", scanned=False),
    "xpdl-cupy-tf32": xpdl("cupy", "tf32"),
    "xpdl-cupy-3xtf32": xpdl("cupy", "3xtf32"),
    "torch-graph-tf32": torch("cuda", capture=cuda_graph, precision="high"),
    "jax-gpu-scan-tf32": jax("gpu", precision="tensorfloat32"),
}
