"""Docstrings of what is public: numpydoc finds each section, and the examples of the installed package run."""

from collections.abc import Iterator
import doctest
from functools import cached_property
from importlib import import_module
import inspect
from pathlib import Path
import sys
from types import ModuleType
from typing import Any
import warnings

from numpydoc.docscrape import get_doc_object
from numpydoc.validate import ERROR_MSGS, validate
import pytest

import xpdl

MODULES = [
    *("xpdl", "xpdl.activations", "xpdl.callbacks", "xpdl.data", "xpdl.distributed", "xpdl.losses", "xpdl.optimizers"),
    *("xpdl.plots", "xpdl.schedules", "xpdl.sklearn", "xpdl.testing", "xpdl.tuning"),
]

SUMMARY = {"GL08", "SS01", "SS02", "SS03", "SS06"}  # there is one: a sentence, on one line
PARAMETERS = {"PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR10"}  # exactly those of the signature
RETURNS = {"RT01", "RT03", "YD01"}
SECTIONS = {"GL03", "GL05", "GL06", "GL07", "GL10"}  # known ones in their order
REQUIRED = SUMMARY | PARAMETERS | RETURNS | SECTIONS
"""What the codes say is in numpydoc.validate.ERROR_MSGS."""

EXAMPLE = {"EX01"}

OURS = {"xpdl", __name__.partition(".")[0]}
"""Packages whose classes are checked: xpdl, and this file for the classes below."""


def import_or_skip(name: str) -> ModuleType:
    """The module, or a skip that names the library it needs."""
    try:
        return import_module(name)
    except ImportError as error:
        if (error.name or "xpdl").partition(".")[0] == "xpdl":
            raise
        pytest.skip(f"{name} needs {error.name}")


def public_names(module: ModuleType) -> list[str]:
    """``__all__``; without one, what is defined there."""
    ours = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return list(getattr(module, "__all__", [name for name in ours if not name.startswith("_")]))


def is_documented(value: Any) -> bool:
    """Whether help() shows a docstring of its own; instances show that of their class."""
    return inspect.isclass(value) or inspect.isfunction(value)


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class has, inherited ones included; those of other libraries are not."""
    values: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.partition(".")[0] in OURS:
            values |= vars(base)
    for name, value in values.items():
        value = getattr(value, "__func__", value)  # of classmethods and staticmethods
        value = property(value.func) if isinstance(value, cached_property) else value
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


def complaints(value: Any, codes: set[str]) -> list[str]:
    """What numpydoc misses in a docstring, of these codes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = validate(get_doc_object(value))["errors"]
    unread = [f"numpydoc warns: {warning.message}" for warning in caught]
    return [f"{code} {message}" for code, message in found if code in codes] + unread


def complaints_of(name: str, value: Any) -> list[str]:
    """What is missing in the docstring of a public name, and in those of its members; protocols are not called."""
    codes = (REQUIRED | EXAMPLE) - (PARAMETERS if getattr(value, "_is_protocol", False) else set())
    found = [f"{name}: {text}" for text in complaints(value, codes)]
    if inspect.isclass(value):
        for member, function in members(value):
            found += [f"{name}.{member}: {text}" for text in complaints(function, REQUIRED | EXAMPLE)]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name) -> None:
    module = import_or_skip(name)
    values = {f"{name}.{key}": getattr(module, key) for key in public_names(module)}
    documented = {key: value for key, value in values.items() if is_documented(value)}
    assert "\n".join(text for key, value in documented.items() for text in complaints_of(key, value)) == ""


WITH_EXAMPLES = sorted(
    ".".join(("xpdl", *path.relative_to(Path(xpdl.__file__).parent).with_suffix("").parts)).removesuffix(".__init__")
    for path in Path(xpdl.__file__).parent.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
"""The modules of the installed package; ``pytest --doctest-modules xpdl`` runs the same in a clone."""


NEEDS = {"xpdl.data.digits": "sklearn", "xpdl.plots": "matplotlib"}
"""Libraries that the examples need and the modules do not, by the beginning of the module's name."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, pytestconfig, tmp_path, monkeypatch) -> None:
    for beginning, library in NEEDS.items():
        if name.startswith(beginning):
            pytest.importorskip(library)
    module = import_or_skip(name)
    monkeypatch.chdir(tmp_path)
    flags = sum(doctest.OPTIONFLAGS_BY_NAME[flag] for flag in pytestconfig.getini("doctest_optionflags"))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=said.append)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")  # other tests count the open figures
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


# The rules see what they are for


def complete(x: float) -> float:
    """Return twice a number.

    Parameters
    ----------
    x : float
        The number.

    Returns
    -------
    float
        Two times ``x``.

    Examples
    --------
    >>> 2 * 2
    4
    """
    return 2 * x


def without_its_parameter(x: float) -> float:
    """Return twice a number.

    Returns
    -------
    float
        Two times ``x``.

    Examples
    --------
    >>> 2 * 2
    4
    """
    return 2 * x


def with_another_name(x: float) -> float:
    """Return twice a number.

    Parameters
    ----------
    y : float
        The number.

    Returns
    -------
    float
        Two times ``x``.

    Examples
    --------
    >>> 2 * 2
    4
    """
    return 2 * x


def in_lines_and_columns(x: float) -> float:
    """Twice a number.

    x  the number
    """
    return 2 * x


def undocumented() -> None:
    pass


class WithoutExamples:
    """A number.

    Examples
    --------
    >>> 2 * 2
    4
    """

    def method(self) -> None:
        """Do nothing."""

    @property
    def attribute(self) -> int:
        """The number."""
        return 4

    @cached_property
    def cached(self) -> int:
        """The number."""
        return 4

    def _inside(self) -> None:
        pass


class Inheriting(WithoutExamples):
    """A number of another class.

    Examples
    --------
    >>> 2 * 2
    4
    """


@pytest.mark.parametrize(
    ("function", "codes"),
    [
        (complete, set()),
        (without_its_parameter, {"PR01"}),
        (with_another_name, {"PR01", "PR02"}),
        (in_lines_and_columns, {"PR01", "RT01", "EX01"}),
        (undocumented, {"GL08"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_missing_is_seen(function, codes) -> None:
    found = {text.split()[1] for text in complaints_of("f", function)}
    assert found == codes


@pytest.mark.parametrize("owner", [WithoutExamples, Inheriting])
def test_a_member_without_example_is_seen(owner) -> None:
    found = {text.split(":")[0] for text in complaints_of("C", owner) if "EX01" in text}
    assert found == {"C.method", "C.attribute", "C.cached"}


def test_numpydoc_knows_the_codes() -> None:
    assert set(ERROR_MSGS) >= REQUIRED | EXAMPLE
