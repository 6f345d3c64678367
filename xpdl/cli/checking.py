"""xpdl check."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from xpdl import checks
from xpdl.backends import backend as choose_backend
from xpdl.cli.flags import Whole, network_for
from xpdl.data import load as load_data
from xpdl.files.model import load
from xpdl.gradcheck import check_network
from xpdl.gradcheck.demo import run_demo
from xpdl.training.dropout import dropout_masks


def check(
    model: Path | None = None,
    *,
    data: str = "circles",
    sizes: Annotated[list[Whole], Parameter(consume_multiple=True)] = [],  # noqa: B006
    activation: str = "relu",
    output: str | None = None,
    init: str = "he",
    l2: float = 0.0,
    dropout: float = 0.0,
    samples: Whole = 300,
    method: str = "auto",
    dtype: str = "float64",
    backend: str = "numpy",
    seed: Whole = 0,
    demo: bool = False,
) -> int:
    """Check the gradient of a network against the numeric one; exit code 1 if it is wrong.

    Parameters
    ----------
    model
        A saved model to check; without one a fresh network is.
    data
        As for ``xpdl train``.
    sizes
        Layer sizes, input first, by default one hidden layer of 4 units.
    activation
        As for ``xpdl train``.
    output
        As for ``xpdl train``.
    init
        As for ``xpdl train``.
    l2
        As for ``xpdl train``.
    dropout
        As for ``xpdl train``; the masks of the first training step are used.
    samples
        How many of the data to use.
    method
        auto, complex or central.
    dtype
        In which the gradient is computed, float64 or float32.
    backend
        As for ``xpdl train``.
    seed
        Of the weights, the masks and generated data.
    demo
        Show how a bug is found: the one of the series that this library grew from.
    """
    if demo:
        return run_demo()
    points, n = load_data(data, seed=seed), checks.integer("samples", samples, least=1)
    x, y = points.x[:n], points.y[:n]
    if model is not None:
        described = {"sizes": sizes, "output": output, "l2": l2, "dropout": dropout}
        described |= {"activation": activation != "relu", "init": init != "he"}
        for flag in (flag for flag in described if described[flag]):
            raise ValueError(f"--{flag} describes a fresh network, and {model} has one")
        loaded = load(model)
        net, theta = loaded.network, loaded.theta
    else:
        options = {"hidden": activation, "init": init, "l2": l2, "dropout": dropout}
        net = network_for(points, lambda d, k: sizes or [d, 4, k], output, options)
        theta = net.initialize(seed, dtype)
    chosen = choose_backend(backend)
    masks = dropout_masks(net, len(x), seed=seed, step=0, backend=chosen, dtype=dtype)
    entered = chosen.asarray(theta, dtype)
    report = check_network(net, entered, x, y, masks=masks, method=method, dtype=dtype, progress=True)
    report.print()
    return 1 if report.verdict == "FAIL" else 0
