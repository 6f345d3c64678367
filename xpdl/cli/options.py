"""The options that several commands share, each with its type and its help text.

Names in the help texts come from the tables of the library.  A new activation, loss, optimizer, initializer, data set,
file format or backend therefore shows up in every ``--help`` without an edit here.
"""

from collections.abc import Iterable
import inspect
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from xpdl.activations import ACTIVATIONS
from xpdl.backends import INSTALL, PRECISIONS
from xpdl.data.loading import FORMATS, NAMED
from xpdl.data.ranges import SCALES
from xpdl.initializers import INITIALIZERS
from xpdl.losses import LOSSES
from xpdl.optimizers import BETAS, OPTIMIZERS


def listed(names: Iterable[str], conjunction: str = "or") -> str:
    """Return the names as text: "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def default_betas(beta: str) -> str:
    """Return the defaults of "beta1" or "beta2" with the optimizers that have it: "0.9 for momentum and adam"."""
    optimizers: dict[float, list[str]] = {}
    for name, arguments in BETAS.items():
        if beta in arguments:
            default = inspect.signature(OPTIMIZERS[name]).parameters[arguments[beta]].default
            optimizers.setdefault(default, []).append(name)
    return "; ".join(f"{default} for {listed(names, 'and')}" for default, names in optimizers.items())


Whole = Annotated[int, Parameter(converter=lambda _, tokens: int(tokens[0].value))]
"""A whole number.  With ``int`` alone cyclopts would round 1.5."""

WholeNumbers = Annotated[
    list[Whole],
    Parameter(consume_multiple=True, show_default=lambda numbers: " ".join(map(str, numbers))),
]
"""Any number of whole numbers, as in ``--hidden 64 32``."""

Names = Annotated[list[str], Parameter(consume_multiple=True, show_default=False)]
"""Any number of names."""

# The data

DATA = f"Data set: {listed(NAMED)}. Or the path of {'; '.join(known.description for known in FORMATS)}."
Data = Annotated[str, Parameter(help=DATA)]
OwnData = Annotated[str | None, Parameter(help=f"{DATA} By default, the data that the model was trained on.")]
Label = Annotated[
    str | None,
    Parameter(
        help="Column of a table that is the label: its name, its number from 0, first or last. By default, the one"
        " that is called label, class, target, y, species or the like, else the last one."
    ),
]
Header = Annotated[str, Parameter(help="Whether a table begins with the names of its columns: auto, yes or no.")]
Drop = Annotated[
    list[str], Parameter(help="Columns of a table that are left out.", consume_multiple=True, show_default=False)
]
Keep = Annotated[
    list[str],
    Parameter(
        help="Columns of a table that are used, although they look like the numbers of the rows.",
        consume_multiple=True,
        show_default=False,
    ),
]
Missing = Annotated[
    str,
    Parameter(
        help="Empty cells of a table: error; mean fills them with the mean of the column, or with its most frequent "
        "text; drop leaves their rows out."
    ),
]
Task = Annotated[
    str, Parameter(help="What the labels are: classes, or the numbers of a regression. By default, the labels tell.")
]
Scale = Annotated[
    str,
    Parameter(
        help=f"What the network does to its inputs: {listed(SCALES)}. By default, pixels from 0 to 255 become 0 to 1,"
        " and the features of other files get mean 0 and standard deviation 1."
    ),
]
DataSeed = Annotated[Whole, Parameter(help="Seed of generated data.")]
Holdout = Annotated[
    float | None,
    Parameter(help="Fraction of the data that becomes the test part; by default 0.2, for data without a test part."),
]

# The network

Activation = Annotated[str, Parameter(help=f"Activation of the hidden layers: {listed(ACTIVATIONS)}.")]
Activations = Annotated[
    list[str],
    Parameter(
        help=f"Activation of the hidden layers, or one for each of them: {listed(ACTIVATIONS)}.",
        consume_multiple=True,
        show_default=" ".join,
    ),
]
Output = Annotated[
    str | None,
    Parameter(
        help=f"Output layer with its loss: {listed(LOSSES)}. A number may follow, as in huber:1.5 or quantile:0.9. By "
        "default, what fits the labels."
    ),
]
Init = Annotated[
    str, Parameter(help=f"Initial weights: {', '.join(INITIALIZERS)}, or a number, which is their standard deviation.")
]
Dropout = Annotated[float, Parameter(help="Probability of dropping a hidden unit.")]
L2 = Annotated[float, Parameter(help="L2 regularization: adds l2 / (2 n) * sum of w^2 to the cost of n samples.")]

# The training

Optimizer = Annotated[str, Parameter(help=f"Optimizer: {listed(OPTIMIZERS)}.")]
Beta1 = Annotated[
    float | None, Parameter(help=f"Decay of the running mean of gradients. Default: {default_betas('beta1')}.")
]
Beta2 = Annotated[
    float | None, Parameter(help=f"Decay of the running mean of squared gradients. Default: {default_betas('beta2')}.")
]
Seed = Annotated[
    Whole, Parameter(help="Seed of everything random. The same seed gives the same run, on every backend.")
]
Ranks = Annotated[
    Whole | None,
    Parameter(
        help="Number of processes that share the work; mpiexec starts them on this machine. On a cluster, start them "
        "yourself: mpiexec -n 64 python -m mpi4py -m xpdl COMMAND ..."
    ),
]

# The machine

Backend = Annotated[
    str,
    Parameter(
        help=f"Array library: {listed(['auto', *INSTALL])}. A device may follow, as in cupy:1 or torch:cuda. auto is "
        "a GPU if one can be used, else numpy."
    ),
]
Precision = Annotated[
    str,
    Parameter(
        help=f"Precision of matrix products of float32 numbers: {listed(PRECISIONS)}. tf32 and 3xtf32 need a GPU: tf32 "
        "is faster and less exact; 3xtf32 computes three products in tf32 and is nearly as exact as float32."
    ),
]
Dtype = Annotated[str, Parameter(help="Floating-point type: float32 or float64.")]

# Files

Force = Annotated[bool, Parameter(help="Replace a file that holds something else, or another run.", negative="")]

# Models and pictures

Model = Annotated[Path, Parameter(help="Model file that xpdl train --save has written.")]
Samples = Annotated[Whole, Parameter(help="Number of training samples to use, from the first.")]
Shape = Annotated[
    tuple[Whole, Whole] | None, Parameter(help="Height and width of an image. By default, a square.", negative="")
]
