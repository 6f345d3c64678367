"""Who finds one wrong entry of 2,000: ``python -m benchmarks.gradcheck_duel [--seeds 10]``.

Each checker gets the same functions, points and gradients: right ones, and ones with a single entry that is wrong by
0.1 %, 1 %, 10 % or 100 %.  All run in float64, with their default options.

    xpdl          xpdl.check_gradient
    torch         torch.autograd.gradcheck, which looks at every entry
    torch fast    torch.autograd.gradcheck(fast_mode=True): one random direction
    jax           jax.test_util.check_grads: one random direction, forward and in reverse
    jax reverse   the same with modes=["rev"]
    scipy         scipy.optimize.check_grad: every entry
    scipy random  scipy.optimize.check_grad(direction="random")

SciPy returns a number without a verdict.  Here it finds an error if the number is larger than each one that it returns
for a right gradient of the same function, although its users do not know that bound.  An entry is named if its index is
in the text of the report or the exception.  Each checker has its own process; one that is not installed is skipped.
"""

from collections.abc import Callable, Iterator
from itertools import product
import json
import re
import statistics
import time
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.output import Output, Row
from benchmarks.processes import ChildError, child as run_child
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
SIZE = 2000
ERRORS = {"found_0.1%": 1e-3, "found_1%": 1e-2, "found_10%": 0.1, "found_100%": 1.0}
RIGHT = "false_alarms"
COLUMNS = {"checker": "", "tried": "d", **dict.fromkeys(ERRORS, "d"), "named": "d", RIGHT: "d", "cpu_ms": ".1f"}

Arrays = list[Any]
Formula = Callable[[Any, Any, Arrays], Any]
"""(the library, theta, data) -> the value of a function, or its gradient."""


class Function(NamedTuple):
    """A function of 2,000 numbers, its gradient, and the data in it."""

    value: Formula
    gradient: Formula
    data: Callable[[np.random.Generator], list[np.ndarray]]


class Case(NamedTuple):
    """A function at a point; its gradient is multiplied by ``factors``."""

    function: Function
    theta: np.ndarray
    data: list[np.ndarray]
    factors: np.ndarray

    @classmethod
    def draw(cls, name: str, seed: int, error: float) -> tuple["Case", int]:
        """Return a case, and the wrong entry, whose derivative is not 0; for each error they are the same."""
        rng, function = np.random.default_rng([seed, *name.encode()]), FUNCTIONS[name]
        theta, data = rng.standard_normal(SIZE), function.data(rng)
        wrong = int(rng.choice(np.flatnonzero(function.gradient(np, theta, data))))
        factors = np.ones(SIZE)
        factors[wrong] += error
        return cls(function, theta, data, factors), wrong

    def put(self, xp: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Any]:
        """Return the function, the gradient under test, and theta, in a library."""
        *data, factors, theta = (xp.asarray(array) for array in (*self.data, self.factors, self.theta))
        function = self.function
        return (
            lambda t: function.value(xp, t, data),
            lambda t: function.gradient(xp, t, data) * factors,
            theta,
        )


class Said(NamedTuple):
    """What a checker says: an error of the gradient, above 0 if it is wrong, and the text."""

    error: float
    text: str = ""


Check = Callable[[], Said]


class Outcome(NamedTuple):
    """The result of one check."""

    function: str
    seed: int
    kind: str  # of the error: a key of ERRORS, or RIGHT
    error: float
    named: bool
    seconds: float


@app.default
def gradcheck_duel(
    *,
    seeds: int = 10,
    checkers: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Let the checkers look for one wrong entry.

    Parameters
    ----------
    seeds
        Number of points, and of wrong entries, for each function.
    checkers
        By default, all whose libraries are installed.
    quick
        One seed, to see that it works.
    """
    rows, skipped = [], {}
    for name in checkers or CHECKERS:
        try:
            outcomes = [Outcome(*values) for values in run_child("gradcheck_duel", name, 1 if quick else seeds)]
        except ChildError as error:
            skipped[name] = str(error)
        else:
            rows.append(_row(name, outcomes))
    output.publish("gradcheck-duel", COLUMNS, rows, functions=[*FUNCTIONS], skipped=skipped)
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")


@app.command(show=False)
def child(checker: str, seeds: int) -> None:
    """Run one checker and print its outcomes."""
    print(json.dumps(list(_outcomes(CHECKERS[checker], seeds))))


def _outcomes(prepare: Callable[[Case], Check], seeds: int) -> Iterator[Outcome]:
    prepare(Case.draw(next(iter(FUNCTIONS)), 0, 0.0)[0])()  # imports and compiles
    for name, seed, (kind, error) in product(FUNCTIONS, range(seeds), {RIGHT: 0.0, **ERRORS}.items()):
        case, wrong = Case.draw(name, seed, error)
        check = prepare(case)
        start = time.process_time()
        said = check()
        seconds = time.process_time() - start
        named = bool(re.search(rf"(?<![\d.]){wrong}(?![\d.])", said.text)) and error > 0
        yield Outcome(name, seed, kind, said.error, named, seconds)


def _row(checker: str, outcomes: list[Outcome]) -> Row:
    """Count what was found."""
    bounds = {name: _bound(checker, name, outcomes) for name in FUNCTIONS}
    found = [outcome for outcome in outcomes if not outcome.error <= bounds[outcome.function]]
    counts = {kind: sum(outcome.kind == kind for outcome in found) for kind in (*ERRORS, RIGHT)}
    by_function = {name: sum(o.function == name and o.kind != RIGHT for o in found) for name in FUNCTIONS}
    return {
        "checker": checker,
        "tried": sum(outcome.kind == RIGHT for outcome in outcomes),
        **counts,
        "named": sum(outcome.named for outcome in found),
        "cpu_ms": 1e3 * statistics.median(outcome.seconds for outcome in outcomes),
        "found_by_function": by_function,
    }


def _bound(checker: str, function: str, outcomes: list[Outcome]) -> float:
    """Return the largest number that SciPy returns for a right gradient; for all others, 0."""
    right = [outcome.error for outcome in outcomes if (outcome.function, outcome.kind) == (function, RIGHT)]
    return max(right, default=0.0) if checker.startswith("scipy") else 0.0


# The checkers


def _xpdl(case: Case) -> Check:
    def check() -> Said:
        report = xpdl.check_gradient(*case.put(np))
        return Said(report.verdict == "FAIL", str(report))

    return check


def _torch(case: Case, **options: Any) -> Check:
    import torch

    fun, grad, theta = case.put(torch)

    class Tested(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            ctx.save_for_backward(t)
            return fun(t)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:  # type: ignore[override]
            return cotangent * grad(*ctx.saved_tensors)

    return raising(lambda: torch.autograd.gradcheck(Tested.apply, theta.requires_grad_(), **options))


def _jax(case: Case, **options: Any) -> Check:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    fun, grad, theta = case.put(jax.numpy)
    tested = jax.custom_jvp(fun)
    tested.defjvp(lambda point, tangent: (fun(*point), grad(*point) @ tangent[0]))
    return raising(lambda: check_grads(tested, (theta,), order=1, **options))


def _scipy(case: Case, **options: Any) -> Check:
    from scipy.optimize import check_grad

    return lambda: Said(float(check_grad(*case.put(np), **options)))


def raising(run: Callable[[], object]) -> Check:
    """Return a check that finds an error if it raises; PyTorch's GradcheckError is a RuntimeError."""

    def check() -> Said:
        try:
            run()
        except (AssertionError, RuntimeError) as error:
            return Said(True, str(error))
        return Said(False)

    return check


CHECKERS: dict[str, Callable[[Case], Check]] = {
    "xpdl": _xpdl,
    "torch": _torch,
    "torch fast": lambda case: _torch(case, fast_mode=True),
    "jax": _jax,
    "jax reverse": lambda case: _jax(case, modes=["rev"]),
    "scipy": _scipy,
    "scipy random": lambda case: _scipy(case, direction="random", rng=0),
}

# The functions


def _rosenbrock(xp: Any, t: Any, data: Arrays) -> Any:
    return xp.sum(100 * (t[1:] - t[:-1] ** 2) ** 2 + (1 - t[:-1]) ** 2)


def _rosenbrock_gradient(xp: Any, t: Any, data: Arrays) -> Any:
    inner, none = t[1:] - t[:-1] ** 2, xp.zeros_like(t[:1])
    first = xp.concatenate([-400 * t[:-1] * inner - 2 * (1 - t[:-1]), none])
    return first + xp.concatenate([none, 200 * inner])


def _logistic(xp: Any, t: Any, data: Arrays) -> Any:
    """The mean of log(1 + exp(-y x t)), whose y is in x already."""
    return xp.mean(xp.log1p(xp.exp(-(data[0] @ t))))


def _logistic_gradient(xp: Any, t: Any, data: Arrays) -> Any:
    (x,) = data
    return x.T @ (-1 / (1 + xp.exp(x @ t))) / x.shape[0]


HIDDEN, INPUTS, SAMPLES = 50, 38, 30
"""A network 38-50-1 without a bias of the output has 2,000 parameters."""


def _network(relu: bool) -> tuple[Formula, Formula]:
    """The mean squared error of a network, and its gradient."""

    def forward(xp: Any, t: Any, x: Any) -> tuple[Any, Any, Any]:
        w, b, v = t[: INPUTS * HIDDEN].reshape(INPUTS, HIDDEN), t[-2 * HIDDEN : -HIDDEN], t[-HIDDEN:]
        z = x @ w + b
        a = xp.where(z > 0, z, 0 * z) if relu else xp.tanh(z)
        return z, a, v

    def value(xp: Any, t: Any, data: Arrays) -> Any:
        x, y = data
        _, a, v = forward(xp, t, x)
        return xp.mean((a @ v - y) ** 2)

    def gradient(xp: Any, t: Any, data: Arrays) -> Any:
        x, y = data
        z, a, v = forward(xp, t, x)
        dout = 2 * (a @ v - y) / SAMPLES
        dz = dout[:, None] * v * (1.0 * (z > 0) if relu else 1 - a * a)
        return xp.concatenate([(x.T @ dz).reshape(-1), xp.sum(dz, 0), a.T @ dout])

    return value, gradient


def _samples(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.standard_normal((SAMPLES, INPUTS)), rng.standard_normal(SAMPLES)]


FUNCTIONS = {
    "sines": Function(
        lambda xp, t, data: xp.sum(data[0] * xp.sin(t)),
        lambda xp, t, data: data[0] * xp.cos(t),
        lambda rng: [rng.lognormal(size=SIZE)],
    ),
    "absolute values": Function(
        lambda xp, t, data: xp.sum(data[0] * xp.abs(t)),
        lambda xp, t, data: data[0] * xp.sign(t),
        lambda rng: [rng.lognormal(size=SIZE)],
    ),
    "Rosenbrock": Function(_rosenbrock, _rosenbrock_gradient, lambda rng: []),
    "logistic regression": Function(
        _logistic, _logistic_gradient, lambda rng: [rng.standard_normal((SAMPLES, SIZE)) / SIZE**0.5]
    ),
    "tanh network": Function(*_network(relu=False), _samples),
    "ReLU network": Function(*_network(relu=True), _samples),
}

if __name__ == "__main__":
    app()
