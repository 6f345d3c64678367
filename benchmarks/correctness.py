"""Whether the fast path is correct: ``python -m benchmarks.correctness [--backend cupy] [--steps 100]``.

The same training runs four times: twice as the backend compiles it, once step by step without compilation, and once on
NumPy.  The first two must be equal bit for bit.  The others are equal up to rounding, which training amplifies:
``difference`` is ||a - b|| / ||b|| over theta.  The last batch of an epoch is smaller.  The exit code is 1 if a
difference exceeds its bound.
"""

from dataclasses import replace
import sys
from typing import Annotated

from cyclopts import App, Parameter
import numpy as np

from benchmarks.networks import SETUPS
from benchmarks.output import Output, Row
from benchmarks.processes import samples
import xpdl
from xpdl.backends.base import Simple
from xpdl.data import Dataset

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
BATCH, LAST, PER_EPOCH = 64, 37, 10
ROUNDING = {"float32": 1e-5, "float64": 1e-13}
"""Bounds after 100 steps.  On a CPU, NumPy differs from PyTorch and JAX by 4e-7 and 1e-15."""

COLUMNS = {"check": "", "dtype": "", "dropout": ".1f", "unequal": "d", "difference": ".2e", "bound": ".0e", "holds": ""}


@app.default
def correctness(
    *,
    backend: str = "cupy",
    steps: int = 100,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Compare the trainings.

    Parameters
    ----------
    backend
        Backend to test, such as cupy or torch:cuda.
    steps
        Steps of each training, a multiple of ten.
    quick
        Ten steps of a tiny network, to see that it works.
    """
    sizes, steps = ([784, 15, 10], 10) if quick else (SETUPS["M"].sizes, steps)
    own, data = xpdl.backend(backend), samples(quick=True)
    eager = replace(own, compile=Simple, repeat=None)
    rows = []
    for dtype, dropout in [("float32", 0.0), ("float32", 0.2), ("float64", 0.0)]:
        compiled, again, plain, host = (
            _train(sizes, data, chosen, steps, dtype, dropout) for chosen in (own, own, eager, xpdl.backend("numpy"))
        )
        rows += [
            _row("compiled = compiled again", dtype, dropout, compiled, again, 0.0),
            _row("compiled = eager", dtype, dropout, compiled, plain, ROUNDING[dtype]),
            _row(f"{backend} = numpy", dtype, dropout, compiled, host, ROUNDING[dtype]),
        ]
    print(f"{backend}, {steps} steps")
    output.publish("correctness", COLUMNS, rows, backend=backend, steps=steps)
    return int(any(row["holds"] == "NO" for row in rows))


def _train(
    sizes: list[int], data: Dataset, backend: xpdl.Backend, steps: int, dtype: str, dropout: float
) -> np.ndarray:
    """Return theta after the training."""
    n = (PER_EPOCH - 1) * BATCH + LAST
    net = xpdl.Network(sizes, dropout=dropout, inputs=data.scaling)
    options = {"batch_size": BATCH, "epochs": steps // PER_EPOCH, "dtype": dtype, "progress": False}
    return xpdl.train(net, data.x[:n], data.y[:n], backend=backend, **options).theta


def _row(check: str, dtype: str, dropout: float, a: np.ndarray, b: np.ndarray, bound: float) -> Row:
    difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    return {
        "check": check,
        "dtype": dtype,
        "dropout": dropout,
        "unequal": int(np.count_nonzero(a != b)),
        "difference": difference,
        "bound": bound,
        "holds": "yes" if difference <= bound else "NO",  # NaN is no
    }


if __name__ == "__main__":
    sys.exit(app())
