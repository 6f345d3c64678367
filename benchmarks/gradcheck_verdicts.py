"""What ``check_network`` says of right and of wrong gradients: ``python -m benchmarks.gradcheck_verdicts``.

    circles    240 ReLU networks with He weights and biases of 0: many pre-activations are exactly 0
    random     272 networks with every activation and output, L2, dropout, one sample, weights scaled by 0.01 to 1000

The gradient is right, or one of its entries that are not 0 is wrong by 0.1 %.  A right one must never fail.  A wrong
one may only pass where ``report.detects`` says that 0.1 % cannot be seen: at kinks, in float32, in saturated networks.
The exit code is 1 if anything else happens.
"""

from collections.abc import Iterator
from itertools import product
import sys
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.output import Output, Row
import xpdl
from xpdl.activations import ACTIVATIONS
from xpdl.gradcheck.report import Report

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
VERDICTS = ("PASS", "INCONCLUSIVE", "FAIL")
COLUMNS = {"networks": "", "gradient": "", "tried": "d", **dict.fromkeys(VERDICTS, "d"), "holds": ""}
CIRCLES = [[2, 5, 4, 1], [2, 5, 5, 5, 1], [2, 9, 9, 1], [2, 4, 1]]
SCALES = [1.0, 0.01, 30.0, 1000.0]
ERROR = 1e-3


class Case(NamedTuple):
    """A network at a point."""

    net: xpdl.Network
    theta: np.ndarray
    x: np.ndarray
    y: np.ndarray
    masks: list[np.ndarray] | None
    dtype: str


@app.default
def gradcheck_verdicts(
    *,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Count the verdicts.

    Parameters
    ----------
    quick
        A tenth of the networks, to see that it works.
    """
    rows = []
    for name, cases in {"circles": circles, "random": random}.items():
        checked = list(cases())[:: 10 if quick else 1]
        right, wrong = [check(case) for case in checked], [check(case, ERROR) for case in checked]
        rows += [
            _row(name, "right", right, all(report.verdict != "FAIL" for report in right)),
            _row(name, f"wrong by {ERROR:.1%}", wrong, all(_found_or_said(report) for report in wrong)),
        ]
    output.publish("gradcheck-verdicts", COLUMNS, rows)
    return int(any(row["holds"] == "NO" for row in rows))


def circles() -> Iterator[Case]:
    """Yield the networks on points of two circles."""
    points = xpdl.data.circles(seed=1)
    for sizes, seed in product(CIRCLES, range(60)):
        net = xpdl.Network(sizes, output="sigmoid")
        yield Case(net, net.initialize(seed, "float64"), points.x, points.y, None, "float64")


def random() -> Iterator[Case]:
    """Yield networks that are drawn at random, in float64 and float32."""
    for scale, dtype, seed in product(SCALES, ["float64", "float32"], range(34)):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 10, rng.integers(2, 6)).tolist()
        output, hidden, init = map(str, map(rng.choice, (["softmax", "sigmoid", "linear"], list(ACTIVATIONS), INITS)))
        net = xpdl.Network(sizes, hidden=hidden, output=output, init=init, l2=float(rng.choice([0.0, 0.1])))
        n, k = int(rng.choice([1, 2, 30, 100])), sizes[-1]
        theta = scale * net.initialize(seed, "float64") + rng.choice([0.0, 0.1]) * rng.standard_normal(net.size)
        masks = [(rng.random((n, units)) < 0.7) / 0.7 for units in sizes[1:-1]] if rng.random() < 0.5 else None
        yield Case(net, theta, rng.standard_normal((n, sizes[0])), LABELS[output](rng, n, k), masks, dtype)


INITS = ["he", "xavier", "lecun"]
LABELS: dict[str, Any] = {
    "softmax": lambda rng, n, k: rng.integers(0, k, n),
    "sigmoid": lambda rng, n, k: rng.integers(0, 2, (n, k)),
    "linear": lambda rng, n, k: rng.standard_normal((n, k)),
}


def check(case: Case, error: float = 0.0) -> Report:
    """Check the network's gradient with an error in its entry of median size, among those that are not 0."""
    net, theta, x, y, masks, dtype = case

    def grad(theta: np.ndarray) -> np.ndarray:
        right = np.array(net.loss_and_grad(theta, x.astype(dtype), y, cast)[1])
        order = np.argsort(np.abs(right))[np.count_nonzero(right == 0) :]
        right[order[len(order) // 2 :][:1]] *= 1 + error
        return right

    cast = masks and [mask.astype(dtype) for mask in masks]
    return xpdl.check_network(net, theta, x, y, grad, masks=masks, dtype=dtype)


def _found_or_said(report: Report) -> bool:
    """Return whether the error was not accepted, or the report says that it may be there."""
    return report.verdict != "PASS" or not report.detects < ERROR


def _row(networks: str, gradient: str, reports: list[Report], holds: bool) -> Row:
    counts: dict[str, Any] = {name: sum(report.verdict == name for report in reports) for name in VERDICTS}
    counts["holds"] = "yes" if holds else "NO"
    return {"networks": networks, "gradient": gradient, "tried": len(reports), **counts}


if __name__ == "__main__":
    sys.exit(app())
