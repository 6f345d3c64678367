"""Threads do not see each other: ``python -m benchmarks.threads [--processes 200] [--threads 4]``.

In each fresh process, threads begin together and do the same jobs, each in another order: training in float32 and
float64, with dropout, from disk and in C; scoring; estimators in a cross-validation; gradient checks.  Each job must
give the bits that it gives in a process with one thread.

The exit code is 1 if a job failed or gave other bits.
"""

from collections.abc import Callable
import hashlib
import json
from pathlib import Path
import sys
import tempfile
import threading
import time
from typing import Annotated, Any
import warnings

from cyclopts import App, Parameter
import numpy as np

from benchmarks.output import Output
from benchmarks.processes import ChildError, child as run_child

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"jobs": "", "processes": ",d", "threads": "d", "tried": ",d", "equal": ",d", "seconds": ".0f", "holds": ""}
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(240, 200)).astype("float32"), np.arange(240) % 10
WIDE = [200, 700, 10]  # wide enough for kernels in C

# The jobs.  Each imports what it needs, because first imports are shared by threads, too.


def trained(x: Any = X, **options: Any) -> Any:
    """Return parameters and losses of a training."""
    import xpdl

    net = xpdl.Network(WIDE, hidden=options.pop("hidden", "relu"), dropout=options.pop("dropout", 0.0))
    result = xpdl.train(net, x, Y, epochs=2, batch_size=64, backend="numpy", progress=False, **options)
    return result.theta, [metrics["loss"] for metrics in result.history]


def trained_from_disk() -> Any:
    """Return parameters and losses of a training on samples in a mapped file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npy")
        np.save(path, X)
        return trained(np.lib.format.open_memmap(path, mode="r"))


def checkpointed() -> Any:
    """Return parameters and losses of a run that is interrupted and resumed."""
    import xpdl

    net, options = xpdl.Network([200, 20, 10]), {"backend": "numpy", "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")
        xpdl.train(net, X, Y, epochs=1, checkpoint=path, **options)  # type: ignore[arg-type]
        result = xpdl.train(net, X, Y, epochs=2, resume=path, **options)  # type: ignore[arg-type]
    return result.theta


def cross_validated() -> Any:
    """Return the scores of an estimator, with threads of its own."""
    from joblib import parallel_config
    from sklearn.model_selection import cross_val_score

    from xpdl.sklearn import NetworkClassifier

    with parallel_config("threading", n_jobs=3):
        net = NetworkClassifier((700,), max_iter=2, random_state=0)
        return cross_val_score(net, X, Y, cv=3, error_score="raise")


def checked() -> Any:
    """Return the differences of a gradient check."""
    import xpdl

    net = xpdl.Network([5, 4, 2], hidden="tanh")
    report = xpdl.check_network(net, net.initialize(0, "float64"), X[:20, :5], Y[:20] % 2)
    return report.verdict == "PASS", report.difference


JOBS: dict[str, Callable[[], Any]] = {
    "float32": trained,
    "tanh, float64": lambda: trained(hidden="tanh", dtype="float64"),
    "dropout": lambda: trained(dropout=0.3),
    "disk": trained_from_disk,
    "checkpoint": checkpointed,
    "cross-validation": cross_validated,
    "gradient check": checked,
}


def digest(found: Any) -> str:
    """Return the SHA-256 of numbers and arrays."""
    parts = found if isinstance(found, tuple) else (found,)
    return hashlib.sha256(b"".join(np.asarray(part, "float64").tobytes() for part in parts)).hexdigest()


@app.command(show=False)
def child(threads: int) -> None:
    """Do all jobs in each thread, and print what each gave, as JSON."""
    warnings.simplefilter("ignore")  # two epochs are too few for scikit-learn
    barrier, names, found = threading.Barrier(threads), [*JOBS], []

    def work(first: int) -> None:
        barrier.wait()
        for name in names[first:] + names[:first]:
            try:
                found.append((name, digest(JOBS[name]())))
            except BaseException as error:  # whatever it is, it is a finding
                found.append((name, f"{type(error).__name__}: {error}"[:200]))

    workers = [threading.Thread(target=work, args=[2 * number % len(names)]) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps(found))


@app.default
def compare(
    *,
    processes: int = 200,
    threads: int = 4,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Compare processes of several threads with one of a single thread.

    Parameters
    ----------
    processes
        Number of fresh processes.
    threads
        Threads in each.
    quick
        One process, to see that it works.
    """
    began, expected, tried, wrong = time.perf_counter(), dict(run_child("threads", 1)), 0, []
    row: dict[str, Any] = {"jobs": ", ".join(JOBS), "processes": 0, "threads": threads}
    for done in range(1, 1 + (1 if quick else processes)):
        for name, found in _outcomes(threads):
            tried += 1
            wrong += [(name, found)] if found != expected.get(name) or len(found) != len(digest(0)) else []
        row |= {"processes": done, "tried": tried, "equal": tried - len(wrong)}
        row |= {"seconds": time.perf_counter() - began, "holds": "NO" if wrong else "yes"}
        output.write("threads", [row], wrong=wrong[:20])  # a run that is stopped leaves its numbers
    output.publish("threads", COLUMNS, [row], wrong=wrong[:20])
    return int(bool(wrong))


def _outcomes(threads: int) -> list[tuple[str, str]]:
    """Return what each job gave in one process; a process that ends is an outcome, too."""
    try:
        return [(name, found) for name, found in run_child("threads", threads)]
    except ChildError as error:
        return [("process", str(error))]


if __name__ == "__main__":
    sys.exit(app())
