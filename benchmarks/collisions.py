"""Two runs at one path, killed at random moments: ``python -m benchmarks.collisions [--kills 100]``.

An older run has left a model, a history, a checkpoint or a study.  Two runs begin at the same time with the same path,
and SIGKILL ends both at a random moment.  Whatever was there before must still be there, and a third run must be able
to go on with it.

The last line of the output is the result as JSON.  The exit code is 1 if anything was lost.
"""

from collections.abc import Callable
import json
import os
from pathlib import Path
from random import Random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, NamedTuple

from cyclopts import App
import numpy as np
import optuna

from benchmarks.processes import last_json
import xpdl
from xpdl.cli import main
from xpdl.files.checkpoint import read_sealed
from xpdl.tuning.storage import open_storage, storage_errors

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
TRAIN = "train --data {folder}/data.npz --hidden 8 --backend numpy --batch-size 8 --epochs"
TUNE = "tune --data {folder}/data.npz --backend numpy --epochs 1 --study s --storage {path} --trials"


def whole_model(older: Path, now: Path) -> bool:
    """Return whether there is a model, the older one or a new one."""
    return older.read_bytes() == now.read_bytes() or xpdl.load(now).metadata["epochs"] == 20


def all_lines(older: Path, now: Path) -> bool:
    """Return whether a history begins with that of the older run, and has whole lines but for the last."""
    lines = now.read_bytes().removeprefix(older.read_bytes()).split(b"\n")
    return now.read_bytes().startswith(older.read_bytes()) and all("epoch" in json.loads(line) for line in lines[:-1])


def all_epochs(older: Path, now: Path) -> bool:
    """Return whether a checkpoint is whole and has the epochs of the older run."""
    before, after = (read_sealed(path)[1]["history"] for path in (older, now))
    return bool(before == after[: len(before)])


def all_trials(older: Path, now: Path) -> bool:
    """Return whether a study has the trials of the older run, with their values."""
    before, after = (_trials(path) for path in (older, now))
    return before.items() <= after.items()


def _trials(path: Path) -> dict[int, Any]:
    with storage_errors():
        study = optuna.load_study(study_name="s", storage=open_storage(path))
        return {trial.number: trial.value for trial in study.trials if trial.state.is_finished()}


class Kind(NamedTuple):
    """An output: the commands of the older run and of the two others, and whether what was there is still there."""

    older: str
    newer: str
    kept: Callable[[Path, Path], bool]


KINDS = {
    "save": Kind(f"{TRAIN} 2 --save {{path}}", f"{TRAIN} 20 --save {{path}}", whole_model),
    "history": Kind(f"{TRAIN} 2 --history {{path}}", f"{TRAIN} 20 --history {{path}}", all_lines),
    "checkpoint": Kind(
        f"{TRAIN} 2 --checkpoint {{path}}", f"{TRAIN} 20 --checkpoint {{path}} --resume auto", all_epochs
    ),
    "tune": Kind(f"{TUNE} 2", f"{TUNE} 5", all_trials),
}


def fork(command: str, folder: Path, path: Path) -> int:
    """Start a command in a copy of this process, where all is imported; return the number of the process."""
    process = os.fork()
    if process:
        return process
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    code = 3
    try:
        code = main(shlex.split(command.format(folder=folder, path=path)))
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """Wait for a process, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def collide(kind: Kind, folder: Path, older: Path, seconds: float) -> bool:
    """Start two runs at one path and kill them after this time; return whether nothing is lost, then and later."""
    path = folder / "path.db"
    for rest in folder.glob("*path.db*"):  # locks, and journals of SQLite
        rest.unlink()
    shutil.copy(older, path)
    runs = [fork(kind.newer, folder, path) for _ in range(2)]
    time.sleep(seconds)
    for run in runs:
        os.kill(run, signal.SIGKILL)
        ended(run)
    try:
        return kind.kept(older, path) and ended(fork(kind.newer, folder, path)) == 0 and kind.kept(older, path)
    except (OSError, ValueError):
        return False


def collisions_of(kind: Kind, folder: Path, count: int, dice: Random) -> list[bool]:
    """Return for each of ``count`` kills whether nothing was lost."""
    older = folder / "older.db"
    older.unlink(missing_ok=True)
    if ended(fork(kind.older, folder, older)):
        raise RuntimeError(f"{kind.older} has failed")
    began = time.monotonic()
    shutil.copy(older, folder / "path.db")
    ended(fork(kind.newer, folder, folder / "path.db"))
    longest = 1.5 * (time.monotonic() - began)
    return [collide(kind, folder, older, dice.uniform(0, longest)) for _ in range(count)]


@app.default
def collisions(*, kills: int = 100, seed: int = 0) -> int:
    """Let two runs collide.

    Parameters
    ----------
    kills
        Number of pairs of runs that are killed, in all.
    seed
        Seed of the random moments.
    """
    dice, rng = Random(seed), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "data.npz", x=rng.normal(size=(200, 5)), y=np.arange(200) % 3)
        held = {name: collisions_of(kind, folder, -(-kills // len(KINDS)), dice) for name, kind in KINDS.items()}
    print(json.dumps(held))
    return int(not all(map(all, held.values())))


def collided(kills: int, seed: int = 0) -> dict[str, list[bool]]:
    """Let runs collide, in a process of its own; for each output and kill, return whether nothing was lost."""
    command = [sys.executable, "-m", "benchmarks.collisions", "--kills", str(kills), "--seed", str(seed)]
    return dict(last_json(command))


if __name__ == "__main__":
    sys.exit(app())
