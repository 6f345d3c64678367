"""xpdl check: compare the gradient of a network with the numeric one."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from xpdl import checks
from xpdl.backends import backend as choose_backend
from xpdl.cli import options
from xpdl.cli.flags import network_for, one_or_each
from xpdl.data import load as load_data
from xpdl.files.model import load
from xpdl.gradcheck import check_network
from xpdl.gradcheck.demo import run_demo
from xpdl.gradcheck.network.numeric import NUMERIC_METHODS
from xpdl.training.dropout import dropout_masks

Method = Annotated[
    str,
    Parameter(help=f"How the numeric gradient is computed: {options.listed(['auto', *NUMERIC_METHODS])}."),
]


def check(
    model: Path | None = None,
    *,
    data: options.Data = "circles",
    sizes: Annotated[options.WholeNumbers, Parameter(show_default=False)] = [],  # noqa: B006
    activation: options.Activations = ["relu"],  # noqa: B006
    output: options.Output = None,
    init: options.Init = "he",
    l2: options.L2 = 0.0,
    dropout: options.Dropout = 0.0,
    samples: options.Samples = 300,
    method: Method = "auto",
    dtype: options.Dtype = "float64",
    backend: options.Backend = "numpy",
    seed: options.Whole = 0,
    demo: bool = False,
) -> int:
    """Compare the gradient of a network with the numeric one. The exit code is 1 if it is wrong.

    With dropout, the masks are those of the first training step.

    Parameters
    ----------
    model
        Model file to check, written by xpdl train --save. Without one, a new network is checked.
    sizes
        Layer sizes of the new network, from the input to the output. By default, one hidden layer of 4 units.
    seed
        Seed of the weights, the dropout masks and generated data.
    demo
        Show how the check finds a bug: one from the series of articles that this library grew from.
    """
    if demo:
        return run_demo()
    points, n = load_data(data, seed=seed), checks.integer("samples", samples, least=1)
    x, y = points.x[:n], points.y[:n]
    if model is not None:
        fresh = {"sizes": sizes, "output": output, "l2": l2, "dropout": dropout}
        _refuse_flags(model, fresh | {"activation": activation != ["relu"], "init": init != "he"})
        loaded = load(model)
        net, theta = loaded.network, loaded.theta
    else:
        network: dict[str, Any] = {"hidden": one_or_each(activation), "init": init, "l2": l2, "dropout": dropout}
        net = network_for(points, lambda d, k: sizes or [d, 4, k], output, **network)
        theta = net.initialize(seed, dtype)
    chosen = choose_backend(backend)
    masks = dropout_masks(net, len(x), seed=seed, step=0, backend=chosen, dtype=dtype)
    entered = chosen.asarray(theta, dtype)
    report = check_network(net, entered, x, y, masks=masks, method=method, dtype=dtype, progress=True)
    report.print()
    return 1 if report.verdict == "FAIL" else 0


def _refuse_flags(model: Path, flags: dict[str, Any]) -> None:
    """Refuse flags that describe a new network, because the model file already holds one."""
    for flag in (flag for flag, given in flags.items() if given):
        raise ValueError(f"--{flag} describes a new network, but {model} already holds one")
