"""xpdl check: compare the gradient of a network with the numeric one."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from xpdl import checks
from xpdl.backends import backend as choose_backend
from xpdl.cli import options
from xpdl.cli.flags import network_for, one_or_each
from xpdl.cli.model_data import data_of
from xpdl.cli.user_functions import arguments, check_functions, is_function
from xpdl.data import load as load_data
from xpdl.files.model import load
from xpdl.gradcheck import Report, check_network
from xpdl.gradcheck.demo import run_demo
from xpdl.gradcheck.network.numeric import NUMERIC_METHODS
from xpdl.training.dropout import dropout_masks

Method = Annotated[
    str,
    Parameter(help=f"How the numeric gradient is computed: {options.listed(['auto', *NUMERIC_METHODS])}."),
]


def check(
    model: str | None = None,
    derivative: str | None = None,
    *,
    shape: Annotated[list[str], Parameter(consume_multiple=True, show_default=False)] = [],  # noqa: B006
    at: Annotated[list[Path], Parameter(consume_multiple=True, show_default=False)] = [],  # noqa: B006
    vjp: bool = False,
    jvp: bool = False,
    data: options.OwnData = None,
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
    """Compare the gradient of a network, or of a function of yours, with the numeric one. Exit code 1: it is wrong.

    With dropout, the masks are those of the first training step. Your own: xpdl check layers.py:loss
    layers.py:loss_grad --shape 3 4

    Parameters
    ----------
    model
        Model file to check, written by xpdl train --save, or a function in a Python file, file.py:name. Without one, a
        new network is checked.
    derivative
        The function that returns the gradient of the first one, file.py:name.
    shape
        Shape of the argument of a function, which is random then. Several arguments: --shape 3x4 4.
    at
        Files with the arguments of a function: .npy an array, .npz a dict of arrays.
    vjp
        The second function is a backward pass, vjp(cotangent, *args), and the first one returns arrays.
    jvp
        The second function is a forward pass, jvp(tangents, *args), and the first one returns arrays.
    sizes
        Layer sizes of the new network, from the input to the output. By default, one hidden layer of 4 units.
    seed
        Seed of the weights, the dropout masks and generated data.
    demo
        Show how the check finds a bug: one from the series of articles that this library grew from.
    """
    if demo:
        return run_demo()
    if model is not None and is_function(model):
        if vjp and jvp:
            raise ValueError("--vjp and --jvp exclude each other: the second function is one of both")
        kind = "vjp" if vjp else "jvp" if jvp else "grad"
        return _check_functions(kind, model, derivative, arguments(shape, at, dtype, seed), method=method, seed=seed)
    if derivative is not None:
        raise ValueError(f"{model} is no function: file.py:name names one")
    n = checks.integer("samples", samples, least=1)
    if model is not None:
        path = Path(model)
        fresh = {"sizes": sizes, "output": output, "l2": l2, "dropout": dropout}
        _refuse_flags(path, fresh | {"activation": activation != ["relu"], "init": init != "he"})
        loaded = load(path)
        net, theta, points = loaded.network, loaded.theta, data_of(loaded, data, seed)
    else:
        points = load_data(data or "circles", seed=seed)
        network: dict[str, Any] = {"hidden": one_or_each(activation), "init": init, "l2": l2, "dropout": dropout}
        network["inputs"] = points.scaling
        net = network_for(points, lambda d, k: sizes or [d, 4, k], output, **network)
        theta = net.initialize(seed, dtype)
    chosen, x, y = choose_backend(backend), points.x[:n], points.y[:n]
    masks = dropout_masks(net, len(x), seed=seed, step=0, backend=chosen, dtype=dtype)
    entered = chosen.asarray(theta, dtype)
    report = check_network(net, entered, x, y, masks=masks, method=method, dtype=dtype, progress=True)
    return _shown(report)


def _check_functions(kind: str, fun: str, derivative: str | None, args: list[Any], **options: Any) -> int:
    if derivative is None:
        raise ValueError(f"the derivative of {fun} is missing: xpdl check {fun} file.py:name")
    return _shown(check_functions(kind, fun, derivative, args, **options))


def _shown(report: Report) -> int:
    """Print a report, and return the exit code."""
    report.print()
    return 1 if report.verdict == "FAIL" else 0


def _refuse_flags(model: Path, flags: dict[str, Any]) -> None:
    """Refuse flags that describe a new network, because the model file already holds one."""
    for flag in (flag for flag, given in flags.items() if given):
        raise ValueError(f"--{flag} describes a new network, but {model} already holds one")
