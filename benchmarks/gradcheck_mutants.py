"""Do the tests find mistakes in the gradient checker?  ``python -m benchmarks.gradcheck_mutants [--count 200]``.

Mistakes of source_mutations.py are made in the modules of xpdl/gradcheck/function, one at a time, in a copy of the
package.  A mutant is found if a test of tests/gradcheck/function fails, or does not end in time.  The tests of the
module come first, then all others, the fast ones before the slow ones; the first that fails is the last.

    found       by this test
    equivalent  nothing that a caller can see has changed: EQUIVALENT says why
    survived    the tests need to be better, or the code simpler

The exit code is 1 if less than 95 % of the mutants that are not equivalent are found.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
import math
import multiprocessing
from multiprocessing.connection import Connection
import os
from pathlib import Path
import random
import shutil
import sys
import tempfile
import time
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple
import warnings

from cyclopts import App, Parameter
import pytest

from benchmarks.machine import ROOT
from benchmarks.output import Output, Row
from benchmarks.source_mutations import Module, Mutant

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"module": "", "mutants": "d", "found": "d", "equivalent": "d", "survived": "d", "seconds": ".0f"}
MODULES, TESTS = Path("xpdl/gradcheck/function"), Path("tests/gradcheck/function")
NEEDED = ("xpdl", "tests/conftest.py", "tests/pretend", "tests/gradcheck/functions.py", str(TESTS), "pyproject.toml")
WARM = ("hypothesis", "jax", "scipy.optimize", "scipy.special", "sklearn.neural_network", "array_api_strict")
"""What the tests import, which each process then has already."""
LEAST = 0.95
"""The part of the mutants that must be found."""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("seed: int = 0,", "seed: int = 1,"): "a verdict does not depend on the seed",
    (
        "return trees[0] if len(trees) == 1 else trees",
        "return trees[(-1)] if len(trees) == 1 else trees",
    ): "the first of one is the last",
    (
        "for box.dtype in candidates[:-1]:",
        "for box.dtype in candidates[:(1)]:",
    ): "the only dtype is tried twice, and raises the same twice",
    (
        "box.value({name: tensor + COMPLEX_STEP * 1j for name, tensor in box.theta.items()})",
        "box.value({name: tensor - COMPLEX_STEP * 1j for name, tensor in box.theta.items()})",
    ): "a complex step may go either way",
    (
        "first = evidence.claim.take([0], axis)",
        "first = evidence.claim.take([(-1)], axis)",
    ): "they are the same at each index",
    ("return signs * np.abs(theta)", "return signs * np.asarray(theta)"): "the signs are random",
    (
        "basis = np.array([self.along(tensor) for tensor in hypothesis.basis]).reshape(-1, len(base)).T",
        "basis = np.array([self.along(tensor) for tensor in hypothesis.basis]).reshape(-2, len(base)).T",
    ): "any length below 0 is one that NumPy finds",
    (
        "theta = {n: t * (1 + roundings[n]) if n in low else t for n, t in box.theta.items()}",
        "theta = {n: t * (1 - roundings[n]) if n in low else t for n, t in box.theta.items()}",
    ): "roundings are of both signs",
    ("QUANTUM_BITS = range(48, -9, -2)", "QUANTUM_BITS = range(49, -9, -2)"): "about as many distances, about as far",
    ("for sign in (1, -1):", "for sign in (1, -2):"): "a side is a side, twice as far away, too",
    (
        "start = -sum(span for span in spans if span < 0)",
        "start = -sum(span for span in spans if span <= 0)",
    ): "a span of 0 adds nothing",
    (
        "start = -sum(span for span in spans if span < 0)",
        "start = -sum(span for span in spans if span < 1)",
    ): "a span of 0 adds nothing",
    (
        "if step == 0 and not np.all(values == np.take(values, [0], axis)):",
        "if step == 0 and not np.all(values == np.take(values, [(-1)], axis)):",
    ): "each value is the same as any other, the last one, too",
    (
        "spans = [(n - 1) * step for n, step in zip(values.shape, strides, strict=True)]",
        "spans = [(n + 1) * step for n, step in zip(values.shape, strides, strict=True)]",
    ): "memory that nobody reads",
    (
        "OTHER_STEP = 0.7 * COMPLEX_STEP",
        "OTHER_STEP = 2.8 * COMPLEX_STEP",
    ): "any number that is not a power of two rounds differently",
    (
        "OTHER_STEP = 0.7 * COMPLEX_STEP",
        "OTHER_STEP = 0.175 * COMPLEX_STEP",
    ): "any number that is not a power of two rounds differently",
}
"""(lines as they are, lines of the mutant) -> why nothing changes."""


class Trial(NamedTuple):
    """What the tests said of a mutant."""

    module: str
    mutant: Mutant
    found_by: str  # "" if all tests pass
    seconds: float

    @property
    def outcome(self) -> str:
        """Found, equivalent or survived."""
        return "found" if self.found_by else "equivalent" if self.mutant.diff in EQUIVALENT else "survived"

    def row(self) -> Row:
        """For the JSON."""
        before, after = self.mutant.diff
        why = self.found_by or EQUIVALENT.get(self.mutant.diff, "")
        place = f"{MODULES / self.module}.py:{self.mutant.line}"
        return {"place": place, "before": before, "after": after, "outcome": self.outcome, "why": why}


class Watch:
    """Sorts the tests, and keeps the seconds of a core of each and the name of the first that fails; for pytest."""

    def __init__(self, longest: float, known: Mapping[str, float]) -> None:
        self.longest, self.known = longest, known
        self.seconds: dict[str, float] = {}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        seconds = {item: self.known.get(item.nodeid, 0.0) for item in items}
        items[:] = sorted((item for item in items if seconds[item] <= self.longest), key=seconds.__getitem__)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        began = time.process_time()
        done = yield
        self.seconds[item.nodeid] = time.process_time() - began
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.nodeid * report.failed

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.failed = self.failed or report.nodeid * report.failed


@app.default
def gradcheck_mutants(
    *,
    count: int = 200,
    seed: int = 0,
    only: str = "",
    own: float = 0.5,
    others: float = 0.05,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> int:
    """Try mutants.

    Parameters
    ----------
    count
        Number of mutants.
    seed
        Another seed draws others.
    only
        The name of a module: mutants of no other one, and tests of no other one.
    own
        Tests of the module that take more seconds of a core are left out, so that a mutant takes seconds.
    others
        The same for tests of other modules.  Both may find more.
    quick
        Three mutants of memory_layout.py, to see that it works.
    """
    count, only = (3, "memory_layout") if quick else (count, only)
    drawn, trials = draw(count, random.Random(seed), only or "*"), list[Trial]()
    with copied() as folder:
        for trial in tried(folder, drawn, _tests(only) if only else TESTS, (own, others)):
            trials.append(trial)  # a run that is stopped leaves what it has
            output.write("gradcheck-mutants", _rows(trials), mutants=[trial.row() for trial in trials])
    rows = _rows(trials)
    output.publish("gradcheck-mutants", COLUMNS, rows, mutants=[trial.row() for trial in trials])
    return int(rows[-1]["found"] < LEAST * (rows[-1]["mutants"] - rows[-1]["equivalent"]))


def draw(count: int, dice: random.Random, only: str) -> list[tuple[str, Mutant]]:
    """Draw mutants in random order, each in a place of its own; a module with more places has more."""
    paths = sorted((ROOT / MODULES).rglob(f"{only}.py"))
    places = [(_name(path), place) for path in paths for place in Module(path.read_text("ascii")).places()]
    dice.shuffle(places)
    drawn = ((module, dice.choice(place)) for module, place in places)
    valid = (each for each in drawn if each[1].valid)
    return [each for each, _ in zip(valid, range(count), strict=False)]


def _name(path: Path) -> str:
    """The name of a module, with its folder in ``MODULES``."""
    return path.relative_to(ROOT / MODULES).with_suffix("").as_posix()


def _tests(module: str) -> Path:
    """The tests of a module."""
    return TESTS / Path(module).with_name(f"test_{Path(module).name}.py")


def _rows(trials: list[Trial]) -> list[Row]:
    names = sorted({trial.module for trial in trials})
    parts = {name: [trial for trial in trials if trial.module == name] for name in names}
    return [_row(name, part) for name, part in {**parts, "all": trials}.items()]


def _row(name: str, trials: list[Trial]) -> Row:
    outcomes = [trial.outcome for trial in trials]
    counts = {outcome: outcomes.count(outcome) for outcome in ("found", "equivalent", "survived")}
    return {"module": name, "mutants": len(trials), **counts, "seconds": sum(trial.seconds for trial in trials)}


# Running tests


@contextmanager
def copied() -> Iterator[Path]:
    """Within the block, give a folder with a copy of the package and of the tests."""
    with tempfile.TemporaryDirectory() as name:
        for needed in NEEDED:
            source, target = ROOT / needed, Path(name) / needed
            target.parent.mkdir(parents=True, exist_ok=True)
            copy: Callable[..., Any] = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, target)
        yield Path(name)


def tried(folder: Path, drawn: list[tuple[str, Mutant]], tests: Path, longest: tuple[float, float]) -> Iterator[Trial]:
    """Run the tests with each mutant; ``RuntimeError`` if they fail without one."""
    for name in WARM:
        with suppress(ImportError):
            import_module(name)
    failed, seconds = run(folder, tests, limit=1e4)
    if failed:
        raise RuntimeError(f"the tests fail without a mutant: {failed}")
    for module, mutant in drawn:
        path = folder / MODULES / f"{module}.py"
        path.write_text(mutant.text, "ascii")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        began = time.perf_counter()
        found_by = _found_by(folder, zip((_tests(module), tests), longest, strict=True), seconds)
        trial = Trial(module, mutant, found_by, time.perf_counter() - began)
        path.write_text(mutant.source, "ascii")
        print(*trial.row().values(), f"{trial.seconds:.0f} s", sep="\n    ", flush=True)
        yield trial


def _found_by(folder: Path, tests: Iterable[tuple[Path, float]], seconds: Mapping[str, float]) -> str:
    """The first test that fails, of several sets with the most seconds that a test may take."""
    for part, longest in tests:
        limit = 60 + 10 * sum(time for time in seconds.values() if time <= longest)
        failed = run(folder, part, longest, seconds, limit=limit)[0] if (folder / part).exists() else ""
        if failed:
            return failed
    return ""


def run(folder: Path, *arguments: Any, limit: float) -> tuple[str, dict[str, float]]:
    """Run tests in a process of its own: the first that fails, and the seconds of each."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, folder, *arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; it has started nothing yet
        process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit) else ("no end in time", {})
    except EOFError:
        return "the process died", {}
    finally:
        process.kill()
        process.join()


def _run(
    sender: Connection,
    folder: Path,
    tests: Path,
    longest: float = math.inf,
    known: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Run tests in this process, and send what they said."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = bool(known)  # it would be taken for that of the next mutant
    watch = Watch(longest, known)
    with Path("said").open("w") as said, redirect_stdout(said):
        code = pytest.main(["-x", "-q", "-n0", "--assert=plain", "-p", "no:cacheprovider", str(tests)], plugins=[watch])
    assert str(folder) in str(sys.modules["xpdl"].__file__)
    nothing = "no test ran" * (code not in (0, pytest.ExitCode.NO_TESTS_COLLECTED))
    sender.send((watch.failed or nothing, watch.seconds))


if __name__ == "__main__":
    sys.exit(app())
