"""Sessions: ``nox -l`` lists them, ``nox -s tests`` runs the tests."""

from pathlib import Path
import shutil

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)  # those of the classifiers

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""The products of tests are small, and threads that wait for one another are slow on a machine with other work."""

COMPILE_ONCE = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
"""Tests compile the same JAX programs again and again.  Those of one run are kept, in JAX_COMPILATION_CACHE_DIR."""

PARALLEL = ("-n", "logical", "--maxprocesses", "16", "--dist", "worksteal")
"""A process for each core, and neighbours in a file in the same process: ``nox -s tests -- -n 0`` for one alone."""

PAGES = [
    *("xpdl", "xpdl.origin", "xpdl.randomness", "xpdl.sklearn"),
    *("xpdl.data.inputs", "xpdl.data.shard_folder", "xpdl.training.batches"),
    *("xpdl.gradcheck", "xpdl.gradcheck.report", "xpdl.gradcheck.network.bars", "xpdl.gradcheck.function.probe"),
]  # what is public, and what its docstrings refer to
PDOC = """
import pdoc.__main__, xpdl
for module in (xpdl, xpdl.tuning):  # else pdoc misses what is loaded on demand
    vars(module).update({name: getattr(module, name) for name in module.__all__})
pdoc.__main__.cli()
"""
STYLE = """
@media (min-width: 770px) { main { width: calc(64rem + var(--sidebar-width)); } }
.pdoc .docstring h6 { margin: 1rem 0 0.25rem; font-size: 1rem; font-weight: bold; }
"""  # wide enough for formulas; the sections of a docstring stand out


def group(name: str) -> list[str]:
    """The requirements of a dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def environment(session: nox.Session) -> dict[str, str]:
    """The variables of a run of the tests."""
    compiled = (session.cache_dir / f"jax-{session.name}").resolve()  # tests change the current folder
    shutil.rmtree(compiled, ignore_errors=True)
    return ONE_THREAD | COMPILE_ONCE | {"JAX_COMPILATION_CACHE_DIR": str(compiled)}


def run_tests(session: nox.Session, package: str) -> None:
    """Install the package and run the tests."""
    session.install(package, *group("test"))
    session.run("pytest", *PARALLEL, *session.posargs, env=environment(session))


@nox.session
def tests(session: nox.Session) -> None:
    """The tests on NumPy, array-api-strict and JAX, with the Python that runs nox."""
    run_tests(session, ".")


@nox.session(python=PYTHONS)
def tests_pythons(session: nox.Session) -> None:
    """The same on each Python that is installed."""
    run_tests(session, ".")


@nox.session
def tests_torch(session: nox.Session) -> None:
    """The same with PyTorch as well (a large download)."""
    run_tests(session, ".[torch]")


@nox.session(venv_backend="none")
def tests_gpu(session: nox.Session) -> None:
    """The tests in the environment as it is, for a machine with a GPU and CuPy."""
    session.run("python", "-m", "pytest", "-k", "cupy or gpu", *session.posargs)


@nox.session(python="3.14t")
def free_threaded(session: nox.Session) -> None:
    """Four threads in each of 20 processes without a GIL, where such a Python is installed."""
    session.install(".[sklearn]")
    session.run("python", "-X", "gil=0", "-m", "benchmarks.threads", "--processes", "20", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types."""
    session.install(".", *group("types"))
    session.run("mypy")


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it and run the tests against it from another folder."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build", *group("test"))
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), ".")
    session.install(*map(str, dist.glob("*.whl")))
    tests = Path("tests").resolve()
    session.chdir(session.create_tmp())
    session.run("python", "-P", "-m", "pytest", *PARALLEL, "-c", str(tests.parent / "pyproject.toml"), str(tests))


@nox.session
def docs(session: nox.Session) -> None:
    """The API pages, in build/docs; a public name without its entry is an error."""
    session.install(".[tune,sklearn]", *group("docs"))
    styles = Path(session.create_tmp())
    (styles / "custom.css").write_text(STYLE, encoding="utf-8")
    options = ["--docformat", "numpy", "--template-directory", str(styles), "--output-directory", "build/docs"]
    session.run("python", "-W", "error", "-c", PDOC, *options, *PAGES)


@nox.session
def bench(session: nox.Session) -> None:
    """A benchmark by its name, ``nox -s bench -- scaling``; without one, xpdl and PyTorch side by side."""
    name, *options = session.posargs or ["peers"]
    session.install(".[torch,tune]")
    session.run("python", "-m", f"benchmarks.{name}", *options)
