"""What happens to a job when a rank fails: ``python -m benchmarks.faults [--kills 50] [--exceptions 50]``.

A training on 2 to 4 ranks writes a checkpoint after each epoch.  Then a rank fails in one of two ways:

killed     a random rank is killed (SIGKILL) at a random moment
raising    a random rank raises an exception in a random step

All ranks must end within two seconds.  The launcher must end with an exit code other than 0 and, for an exception,
print its traceback.  The run must resume from the file, on 1 to 4 ranks, to the result of a run without a failure: the
parameters to 1e-12 of the largest, in float64, and the cost of every epoch.

The exit code is 1 if anything fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Annotated, Any

from cyclopts import App, Parameter
import numpy as np

from benchmarks.machine import ROOT
from benchmarks.output import Output, Row
from benchmarks.processes import ChildError, on_ranks
import xpdl
from xpdl.distributed import connect
from xpdl.training.distributed_step import DistributedSteps

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"what": "", "tried": "d", "held": "d", "most_s": ".2f", "holds": ""}
EPOCHS, SAMPLES, BATCH = 30, 500, 16
STEPS = EPOCHS * -(-SAMPLES // BATCH)
IN_TIME = 2.0
"""Seconds."""


@dataclass(frozen=True)
class End:
    """How a job ended, and the result of the resumed run."""

    seconds: float  # from the failure of a rank to the end of all ranks
    told: bool  # the exit code, and the traceback of an exception, told that a rank failed
    same: bool  # the resumed run has the result of a run without a failure


@app.default
def faults(
    *,
    kills: int = 50,
    exceptions: int = 50,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Let ranks fail.

    Parameters
    ----------
    kills
        Number of jobs with a rank that is killed.
    exceptions
        Number of jobs with a rank that raises an exception.
    quick
        Two of each, to see that it works.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    kills, exceptions = (2, 2) if quick else (kills, exceptions)
    dice, rows = random.Random(0), list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _wait(_start(1, folder / "alone", folder / "expected"))
        expected = _result(folder / "expected")
        for what, fail, count in (("killed", killed, kills), ("raising", raising, exceptions)):
            ends = [_end(fail, folder / f"{what}{number}", expected, dice) for number in range(count)]
            rows += _rows(what, ends)
    output.publish("faults", COLUMNS, rows)
    return int(any(row["holds"] == "NO" for row in rows))


def _rows(what: str, ends: list[End]) -> list[Row]:
    claims = {
        "all ranks end in time": [end.seconds < IN_TIME for end in ends],
        "exit code and traceback tell": [end.told for end in ends],
        "resumed to the same result": [end.same for end in ends],
    }
    longest = max((end.seconds for end in ends), default=0.0)
    return [
        {
            "what": f"{what}: {claim}",
            "tried": len(held),
            "held": sum(held),
            "most_s": longest if claim == "all ranks end in time" else None,
            "holds": "yes" if all(held) else "NO",
        }
        for claim, held in claims.items()
    ]


def _end(fail: Callable[..., tuple[float, bool]], path: Path, expected: list[np.ndarray], dice: random.Random) -> End:
    """Let a job fail, and resume its run on a random number of ranks."""
    path.mkdir()
    seconds, told = fail(path, dice)
    _wait(_start(dice.randint(1, 4), path / "run", path / "out", resume=True))
    found = _result(path / "out")
    same = all(np.allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max()) for a, b in zip(found, expected, strict=True))
    return End(seconds, told, same)


def killed(path: Path, dice: random.Random) -> tuple[float, bool]:
    """Kill a rank at a random moment between the first checkpoint and the last epoch."""
    ranks = dice.randint(2, 4)
    job = _start(ranks, path / "run", path / "out")
    seen = [path / f"rank{rank}" for rank in range(ranks)]
    while not (path / "run").exists() or not all(file.exists() and file.read_text() for file in seen):
        if job.poll():
            raise ChildError(_wait(job))
        time.sleep(0.01)
    processes = [int(file.read_text()) for file in seen]
    time.sleep(dice.uniform(0, 0.5))
    began = time.time()
    try:
        os.kill(dice.choice(processes), signal.SIGKILL)
    except ProcessLookupError:  # the run had ended before
        _wait(job)
        for file in path.iterdir():
            file.unlink()
        return killed(path, dice)
    _wait(job)
    while any(map(_runs, processes)):
        time.sleep(0.01)
    return time.time() - began, job.returncode != 0


def raising(path: Path, dice: random.Random) -> tuple[float, bool]:
    """Let a rank raise an exception in a random step."""
    ranks = dice.randint(2, 4)
    job = _start(ranks, path / "run", path / "out", at=(dice.randrange(ranks), dice.randrange(STEPS)))
    said = _wait(job)
    seconds = time.time() - float((path / "failed").read_text())
    return seconds, job.returncode != 0 and "RuntimeError: the end of this rank" in said


def _runs(process: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _start(
    ranks: int, run: Path, out: Path, *, resume: bool = False, at: tuple[int, int] | None = None
) -> "subprocess.Popen[str]":
    program = ["-m", "benchmarks.faults", "child", str(run), str(out), *(["--resume"] if resume else [])]
    program += [] if at is None else ["--rank", str(at[0]), "--step", str(at[1])]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(on_ranks(ranks, program), cwd=ROOT, **pipes)


def _wait(job: "subprocess.Popen[str]") -> str:
    """Wait for the job, and return its stderr."""
    return job.communicate()[1]


def _result(out: Path) -> list[np.ndarray]:
    """Return parameters and costs."""
    with np.load(out.with_suffix(".npz")) as file:
        return [file["theta"], file["losses"]]


@app.command(show=False)
def child(run: Path, out: Path, *, resume: bool = False, rank: int = -1, step: int = 0) -> None:
    """Train with checkpoints in ``run``, and write the result to ``out``; ``rank`` raises an exception in ``step``."""
    communicator = connect()
    if rank == communicator.rank:
        _raise_in(step, run.parent / "failed")
    (run.parent / f"rank{communicator.rank}").write_text(str(os.getpid()))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(SAMPLES, 20)), np.arange(SAMPLES) % 3
    net = xpdl.Network([20, 30, 3], dropout=0.2, l2=0.1)
    options: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "backend": "numpy", "dtype": "float64"}
    options |= {"progress": False, "validation": (x, y), "communicator": communicator}
    result = xpdl.train(net, x, y, checkpoint=run, resume=run if resume and run.exists() else None, **options)
    losses = [[epoch["loss"], epoch["validation_loss"]] for epoch in result.history]
    if communicator.rank == 0:
        np.savez(out.with_suffix(".npz"), theta=result.theta, losses=losses)


def _raise_in(step: int, mark: Path) -> None:
    """Let the step of this number fail on this rank, and write the time of it to the file ``mark``."""
    proceed, numbers = DistributedSteps.__call__, iter(range(step + 1))

    def fail(self: DistributedSteps, *arguments: Any) -> Any:
        if next(numbers) == step:
            mark.write_text(str(time.time()))
            raise RuntimeError("the end of this rank")
        return proceed(self, *arguments)

    DistributedSteps.__call__ = fail  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(app())
