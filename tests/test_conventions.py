"""The conventions of the source, read from its syntax tree: who imports whom, and what a kernel may do.

Every rule is a function from a tree to complaints, and is itself tested on a line that breaks it.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
import re
from statistics import median

import pytest

import xpdl
from xpdl.backends import INSTALL

ROOT = Path(xpdl.__file__).parent
LAYERS = """
arrays checks pickling progress pytree randomness version
activations losses initializers layout scaling network optimizers schedules
backends.base backends.denormals backends.shared
backends.kernels.operations
backends.replay
backends.kernels
backends.cuda
backends.numpy_replay backends.torch_replay backends.cupy_replay
backends
data
distributed
files
gradcheck
training callbacks
plots sklearn tuning testing origin
xpdl
cli __main__
"""
"""The house, from the ground up: a module imports what is in its own line or above it, never what is below."""

KERNELS = ["activations", "layout", "losses", "network", "optimizers", "schedules"]
KERNEL_IMPORTS = {"collections", "dataclasses", "functools", "itertools", "math", "typing", "xpdl"}

ARRAY_LIBRARIES = {"array_api_strict", "cupy", "jax", "jaxlib", "torch"}
ON_DEMAND_THEMSELVES = {"sklearn"}  # folders that nothing else imports
RANKS = {"cupyx", "mpi4py"}
ON_DEMAND = {"cupyx", "matplotlib", "mpi4py", "optuna", "pooch", "rich", "safetensors", "sklearn", "sqlalchemy"}
DEMANDED = {  # modules that need them, which are imported on demand themselves
    *("tuning.objective", "tuning.picture", "tuning.sampler", "tuning.search", "tuning.space", "tuning.storage"),
    "tuning.table",
}

ARRAY_ATTRIBUTES = {"dtype", "ndim", "shape"}
PYTHON_ATTRIBUTES = {"__setattr__", "append", "stop"}  # of lists, slices and object
WAITING = {"all", "any", "bool", "complex", "float", "int", "max", "min", "print", "round", "sum"}
PYTHON_NUMBERS = {  # module: calls of those that see no array
    "layout": {"int(self.slices[len(self.sizes) - 2].stop)"},
}
CREATION = {"arange", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros"}
KEEPS_ITS_DTYPE = {"backends.base": {"self.xp.asarray(array, device=self.device)"}}
NOT_TRACED = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"}  # shapes depend on values
NOT_ANALYTIC = {"abs", "conj", "hypot"}  # the complex step would see no derivative


TESTS = Path(__file__).parent
TESTED_ELSEWHERE = {  # module: the test file that is not of its name
    "__main__": "cli/test_cli.py",
    "xpdl": "test_public_api.py",
}

LONGEST, MEDIAN = 30, 10
"""Lines of code in the body of a function: the longest and the middle one have fewer."""

ROOT_FILES = 21
"""At most so many files are at the root of the package."""

IMPORT_BY_NAME = {"gradcheck.report", "xpdl", "backends.cuda.cublas", "backends.selection", "plots.figures", "tuning"}
"""Modules that import what they must by a computed name."""


# Reading the source


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "xpdl"


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def imports(node: ast.AST) -> Iterator[str]:
    """Full names of what is imported: ``from a import b`` is a.b."""
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield from (f"{'.' * statement.level}{statement.module}.{alias.name}" for alias in statement.names)


def imported_modules(module: str) -> set[str]:
    """The modules of xpdl that a module imports, in functions too."""
    found = set()
    for name in imports(tree(module)):
        if name.split(".")[0] == "xpdl":
            inner = name.removeprefix("xpdl").removeprefix(".")
            found.add(inner if inner in FILES else inner.rpartition(".")[0] or "xpdl")
    return found


def is_namespace(node: ast.AST) -> bool:
    """``xp``, ``self.xp``, ``namespace(x)``."""
    text = ast.unparse(node)
    return text == "xp" or text.endswith(".xp") or text.startswith("namespace(")


def members(node: ast.AST) -> set[str]:
    """Names of fields, methods and properties of the classes in a tree."""
    names = set()
    for item in (item for cls in ast.walk(node) if isinstance(cls, ast.ClassDef) for item in cls.body):
        if isinstance(item, ast.FunctionDef):
            names.add(item.name)
        elif isinstance(item, ast.AnnAssign):
            names.add(ast.unparse(item.target))
    return names


def texts(node: ast.AST) -> list[str]:
    """The string constants in a tree."""
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def functions(node: ast.AST) -> list[ast.FunctionDef]:
    """All functions and methods in a tree, those in functions too."""
    return [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]


def has_code(node: ast.AST) -> bool:
    """Whether a module does more than to import names and to give them values."""
    return any(isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Lambda)) for n in ast.walk(node))


def docstrings(node: ast.AST) -> list[ast.stmt]:
    """The docstrings in a tree."""
    owners = [n for n in ast.walk(node) if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(n)]
    return [owner.body[0] for owner in owners]


def lines_of_code(function: ast.FunctionDef, text: str) -> int:
    """The lines of a body, without docstrings, comments and blank lines."""
    lines = text.splitlines()
    documenting = {line for n in docstrings(function) for line in range(n.lineno, n.end_lineno + 1)}
    inside = set(range(function.body[0].lineno, function.end_lineno + 1)) - documenting
    return sum(not lines[line - 1].strip().startswith("#") and lines[line - 1].strip() != "" for line in inside)


def mirrored(module: str) -> str:
    """Where a module is tested: ``a/test_b.py`` for a.b, ``a/test_a.py`` for the package a itself."""
    *folders, name = module.split(".")
    if FILES[module].name == "__init__.py" and module != "xpdl":
        folders.append(name)
    return "/".join([*folders, f"test_{name}.py"])


def at(node: ast.AST) -> str:
    return f"line {node.lineno}: {ast.unparse(node)}"


# Rules: tree -> complaints


def foreign_imports(node: ast.AST) -> list[str]:
    """Imports a kernel has no business with: NumPy, random numbers, files."""
    return [name for name in imports(node) if name.split(".")[0] not in KERNEL_IMPORTS]


def library_imports(node: ast.AST) -> list[str]:
    """Imports of array libraries, also through array_api_compat."""
    return [name for name in imports(node) if ARRAY_LIBRARIES & set(name.split("."))]


def eager_imports(node: ast.AST) -> list[str]:
    """Imports of heavy libraries, and of modules that need them, which do not wait until a function needs them."""
    waiting = {n for n in ast.walk(node) if isinstance(n, ast.FunctionDef) or is_for_types(n)}
    lazy = {name for n in waiting for name in imports(n)}
    heavy = tuple(f"{name}." for name in ON_DEMAND | {f"xpdl.{module}" for module in DEMANDED})
    return [name for name in imports(node) if f"{name}.".startswith(heavy) and name not in lazy]


def is_for_types(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def hidden_imports(node: ast.AST) -> list[str]:
    """Imports whose module cannot be read from them: relative ones, and those of a computed name."""
    return [name for name in imports(node) if name.startswith(".") or name in ("importlib", "importlib.import_module")]


def attributes_of_arrays(node: ast.AST, known: frozenset[str] = frozenset()) -> list[str]:
    """Attributes that are neither shape, dtype, ndim, nor a member of our own classes: x.sum(), x.T, x.at."""
    modules = {name.rpartition(".")[2] for name in imports(node)}
    allowed = ARRAY_ATTRIBUTES | PYTHON_ATTRIBUTES | members(node) | known
    return [
        at(n)
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and n.attr not in allowed
        if not is_namespace(n.value) and ast.unparse(n.value) not in modules | {"np"}
    ]


def unknown_functions(node: ast.AST, standard: frozenset[str]) -> list[str]:
    """Functions of ``xp`` that the standard does not have, or that cannot be traced or differentiated."""
    used = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and is_namespace(n.value)]
    return [at(n) for n in used if n.attr not in standard - NOT_TRACED - NOT_ANALYTIC]


def waiting_calls(node: ast.AST, allowed: frozenset[str] = frozenset()) -> list[str]:
    """float(x), sum(x), ...: on an array of a device they wait for it, and under ``jit`` they fail; open() besides."""
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [at(n) for n in calls if n.func.id in WAITING | {"open"} and ast.unparse(n) not in allowed]


def incomplete_creations(node: ast.AST, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Arrays made without saying where and of what."""
    return [
        at(n)
        for n in ast.walk(node)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in CREATION
        if is_namespace(n.func.value) and ast.unparse(n) not in allowed
        if not {"device", "dtype"} <= {keyword.arg for keyword in n.keywords}
    ]


def branches_on_backends(node: ast.AST) -> list[str]:
    """Comparisons with the name of a backend."""
    names = {*INSTALL, *ARRAY_LIBRARIES, "auto", "cuda", "gpu"}
    asking = [
        n
        for n in ast.walk(node)
        if isinstance(n, (ast.Compare, ast.MatchValue))
        or (isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in ("startswith", "endswith"))
    ]
    return [at(n) for n in asking if any(names & {text.partition(":")[0]} for text in texts(n))]


def undocumented(node: ast.AST, name: str = "module") -> list[str]:
    """The module, public classes, functions and methods without a docstring; what stands in a function is private."""
    missing = [] if ast.get_docstring(node) else [name]
    for item in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []:
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)) and not item.name.startswith("_"):
            missing += undocumented(item, item.name)
    return missing


def unfinished(node: ast.AST) -> list[str]:
    """raise NotImplementedError."""
    return [at(n) for n in ast.walk(node) if isinstance(n, ast.Raise) and "NotImplementedError" in ast.unparse(n)]


def reminders(text: str) -> list[str]:
    return re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b.*", text)


# The source obeys


every_module = pytest.mark.parametrize("module", FILES)
every_kernel = pytest.mark.parametrize("module", KERNELS)


def layer(module: str) -> int:
    """The number of a module's line in LAYERS, by the longest name there that it begins with."""
    lines = {name: number for number, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next(lines[name] for name in names if name in lines)


@every_module
def test_no_import_points_up(module) -> None:
    assert [other for other in imported_modules(module) if layer(other) > layer(module)] == []


@every_module
def test_no_import_is_hidden_from_these_rules(module) -> None:
    assert (hidden_imports(tree(module)) != []) == (module in IMPORT_BY_NAME)


def test_the_root_has_few_files() -> None:
    assert len([path for path in ROOT.iterdir() if path.is_file()]) <= ROOT_FILES


def cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_imports_are_acyclic() -> None:
    assert cycle({module: imported_modules(module) for module in FILES}) == []


@every_module
def test_only_backends_import_array_libraries(module) -> None:
    if not module.startswith("backends."):
        assert library_imports(tree(module)) == []


@every_module
def test_only_distributed_imports_what_connects_ranks(module) -> None:
    if not module.startswith("distributed."):
        assert [name for name in imports(tree(module)) if name.split(".")[0] in RANKS] == []


@every_module
def test_heavy_libraries_are_imported_on_demand(module) -> None:
    if module.partition(".")[0] not in ON_DEMAND_THEMSELVES:
        assert (eager_imports(tree(module)) != []) == (module in DEMANDED)


@every_module
def test_what_is_imported_on_demand_is_imported_by_nothing_else(module) -> None:
    if module.partition(".")[0] not in ON_DEMAND_THEMSELVES:
        assert ON_DEMAND_THEMSELVES & {name.partition(".")[0] for name in imported_modules(module)} == set()


@every_kernel
def test_kernels_import_neither_numpy_nor_random_numbers_nor_files(module) -> None:
    assert foreign_imports(tree(module)) == []


@every_kernel
def test_kernels_use_no_array_methods(module) -> None:
    ours = frozenset().union(*(members(tree(kernel)) for kernel in KERNELS))
    assert attributes_of_arrays(tree(module), ours) == []


@every_kernel
def test_kernels_use_functions_of_the_standard(module) -> None:
    strict = pytest.importorskip("array_api_strict")
    assert unknown_functions(tree(module), frozenset(dir(strict))) == []


@every_kernel
def test_kernels_never_wait(module) -> None:
    assert waiting_calls(tree(module), frozenset(PYTHON_NUMBERS.get(module, ()))) == []


@every_module
def test_arrays_are_made_with_device_and_dtype(module) -> None:
    assert incomplete_creations(tree(module), frozenset(KEEPS_ITS_DTYPE.get(module, ()))) == []


def test_no_exception_outlives_what_it_is_for() -> None:
    for module, lines in PYTHON_NUMBERS.items():
        assert {line.partition(": ")[2] for line in waiting_calls(tree(module))} == lines
    for module, lines in KEEPS_ITS_DTYPE.items():
        assert {line.partition(": ")[2] for line in incomplete_creations(tree(module))} == lines


@every_module
def test_no_branches_on_backends(module) -> None:
    if not module.startswith("backends"):
        assert branches_on_backends(tree(module)) == []


@every_module
def test_everything_public_has_a_docstring(module) -> None:
    assert undocumented(tree(module)) == []


@every_module
def test_nothing_is_left_unfinished(module) -> None:
    assert unfinished(tree(module)) + reminders(FILES[module].read_text(encoding="utf-8")) == []


def test_every_module_with_code_has_the_test_file_of_its_name() -> None:
    expected = {m: TESTED_ELSEWHERE.get(m) or mirrored(m) for m in FILES if has_code(tree(m))}
    assert {module: name for module, name in expected.items() if not (TESTS / name).exists()} == {}


def test_no_exception_for_a_test_file_outlives_what_it_is_for() -> None:
    assert [module for module in TESTED_ELSEWHERE if (TESTS / mirrored(module)).exists()] == []


def lengths() -> dict[str, int]:
    """The lines of code of each function."""
    texts = {module: path.read_text(encoding="utf-8") for module, path in FILES.items()}
    return {
        f"{module}.{function.name} (line {function.lineno})": lines_of_code(function, text)
        for module, text in texts.items()
        for function in functions(tree(module))
    }


def test_no_function_is_long() -> None:
    assert {name: length for name, length in lengths().items() if length >= LONGEST} == {}


def test_functions_are_short_on_the_whole() -> None:
    assert median(lengths().values()) < MEDIAN


# The rules see what they are for


STANDARD = frozenset({"abs", "sum", "zeros", "nonzero"})
BROKEN = [  # rule, a text that breaks it
    (foreign_imports, "import numpy as np"),
    (foreign_imports, "from random import random"),
    (foreign_imports, "def f():\n    import os.path"),
    (foreign_imports, "from . import numpy"),
    (library_imports, "import torch"),
    (library_imports, "def f():\n    from jax import numpy"),
    (library_imports, "import array_api_compat.cupy as xp"),
    (hidden_imports, "from .training import step"),
    (hidden_imports, "def f():\n    from .. import training"),
    (hidden_imports, "from importlib import import_module"),
    (hidden_imports, "import importlib"),
    (eager_imports, "import rich"),
    (eager_imports, "from sklearn.datasets import load_digits"),
    (eager_imports, "try:\n    import pooch\nexcept ImportError:\n    pass"),
    (eager_imports, "from xpdl.tuning.search import tune"),
    (attributes_of_arrays, "x.sum()"),
    (attributes_of_arrays, "x.T"),
    (attributes_of_arrays, "xp.exp(x).astype(float)"),
    (attributes_of_arrays, "x[0].item()"),
    (lambda node: unknown_functions(node, STANDARD), "xp.einsum(x)"),
    (lambda node: unknown_functions(node, STANDARD), "namespace(x).abs(x)"),
    (lambda node: unknown_functions(node, STANDARD), "self.xp.nonzero(x)"),
    (waiting_calls, "float(x)"),
    (waiting_calls, "if bool(x): pass"),
    (waiting_calls, "sum(x)"),
    (waiting_calls, "open('x')"),
    (incomplete_creations, "xp.zeros(3)"),
    (incomplete_creations, "xp.zeros(3, dtype=t)"),
    (incomplete_creations, "namespace(x).arange(3, device=d)"),
    (incomplete_creations, "self.xp.asarray(x, t, device=d)"),
    (branches_on_backends, "if name == 'cupy': pass"),
    (branches_on_backends, "x = 1 if name in ('numpy', 'jax') else 2"),
    (branches_on_backends, "if backend.name.startswith('torch:cuda'): pass"),
    (branches_on_backends, "match name:\n    case 'jax':\n        pass"),
    (undocumented, "x = 1"),
    (undocumented, "'''.'''\ndef f(): pass"),
    (undocumented, "'''.'''\nclass C:\n    '''.'''\n    @property\n    def f(self): pass"),
    (unfinished, "raise NotImplementedError"),
    (unfinished, "def f():\n    raise NotImplementedError('later')"),
]


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_rules_see_what_breaks_them(rule, text) -> None:
    assert len(rule(ast.parse(text))) == 1


FUNCTION = """def f(x):
    '''What it does.

    And how.
    '''
    # why

    def inner():
        '''A part.'''
        return 1

    return [
        x,
        inner(),
    ]
"""


def test_lines_of_code_are_counted() -> None:
    outer, inner = functions(ast.parse(FUNCTION))
    assert [lines_of_code(function, FUNCTION) for function in (outer, inner)] == [6, 1]


def test_the_test_file_of_a_module() -> None:
    assert mirrored("losses") == "test_losses.py"
    assert mirrored("backends.cuda.graph") == "backends/cuda/test_graph.py"
    assert mirrored("backends.cuda") == "backends/cuda/test_cuda.py"


@pytest.mark.parametrize(("text", "code"), [("from a import b\nc = 1", False), ("f = lambda: 1", True)])
def test_modules_with_code_are_told_from_others(text, code) -> None:
    assert has_code(ast.parse(text)) == code


@pytest.mark.parametrize("text", ["x = 1  # TODO: more", "FIXME", '"""XXX"""'])
def test_reminders_are_seen(text) -> None:
    assert len(reminders(text)) == 1


def test_rules_leave_good_kernels_alone() -> None:
    text = '''"""A kernel."""
from collections.abc import Callable
import math
from xpdl.arrays import device, namespace

class Layer(NamedTuple):
    """A layer."""
    w: Array
    def out(self):
        """What comes out."""
        return self.w

def kernel(x, layer: Layer) -> np.ndarray:
    """Twice x, summed."""
    xp = namespace(x)
    zero = xp.zeros(x.shape, dtype=x.dtype, device=device(x))
    def inner(y): return y
    if layer.out == "sigmoid":
        raise ValueError("no backend called numpy")
    return xp.sum(math.pi * x + zero + layer.w)
'''
    node = ast.parse(text)
    for rule in {rule for rule, _ in BROKEN}:
        assert rule(node) == []
    assert reminders(text) == []


def test_cycles_are_seen() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_arrows_are_read_from_every_form_of_import(tmp_path, monkeypatch) -> None:
    source = tmp_path / "example.py"
    source.write_text(
        "import xpdl\nfrom xpdl import checks, Network\nfrom xpdl.backends.base import Backend\n"
        "import numpy\ndef f():\n    from xpdl.data import idx\n    import xpdl.network\n"
    )
    monkeypatch.setitem(FILES, "example", source)
    assert imported_modules("example") == {"xpdl", "checks", "backends.base", "data.idx", "network"}
