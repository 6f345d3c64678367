"""The derivative rules of PyTorch and JAX as installed, checked as they are and with a mistake of 1 % planted in each.

    python -m benchmarks.library_rules [--libraries torch jax]

Each operation is checked by ``xpdl.check_vjp(operation, None, ...)`` in float64 and float32, with arguments that lie in
rows and, in PyTorch, with strides.  A verdict other than PASS is a false alarm; for the planted mistake, other than
FAIL, it is a miss.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import product
import sys
import time
from typing import Annotated, Any, NamedTuple

from cyclopts import App, Parameter
import numpy as np

from benchmarks.output import Output, Row
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
Operation = Callable[..., Any]
COLUMNS = {"library": "", "dtype": "", "layout": "", "operations": "d", "passed": "d", "found": "d", "seconds": ".1f"}
COLUMNS |= {"not_passed": "", "not_found": ""}

UNARY = ["exp", "log", "sin", "cos", "tan", "tanh", "atan", "asinh", "sqrt", "log1p", "expm1", "square", "reciprocal"]
"""Functions of one positive argument, by their name in both libraries."""
BINARY = ["add", "multiply", "subtract", "divide", "maximum", "minimum", "pow", "atan2", "hypot", "logaddexp"]
"""Functions of two positive arguments."""


class Library(NamedTuple):
    """A library: its functions, what the others are called, and how an operation gets a wrong rule."""

    xp: Any
    put: Callable[[np.ndarray], Any]
    others: dict[str, tuple[Operation, int]]  # name: (operation, number of arguments)
    wrong: Callable[[Operation], Operation]
    layouts: Sequence[str] = ("rows",)


def torch_library() -> Library:
    """PyTorch."""
    torch = import_module("torch")
    f = torch.nn.functional
    others = {
        "matmul": (lambda a, b: a @ b.mT, 2),
        "softmax": (lambda a: f.softmax(a, -1), 1),
        "log_softmax": (lambda a: f.log_softmax(a, -1), 1),
        "logsumexp": (lambda a: torch.logsumexp(a, -1), 1),
        "layer_norm": (lambda a: f.layer_norm(a, a.shape[-1:]), 1),
        "gelu": (f.gelu, 1),
        "silu": (f.silu, 1),
        "softplus": (f.softplus, 1),
        "conv1d": (lambda a, b: f.conv1d(a[:, None], b[:, None, :3]), 2),
        "avg_pool": (lambda a: f.avg_pool1d(a[None], 2), 1),
        "cumsum": (lambda a: torch.cumsum(a, 0), 1),
        "cumprod": (lambda a: torch.cumprod(a, 0), 1),
        "prod": (lambda a: torch.prod(a, 1), 1),
        "norm": (lambda a: torch.linalg.norm(a), 1),
        "logdet": (lambda a: torch.logdet(a @ a.mT + torch.eye(a.shape[0], dtype=a.dtype)), 1),
        "inverse": (lambda a: torch.linalg.inv(a @ a.mT + torch.eye(a.shape[0], dtype=a.dtype)), 1),
        "sort": (lambda a: torch.sort(a, -1).values, 1),
        "gather": (lambda a: torch.flip(a, (0,))[:, [0, 2, 2]], 1),
        "embedding": (lambda a: f.embedding(torch.tensor([0, 2, 2]), a), 1),
        "cross_entropy": (lambda a: f.cross_entropy(a, torch.tensor([0, 1, 2])), 1),
        "huber": (lambda a, b: f.huber_loss(a, 3 * b), 2),
    }

    def wrong(operation: Operation) -> Operation:
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> Any:
                ctx.save_for_backward(*args)
                return operation(*args)

            @staticmethod
            def backward(ctx: Any, cotangent: Any) -> Any:
                with torch.enable_grad():
                    leaves = [saved.detach().requires_grad_() for saved in ctx.saved_tensors]
                    found = torch.autograd.grad(operation(*leaves), leaves, cotangent)
                return tuple(1.01 * gradient for gradient in found)

        return Wrong.apply

    return Library(torch, torch.tensor, others, wrong, tuple(LAYOUTS))


def jax_library() -> Library:
    """JAX."""
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    xp, nn = jax.numpy, jax.nn
    others = {
        "matmul": (lambda a, b: a @ b.T, 2),
        "softmax": (nn.softmax, 1),
        "log_softmax": (nn.log_softmax, 1),
        "logsumexp": (lambda a: nn.logsumexp(a, -1), 1),
        "standardize": (nn.standardize, 1),
        "gelu": (nn.gelu, 1),
        "silu": (nn.silu, 1),
        "softplus": (nn.softplus, 1),
        "convolve": (lambda a, b: xp.convolve(a[0], b[1, :3]), 2),
        "cumsum": (lambda a: xp.cumsum(a, 0), 1),
        "cumprod": (lambda a: xp.cumprod(a, 0), 1),
        "prod": (lambda a: xp.prod(a, 1), 1),
        "norm": (xp.linalg.norm, 1),
        "logdet": (lambda a: xp.linalg.slogdet(a @ a.T + xp.eye(a.shape[0], dtype=a.dtype))[1], 1),
        "inverse": (lambda a: xp.linalg.inv(a @ a.T + xp.eye(a.shape[0], dtype=a.dtype)), 1),
        "sort": (lambda a: xp.sort(a, -1), 1),
        "take": (lambda a: a[::-1][:, xp.asarray([0, 2, 2])], 1),
        "scan": (jax.jit(lambda a: jax.lax.scan(lambda c, r: (xp.tanh(c + r), c), a[0], a)[1]), 1),
        "erf": (jax.scipy.special.erf, 1),
        "gammaln": (jax.scipy.special.gammaln, 1),
        "where": (lambda a, b: xp.where(a > b, a * b, b), 2),
    }

    def wrong(operation: Operation) -> Operation:
        rule = jax.custom_vjp(operation)

        def forward(*args: Any) -> Any:
            return jax.vjp(operation, *args)

        def backward(pull: Any, cotangent: Any) -> Any:
            return jax.tree.map(lambda g: g if g.dtype == jax.dtypes.float0 else 1.01 * g, pull(cotangent))

        rule.defvjp(forward, backward)
        return rule

    return Library(xp, xp.asarray, others, wrong)


DTYPES, SHAPE = ("float64", "float32"), (3, 4)
LIBRARIES = {"torch": torch_library, "jax": jax_library}
LAYOUTS = {"rows": lambda array: array, "strided": lambda array: _strided(array)}


def _strided(array: Any) -> Any:
    """A transposed slice of every second entry, with the same values."""
    wide = array.new_zeros((2 * array.shape[1], array.shape[0]))
    wide[::2] = array.mT
    return wide[::2].mT


def operations(library: Library) -> dict[str, tuple[Operation, int]]:
    """Return all operations by name."""
    unary = {name: (getattr(library.xp, name), 1) for name in UNARY if hasattr(library.xp, name)}
    binary = {name: (getattr(library.xp, name), 2) for name in BINARY if hasattr(library.xp, name)}
    return unary | binary | library.others


@app.default
def library_rules(
    *,
    libraries: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Check the rules.

    Parameters
    ----------
    libraries
        By default, all that are installed.
    quick
        Two operations with two entries in float64, to see that it works.
    """
    rows: list[Row] = []
    for name in libraries or [name for name in LIBRARIES if find_spec(name)]:
        library = LIBRARIES[name]()
        chosen = list(operations(library).items())[: 2 if quick else None]
        for dtype, layout in product(["float64"] if quick else DTYPES, library.layouts):
            rows.append({"library": name, **_checked(library, chosen, dtype, layout, (1, 2) if quick else SHAPE)})
            output.write("library-rules", rows)
    output.publish("library-rules", COLUMNS, rows)
    return int(any(row["not_passed"] or row["not_found"] for row in rows))


def _checked(
    library: Library,
    chosen: Sequence[tuple[str, tuple[Operation, int]]],
    dtype: str,
    layout: str,
    shape: tuple[int, int],
) -> Row:
    """One row: how many rules pass as they are, and how many of the wrong ones are found."""
    began, verdicts = time.perf_counter(), {}
    for name, (operation, count) in chosen:
        drawn = np.random.default_rng(0)
        args = [LAYOUTS[layout](library.put(drawn.uniform(0.3, 1.7, shape).astype(dtype))) for _ in range(count)]
        verdicts[name] = [xpdl.check_vjp(f, None, *args).verdict for f in (operation, library.wrong(operation))]
    missed = {
        "not_passed": [f"{name} {right}" for name, (right, _) in verdicts.items() if right != "PASS"],
        "not_found": [f"{name} {wrong}" for name, (_, wrong) in verdicts.items() if wrong != "FAIL"],
    }
    return {
        "dtype": dtype,
        "layout": layout,
        "operations": len(verdicts),
        "passed": len(verdicts) - len(missed["not_passed"]),
        "found": len(verdicts) - len(missed["not_found"]),
        "seconds": time.perf_counter() - began,
        **{key: ", ".join(names) for key, names in missed.items()},
    }


if __name__ == "__main__":
    sys.exit(app())
