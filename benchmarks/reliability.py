"""The reliability of files: ``python -m benchmarks.reliability [--kills 100] [--flips 20000] [--mutants 200000]``.

killed     A training that writes a checkpoint after each epoch is killed (SIGKILL) at a random moment.  Every third one
           is killed while it writes, which is slowed down for that.  The file must load, and a process that resumes
           from it must end with the same bits of parameters and history as a run without interruption.
collided   Two runs at one path are killed at a random moment.  Nothing that an older run has left may be lost
           (collisions.py).
flipped    One bit of a checkpoint is flipped.  Reading it must fail with ``RunFileError``.
changed    Model files, their metadata, tables, archives, journals and histories, and a tenth as many files of runs, are
           changed in many ways (mutations.py).  Each must be refused with the documented error or be read as a valid
           file.  Reading must run no code, open no other file, and need little memory and time (damage.py).

The exit code is 1 if anything fails.
"""

from dataclasses import dataclass
import itertools
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

from benchmarks.collisions import collided
from benchmarks.damage import damaged
from benchmarks.machine import ROOT
from benchmarks.output import Output, Row
import xpdl
from xpdl.files import checkpoint

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"what": "", "tried": ",d", "held": ",d", "slowest_ms": ".1f", "more_mib": ".1f", "holds": ""}
EPOCHS = 30
MEMORY = 16
"""MiB that reading damaged files may need; each file has at most a few hundred thousand bytes."""
OTHERS = ["metadata", "table", "archive", "idx", "journal", "history"]
"""The other kinds of files that damage.py knows."""
PAUSE = 0.01
"""Seconds by which each part of a slowed save is delayed."""


@dataclass(frozen=True)
class Kill:
    """The state of a killed run, and the result after resuming it."""

    in_save: bool  # the run was killed while it wrote a file
    loads: bool  # its file could be read, or there was none yet
    identical: bool  # the resumed run ended with the same bits


@app.default
def reliability(
    *,
    kills: int = 100,
    flips: int = 20_000,
    mutants: int = 200_000,
    seed: int = 0,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Kill runs, flip bits and change files.

    Parameters
    ----------
    kills
        Number of runs that are killed, and of pairs of runs at one path.
    flips
        Number of bits that are flipped, one at a time.
    mutants
        Number of model files that are changed.
    seed
        Seed of the random moments and changes.
    quick
        A few of each, to see that it works.
    """
    kills, flips, mutants = (3, 3, 30) if quick else (kills, flips, mutants)
    with tempfile.TemporaryDirectory() as name:
        killed = killed_runs(Path(name), kills, seed)
        detected = flipped_bits(Path(name), flips, seed)
    lost = collided(kills, seed)
    inside = [kill for kill in killed if kill.in_save]
    outside = [kill for kill in killed if not kill.in_save]
    rows = [
        _row("killed in a save: the file loads", [kill.loads for kill in inside]),
        _row("killed in a save: resumed to the same bits", [kill.identical for kill in inside]),
        _row("killed elsewhere: the file loads", [kill.loads for kill in outside]),
        _row("killed elsewhere: resumed to the same bits", [kill.identical for kill in outside]),
        *(_row(f"two runs at one path killed, {kind}: nothing lost", held) for kind, held in lost.items()),
        _row("one bit flipped: refused", detected),
        _changed("model files changed: refused, or read and whole", "model", mutants, seed),
        _changed("run files changed: refused", "run", mutants // 10, seed),
        _changed("run files changed and sealed again: refused, or whole", "resealed", mutants // 10, seed),
        *(_changed(f"{kind} changed: refused, or whole", kind, mutants, seed) for kind in OTHERS),
    ]
    output.publish("reliability", COLUMNS, rows)
    return int(any(row["holds"] == "NO" for row in rows))


def _row(what: str, held: list[bool]) -> Row:
    return {"what": what, "tried": len(held), "held": sum(held), "holds": "yes" if all(held) else "NO"}


def _changed(what: str, kind: str, count: int, seed: int) -> Row:
    """Read this many damaged files, and return the row of the table."""
    seen = damaged(kind, count, seed)
    holds = seen["held"] == seen["tried"] and seen["more_mib"] <= MEMORY
    return {"what": what, **seen, "holds": "yes" if holds else "NO"}


def killed_runs(folder: Path, count: int, seed: int = 0) -> list[Kill]:
    """Kill this many runs, or more until a third of them was killed in a save."""
    dice, killed, attempts = random.Random(seed), list[Kill](), itertools.count()
    expected, seconds = _uninterrupted(folder)
    while len(killed) < count or 3 * _inside(killed) < count:
        number, slowly = next(attempts), 3 * _inside(killed) <= len(killed)
        run, out = folder / f"run{number}", folder / f"out{number}"
        process = _start(run, out, PAUSE if slowly else 0.0)
        delay = dice.uniform(0, 3 * PAUSE if slowly else seconds)
        said = _kill(process, dice.randrange(EPOCHS) if slowly else None, delay)
        if process.returncode == -signal.SIGKILL:  # otherwise it had ended before
            loads = not run.exists() or not _refused(run)
            _start(run, out).communicate()
            killed.append(Kill(said == "saving", loads, _results(out) == expected))
    return killed


def _inside(killed: list[Kill]) -> int:
    return sum(kill.in_save for kill in killed)


def _uninterrupted(folder: Path) -> tuple[list[bytes | None], float]:
    """Return the results of a run without interruption, and its seconds of training."""
    process = _start(folder / "run", folder / "out")
    _wait_for("begun", process)
    began = time.monotonic()
    process.communicate()
    return _results(folder / "out"), time.monotonic() - began


def _kill(process: "subprocess.Popen[str]", save: int | None, delay: float) -> str:
    """Kill a process ``delay`` seconds after its training or a save has begun; return the last word it printed."""
    last = "begun"
    _wait_for(last, process)
    for _ in range(0 if save is None else save + 1):
        last = "saving"
        _wait_for(last, process)
    time.sleep(delay)
    process.kill()
    return [last, *process.communicate()[0].split()][-1]


def _wait_for(word: str, process: "subprocess.Popen[str]") -> None:
    """Wait until the process prints the word, or ends."""
    assert process.stdout is not None
    while process.stdout.readline() not in (f"{word}\n", ""):
        pass


def _start(run: Path, out: Path, pause: float = 0.0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.reliability", "child", str(run), str(out), "--pause", str(pause)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1)


def _results(out: Path) -> list[bytes | None]:
    """Return the bytes of parameters and history; None for a missing file."""
    files = [out.with_suffix(end) for end in (".theta.npy", ".history.npy")]
    return [file.read_bytes() if file.exists() else None for file in files]


@app.command(show=False)
def child(run: Path, out: Path, *, pause: float = 0.0) -> None:
    """Train with checkpoints in ``run``, resume from it if it exists, and write the results to ``out``."""
    _announce_saves(pause)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(250, 6)), np.arange(250) % 3
    net = xpdl.Network([6, 20, 3], dropout=0.2)
    options: dict[str, Any] = {"batch_size": 8, "backend": "numpy", "validation": (x, y), "progress": False}
    print("begun", flush=True)
    result = xpdl.train(net, x, y, epochs=EPOCHS, checkpoint=run, resume=run if run.exists() else None, **options)
    history = [[metrics[name] for name in ("epoch", "loss", "validation_loss")] for metrics in result.history]
    np.save(out.with_suffix(".theta.npy"), result.theta)
    np.save(out.with_suffix(".history.npy"), history)


def _announce_saves(pause: float) -> None:
    """Print when a save begins and ends, and slow its parts down."""
    write, sync, rename = checkpoint.write_whole, os.fsync, Path.replace

    def announced(*arguments: Any) -> None:
        print("saving", flush=True)
        write(*arguments)
        print("saved", flush=True)

    def slowly(function: Any) -> Any:
        def slow(*arguments: Any) -> Any:
            time.sleep(pause)
            return function(*arguments)

        return slow

    checkpoint.write_whole = announced
    if pause:
        os.fsync, Path.replace = slowly(sync), slowly(rename)  # type: ignore[method-assign]


def flipped_bits(folder: Path, count: int, seed: int = 0) -> list[bool]:
    """Return whether each flip of one bit is detected; the first 64 are those of the header's length."""
    path, content = folder / "flipped", (folder / "run").read_bytes()
    places = range(64), random.Random(seed).sample(range(64, 8 * len(content)), max(0, count - 64))
    detected = []
    for place in [*places[0], *places[1]][:count]:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        detected.append(_refused(path))
    return detected


def _refused(path: Path) -> bool:
    try:
        checkpoint.read_sealed(path)
    except xpdl.RunFileError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(app())
