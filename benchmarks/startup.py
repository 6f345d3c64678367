"""The cost of importing and installing xpdl: ``python -m benchmarks.startup [--rounds 15] [--skip-install]``.

    import_ms      time of ``import``, in processes that take turns: Python with nothing, with numpy, with xpdl
    resident_mib   memory in use after the import
    modules        number of loaded modules after the import
    installed_mb   size of site-packages after ``pip install .`` with core dependencies only, without pip itself

Numbers with a limit are shown with it.
"""

import os
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
from typing import Annotated
import venv

from cyclopts import App, Parameter

from benchmarks.machine import ROOT
from benchmarks.output import Output, Row, table
from benchmarks.processes import last_json

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
MODULES = {"nothing": "sys", "numpy": "numpy", "xpdl": "xpdl"}
CODE = """
import json, sys, time
start = time.perf_counter()
import {module}
seconds, modules = time.perf_counter() - start, len(sys.modules)
from benchmarks.memory import resident
print(json.dumps([1e3 * seconds, resident(), modules]))
"""
FIELDS = ("import_ms", "resident_mib", "modules")
COLUMNS = {"module": "", "import_ms": ".1f", "resident_mib": ".1f", "modules": ".0f"}
VERDICTS = {"what": "", "value": ".2f", "limit": ".2f", "holds": ""}
LIMITS = {"import, xpdl / numpy": 1.5, "resident MiB, xpdl - numpy": 40.0, "installed MB": 100.0}
TOOLS = ("pip", "setuptools", "pkg_resources", "wheel", "_distutils_hack", "distutils-precedence")
"""Packages that every new environment has."""


@app.default
def startup(
    *,
    rounds: int = 15,
    skip_install: bool = False,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Measure import time, memory and size.

    Parameters
    ----------
    rounds
        Rounds of processes. One more round comes first, to fill the caches.
    skip_install
        Do not measure the installed size.
    quick
        Two rounds, to see that it works.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # keep the bytecode of the first round, as installed packages do
    commands = {name: [sys.executable, "-c", CODE.format(module=module)] for name, module in MODULES.items()}
    measured = [
        {name: last_json(command) for name, command in commands.items()} for _ in range(3 if quick else rounds + 1)
    ]
    runs = measured[1:]
    rows = [
        {"module": name} | {field: statistics.median(run[name][i] for run in runs) for i, field in enumerate(FIELDS)}
        for name in MODULES
    ]
    values = {
        "import, xpdl / numpy": statistics.median(run["xpdl"][0] / run["numpy"][0] for run in runs),
        "resident MiB, xpdl - numpy": statistics.median(run["xpdl"][1] - run["numpy"][1] for run in runs),
    }
    sizes = {} if skip_install else installed()
    values |= {"installed MB": sum(sizes.values())} if sizes else {}
    verdicts = [_verdict(what, value) for what, value in values.items()]
    print(
        table(VERDICTS, verdicts),
        *(f"  {name:<16}{size:>8.2f} MB" for name, size in sizes.items() if size > 1),
        sep="\n",
    )
    output.publish("startup", COLUMNS, rows, verdicts=verdicts, installed_mb=sizes, runs=runs)


def _verdict(what: str, value: float) -> Row:
    return {"what": what, "value": value, "limit": LIMITS[what], "holds": "yes" if value <= LIMITS[what] else "NO"}


def installed() -> dict[str, float]:
    """Return the size in MB (10^6 bytes) of each part of site-packages after a core install, the largest first."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT], check=True)
        (site,) = Path(folder).glob("[Ll]ib/**/site-packages")
        sizes = {part.name: _bytes(part) / 1e6 for part in site.iterdir() if not part.name.startswith(TOOLS)}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _bytes(part: Path) -> int:
    return sum(file.stat().st_size for file in [part, *part.rglob("*")] if file.is_file())


if __name__ == "__main__":
    app()
