"""Checks of a library's own derivatives: ``python -m benchmarks.autodiff_duel [--sizes 10 100 1000 10000]``.

Five functions hold a custom rule for sin, a ``torch.autograd.Function`` or a ``jax.custom_jvp``.  It is right, or its
derivative of the order that is checked is wrong by 1 % in one entry.  All run in float64, with default options.

    xpdl          xpdl.check_gradient(fun, None, theta, order=...)
    torch         torch.autograd.gradcheck, torch.autograd.gradgradcheck: every entry
    torch fast    the same with fast_mode=True: one random direction
    jax           jax.test_util.check_grads: one random direction, forward and in reverse

The ratio is the CPU time of xpdl over that of the checker.  torch needs all entries of a Hessian at once, so the second
order ends at 1,000 entries.  Each checker has its own process; one that is not installed is skipped.
"""

from collections.abc import Callable, Iterator
from functools import partial
import json
import statistics
import time
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.gradcheck_duel import Arrays, Check, Said, raising
from benchmarks.output import Output, Row
from benchmarks.processes import ChildError, child as run_child
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
LARGEST = {1: 10_000, 2: 1_000}
"""The most entries by order."""
ERROR = 1e-2
COLUMNS = {"library": "", "checker": "", "order": "d", "entries": ",d", "functions": "d", "false_alarms": "d"}
COLUMNS |= {"found": "d", "cpu_ms": ".1f", "ratio": ".2f", "worst_ratio": ".2f"}

Sine = Callable[[Any], Any]
"""sin, with a rule of its own."""


class Case(NamedTuple):
    """A function at a point, and the factors that make its rule wrong: one for each entry and order."""

    function: str
    theta: np.ndarray
    data: list[np.ndarray]
    factors: dict[int, np.ndarray]

    @classmethod
    def draw(cls, name: str, size: int, order: int, error: float) -> "Case":
        """Return a case whose rule is wrong in one entry, or right if the error is 0."""
        rng = np.random.default_rng([size, *name.encode()])
        factors = {1: np.ones(size), 2: np.ones(size)}
        factors[order][rng.integers(size - 1)] += error
        return cls(name, rng.uniform(0.2, 1.4, size), [rng.standard_normal((30, size)) / size**0.5], factors)

    def put(self, xp: Any, sine: Callable[[Any, Any], Sine]) -> tuple[Callable[[Any], Any], Any]:
        """Return the function and theta in a library; ``sine(first, second)`` makes the rule from the factors."""
        first, second, theta, *data = map(xp.asarray, (*self.factors.values(), self.theta, *self.data))
        rule = sine(first, second)
        return lambda t: FUNCTIONS[self.function](xp, rule, t, data), theta


class Outcome(NamedTuple):
    """The result of one check."""

    function: str
    right: bool
    found: bool
    seconds: float


@app.default
def autodiff_duel(
    *,
    sizes: Annotated[list[int], Parameter(consume_multiple=True)] = [10, 100, 1_000, 10_000],  # noqa: B006
    libraries: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Let the checkers look at right and wrong rules.

    Parameters
    ----------
    sizes
        The numbers of entries of theta.
    libraries
        By default, all that are installed.
    quick
        Ten entries, one run, to see that it works.
    """
    rows, skipped = [], {}
    for library in libraries or CHECKERS:
        for order, size in [(1, 10)] if quick else _tried(sizes):
            try:
                rows += _rows(library, order, size, 1 if quick else 3)
            except ChildError as error:
                skipped[library] = str(error)
            output.write("autodiff-duel", rows)
    output.publish("autodiff-duel", COLUMNS, rows, functions=[*FUNCTIONS], skipped=skipped)
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")


def _tried(sizes: list[int]) -> list[tuple[int, int]]:
    return [(order, size) for order, largest in LARGEST.items() for size in sizes if size <= largest]


def _rows(library: str, order: int, size: int, runs: int) -> Iterator[Row]:
    """A row for each checker of a library, with the time of xpdl as 1."""
    ours: dict[str, float] = {}
    for checker in CHECKERS[library]:
        outcomes = [Outcome(*v) for v in run_child("autodiff_duel", library, checker, order, size, runs)]
        seconds = {o.function: o.seconds for o in outcomes if o.right}
        ours = ours or seconds
        yield {
            "library": library,
            "checker": checker,
            "order": order,
            "entries": size,
            "functions": len(seconds),
            "false_alarms": sum(o.found for o in outcomes if o.right),
            "found": sum(o.found for o in outcomes if not o.right),
            "cpu_ms": 1e3 * statistics.median(seconds.values()),
            "ratio": statistics.median(ours[name] / seconds[name] for name in ours),
            "worst_ratio": max(ours[name] / seconds[name] for name in ours),
        }


@app.command(show=False)
def child(library: str, checker: str, order: int, size: int, runs: int) -> None:
    """Run one checker and print its outcomes."""
    print(json.dumps(list(_outcomes(CHECKERS[library][checker], order, size, runs))))


def _outcomes(prepare: Callable[[Case, int], Check], order: int, size: int, runs: int) -> Iterator[Outcome]:
    prepare(Case.draw(next(iter(FUNCTIONS)), 10, order, 0.0), order)()  # imports and compiles
    for name in FUNCTIONS:
        for error in (0.0, ERROR):
            check = prepare(Case.draw(name, size, order, error), order)
            said, seconds = zip(*(_timed(check) for _ in range(runs if error == 0 else 1)), strict=True)
            yield Outcome(name, error == 0, any(one.error > 0 for one in said), min(seconds))


def _timed(check: Check) -> tuple[Said, float]:
    start = time.process_time()
    return check(), time.process_time() - start


# The checkers


def _torch_sine(first: Any, second: Any) -> Sine:
    import torch

    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            ctx.save_for_backward(t)
            return torch.cos(t)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:  # type: ignore[override]
            return -cotangent * torch.sin(ctx.saved_tensors[0]) * second

    class Sin(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            ctx.save_for_backward(t)
            return torch.sin(t)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:  # type: ignore[override]
            return cotangent * Slope.apply(*ctx.saved_tensors) * first

    rule: Sine = Sin.apply
    return rule


def _jax_sine(first: Any, second: Any) -> Sine:
    import jax

    slope = jax.custom_jvp(jax.numpy.cos)
    slope.defjvp(lambda at, along: (slope(*at), -jax.numpy.sin(*at) * second * along[0]))
    rule: Sine = jax.custom_jvp(jax.numpy.sin)
    rule.defjvp(lambda at, along: (rule(*at), slope(*at) * first * along[0]))  # type: ignore[attr-defined]
    return rule


def _torch_case(case: Case) -> tuple[Callable[[Any], Any], Any]:
    import torch

    fun, theta = case.put(torch, _torch_sine)
    return fun, theta.requires_grad_()


def _jax_case(case: Case) -> tuple[Callable[[Any], Any], Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    return case.put(jax.numpy, _jax_sine)


def _xpdl(put: Callable[[Case], tuple[Callable[[Any], Any], Any]], case: Case, order: int) -> Check:
    fun, theta = put(case)
    return lambda: Said(xpdl.check_gradient(fun, None, theta, order=order).verdict == "FAIL")


def _torch(case: Case, order: int, **options: Any) -> Check:
    import torch

    check = torch.autograd.gradcheck if order == 1 else torch.autograd.gradgradcheck
    return raising(lambda: check(*_torch_case(case), **options))


def _jax(case: Case, order: int) -> Check:
    from jax.test_util import check_grads

    fun, theta = _jax_case(case)
    return raising(lambda: check_grads(fun, (theta,), order=order))


CHECKERS: dict[str, dict[str, Callable[[Case, int], Check]]] = {
    "torch": {"xpdl": partial(_xpdl, _torch_case), "torch": _torch, "torch fast": partial(_torch, fast_mode=True)},
    "jax": {"xpdl": partial(_xpdl, _jax_case), "jax": _jax},
}
"""By library; xpdl comes first."""

# The functions


def _layer(xp: Any, sine: Sine, t: Any, data: Arrays) -> Any:
    """A layer of ten inputs each, and the mean square of its outputs."""
    z = (sine(t) * data[0][0]).reshape(10, -1)
    return xp.mean(xp.tanh(z.sum(0)) ** 2)


def _chain(xp: Any, sine: Sine, t: Any, data: Arrays) -> Any:
    s = sine(t)
    return xp.sum(10 * (t[1:] - s[:-1] ** 2) ** 2 + (1 - s[:-1]) ** 2)


FUNCTIONS: dict[str, Callable[[Any, Sine, Any, Arrays], Any]] = {
    "sines": lambda xp, sine, t, data: xp.sum(data[0][0] * sine(t)),
    "log-sum-exp": lambda xp, sine, t, data: xp.log(xp.sum(xp.exp(3 * sine(t)))),
    "layer": _layer,
    "chain": _chain,
    "regression": lambda xp, sine, t, data: xp.mean((data[0] @ sine(t) - 1) ** 2),
}

if __name__ == "__main__":
    app()
