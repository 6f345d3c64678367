"""All tests and benchmarks that need a GPU, in one command: ``python -m benchmarks.gpu [--wheels FOLDER]``.

Each part is a command in its own processes, with a budget of seconds.  A part that fails or is stopped is reported, and
the others still run.  All results are written to one file, gpu-DEVICE.json, after each part.  Without a GPU, each part
is reported as skipped.  MNIST is read from the folder in XPDL_DATA.

The machine needs CuPy.  PyTorch and JAX are compared if they are installed.  Wheels of missing packages (cyclopts with
docstring-parser and rich-rst, array-api-compat, array-api-strict, nvmath-python) are installed into a temporary folder.
For this reason the command line of this file, unlike the others, needs only the standard library.
"""

import argparse
from collections.abc import Callable, Iterable
from contextlib import suppress
import json
import os
from pathlib import Path
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

from benchmarks.machine import ROOT
from benchmarks.output import RESULTS, Output, Row, table

PEERS = "benchmarks.peers --contenders xpdl-cupy torch-cuda torch-graph jax-gpu-scan --epochs 12"
IN_TF32 = "benchmarks.peers --contenders xpdl-cupy-tf32 xpdl-cupy-3xtf32 torch-graph-tf32 jax-gpu-scan-tf32 --epochs 12"
GRAPHS = "benchmarks.peers --contenders xpdl-cupy xpdl-cupy-one-step xpdl-cupy-branches --epochs 12"
SECONDS = 470.0
GRACE = 5.0
"""No part starts with fewer seconds left."""


class Part(NamedTuple):
    """The most seconds of a part, and its command after ``python -m``."""

    budget: float
    command: str


PARTS = {
    "probe": Part(40, "benchmarks.probe"),
    "correctness": Part(45, "benchmarks.correctness --backend cupy"),
    "peers M": Part(120, f"{PEERS} --net M --rounds 3"),
    "mnist": Part(40, "benchmarks.mnist --backends cupy"),
    "tests": Part(100, 'pytest -q -p no:cacheprovider -k "cupy or gpu" tests'),
    "peers XL": Part(80, f"{PEERS} --net XL --rounds 1"),
    "peers L": Part(60, f"{PEERS} --net L --rounds 1"),
    "peers S": Part(60, f"{PEERS} --net S --rounds 1"),
    "graphs M": Part(60, f"{GRAPHS} --net M --rounds 2"),
    "scaling": Part(60, "benchmarks.scaling --backend cupy --seconds 0.3"),
    "peers XL tf32": Part(75, f"{IN_TF32} --net XL --rounds 1"),
}
"""The most important parts come first, because the time may end before all have run."""

COLUMNS = {"part": "", "status": "", "seconds": ".1f", "budget": ".0f", "said": ""}
GOALS = {"goal": "", "value": ".4g", "wanted": "", "holds": ""}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and return the exit code: 1 if one has failed."""
    options, rows, results = _options(arguments), [], {}
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch, "site")
        said = _install(options.wheels, site)
        sys.path.insert(0, str(site))
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        missing = _missing(environment)
        for name in options.parts:
            folder = Path(scratch, name.replace(" ", "-"))
            reason = missing or ("" if end - time.monotonic() > GRACE else "no time is left")
            row = {"status": "skipped", "said": reason} if reason else _run(PARTS[name], folder, environment, end)
            rows.append({"part": name, "budget": PARTS[name].budget, **row})
            results[name] = [_result(file) for file in folder.glob("*.json")]
            goals = _goals(results)
            path = Output(options.output).write("gpu", rows, wheels=said, goals=goals, results=results)
    print(table(COLUMNS, rows), "", table(GOALS, goals), path, sep="\n")
    return int(any(row["status"] in ("failed", "stopped") for row in rows))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder for the JSON (default: benchmarks/results)"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART", help=", ".join(PARTS))
    return parser.parse_args(arguments)


def _install(wheels: Path | None, site: Path) -> str:
    """Install the wheels into a folder of their own; nothing else on the machine changes."""
    files = sorted(map(str, wheels.glob("*.whl"))) if wheels else []
    if not files:
        return f"no wheels in {wheels}" if wheels else ""
    pip = "-m pip install --quiet --no-index --no-deps --no-compile --target"
    done = subprocess.run([sys.executable, *pip.split(), str(site), *files], capture_output=True, text=True)
    print(done.stderr, end="")
    return done.stderr if done.returncode else " ".join(Path(file).name for file in files)


def _missing(environment: dict[str, str]) -> str:
    """Return why CuPy cannot be used; "" if it can."""
    code = "import xpdl; xpdl.backend('cupy')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    return _last_line(done.stderr) or "no reason given" if done.returncode else ""


def _run(part: Part, folder: Path, environment: dict[str, str], end: float) -> Row:
    """Run a part until its budget or the total time is used up; then end all of its processes."""
    folder.mkdir()
    command = [sys.executable, "-m", *shlex.split(part.command)]
    command += ["--output", str(folder)] if part.command.startswith("benchmarks") else []
    log, start = folder / "log", time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = "failed" if process.wait(min(part.budget, end - start)) else "ok"
        except subprocess.TimeoutExpired:
            status = "stopped"
        finally:
            with suppress(ProcessLookupError):  # all have ended already
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = log.read_text(errors="replace")
    print(f"--- {shlex.join(command[1:])}", text, sep="\n", flush=True)
    return {"status": status, "seconds": time.monotonic() - start, "said": _last_line(text), "log": text[-20_000:]}


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _result(file: Path) -> dict[str, Any]:
    """Return the JSON of a part without the machine, which the whole file describes once."""
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["machine"]
    return content


def _goals(results: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Return the goals for a GPU with the measured values."""
    rows = {name: [row for result in found for row in result["rows"]] for name, found in results.items()}
    return [_goal(name, rows, *goal) for name, goal in WANTED.items()]


def _goal(name: str, rows: dict[str, list[Row]], find: Callable[..., float], sign: str, wanted: float) -> Row:
    try:
        value = find(rows)
    except (LookupError, StopIteration, TypeError, ValueError):  # its part did not run, or has no result
        value = None
    holds = None if value is None else "yes" if (value <= wanted if sign == "<=" else value >= wanted) else "NO"
    return {"goal": name, "value": value, "wanted": f"{sign} {wanted:g}", "holds": holds}


def _pick(rows: Iterable[Row], key: str, value: str) -> Row:
    """Return the row in which the key has this value."""
    return next(row for row in rows if row[key] == value)


def _over_best_peer(rows: list[Row]) -> float:
    """Return the time of an epoch of xpdl over that of the faster peer: the largest of the ratios."""
    return max(row["first_over_this"] for row in rows if row["contender"] in ("torch-graph", "jax-gpu-scan"))


def _of_ceiling(rows: dict[str, list[Row]]) -> float:
    return (
        _pick(rows["probe"], "what", "products XL")["value"]
        / _pick(rows["peers XL"], "contender", "xpdl-cupy")["step_us"]
    )


WANTED: dict[str, tuple[Callable[..., float], str, float]] = {
    "M, step in us": (lambda rows: _pick(rows["peers M"], "contender", "xpdl-cupy")["step_us"], "<=", 40),
    "M, xpdl / best peer": (lambda rows: _over_best_peer(rows["peers M"]), "<=", 1),
    "M, seconds of 5 epochs": (lambda rows: sum(rows["mnist"][0]["epochs_s"][:5]), "<=", 0.3),
    "M, accuracy after 5 epochs": (lambda rows: rows["mnist"][0]["accuracies"][4], ">=", 0.975),
    "XL, products / step": (_of_ceiling, ">=", 0.9),
}
"""The goals of issue 4: how to find the value, and its bound."""

if __name__ == "__main__":
    sys.exit(main())
