"""Mistakes in source code: each mutant of a module differs from it in one place.

    operators     + for -, and for or, < for <= and >=
    numbers       one more or less; four times as much, and a quarter of it
    conditions    negated; a lost ``not``, minus or ``abs``; min for max, any for all
    statements    a lost call, augmented assignment, assignment to an item, raise, break or continue

Left alone are texts, type hints, imports, decorators, ``__all__``, and ``strict`` of ``zip``, which is an assertion.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
import difflib
from functools import cached_property
from itertools import pairwise
import re
from typing import Any, TypeAlias

OPERATORS = {"+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "//": ["/"], "%": ["*"], "**": ["*"]}
OPERATORS |= {"<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="]}
OPERATORS |= {"is": ["is not"], "is not": ["is"], "in": ["not in"], "not in": ["in"], "and": ["or"], "or": ["and"]}
OPERATORS |= {"|": ["&"], "&": ["|"]}
OPERATOR = re.compile(r"is not|not in|\b(?:is|in|and|or)\b|\*\*|//|[<>=!]=|[-+*/%|&<>]")
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor", "abs": "float"}
METHODS = {**NAMES, "minimum": "maximum", "maximum": "minimum", "abs": "asarray"}
ALONE = {"annotation", "returns", "decorator_list"}
"""Fields of the syntax tree."""


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake."""

    source: str
    start: int
    stop: int
    new: str

    @property
    def text(self) -> str:
        """The module with the mistake."""
        return self.source[: self.start] + self.new + self.source[self.stop :]

    @property
    def line(self) -> int:
        """The number of the line, from 1."""
        return self.source.count("\n", 0, self.start) + 1

    @cached_property
    def diff(self) -> tuple[str, str]:
        """The lines that differ, before and after."""
        lines = list(difflib.ndiff(self.source.splitlines(), self.text.splitlines()))
        before, after = (" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return before, after

    @property
    def valid(self) -> bool:
        """Whether it is a program, and not the same one."""
        try:
            return ast.dump(ast.parse(self.text)) != ast.dump(ast.parse(self.source))
        except SyntaxError:
            return False


Spans: TypeAlias = Iterator[tuple[int, int, str]]
"""Start, stop, new text."""


class Module:
    """The source of a module, in ASCII, and its mutants."""

    def __init__(self, source: str) -> None:
        source.encode("ascii")
        self.source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def places(self) -> list[list[Mutant]]:
        """The places that can be mutated, each with its mutants."""
        nodes = (node for node in _nodes(ast.parse(self.source)) if type(node) in MISTAKES)
        found = ([Mutant(self.source, *span) for span in MISTAKES[type(node)](self, node)] for node in nodes)
        return [mutants for mutants in found if mutants]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where the text of a node starts and stops."""
        line, column, last_line, last_column = (getattr(node, name) for name in ast.expr._attributes)
        return self._lines[line - 1] + column, self._lines[last_line - 1] + last_column

    def text(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.source[slice(*self.span(node))]

    def between(self, left: ast.AST, right: ast.AST) -> Spans:
        """Other operators between two operands."""
        begin, end = self.span(left)[1], self.span(right)[0]
        found = OPERATOR.search(self.source, begin, end)
        for new in OPERATORS[found[0]] if found and found[0] in OPERATORS else []:
            yield found.start(), found.end(), new  # type: ignore[union-attr]

    def negated(self, node: ast.AST) -> Spans:
        """The opposite condition."""
        yield (*self.span(node), f"(not ({self.text(node)}))")


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are not left alone, this one first."""
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if name not in ALONE and isinstance(child, ast.AST) and not _left_alone(child):
                yield from _nodes(child)


def _left_alone(node: ast.AST) -> bool:
    """Whether a node is a text, an import or a name for a type."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" in ast.unparse(node.annotation)
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Subscript) and ast.unparse(node.value).startswith(("tuple[", "Mapping["))
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    return isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom))


# The mistakes at a node


def _two_operands(module: Module, node: Any) -> Spans:
    yield from module.between(node.left, node.right)


def _augmented(module: Module, node: Any) -> Spans:
    yield from module.between(node.target, node.value)
    yield from _lost(module, node)


def _comparison(module: Module, node: Any) -> Spans:
    for left, right in pairwise([node.left, *node.comparators]):
        yield from module.between(left, right)


def _boolean(module: Module, node: Any) -> Spans:
    for left, right in pairwise(node.values):
        yield from module.between(left, right)


def _sign(module: Module, node: Any) -> Spans:
    yield (*module.span(node), f"({module.text(node.operand)})")


def _condition(module: Module, node: Any) -> Spans:
    yield from module.negated(node.test)


def _filter(module: Module, node: Any) -> Spans:
    for test in node.ifs:
        yield from module.negated(test)


def _number(module: Module, node: Any) -> Spans:
    for other in NUMBERS.get(type(node.value), lambda n: [])(node.value):
        yield (*module.span(node), f"{other!r}" if other >= 0 else f"({other!r})")


NUMBERS: dict[type, Callable[[Any], list[Any]]] = {
    bool: lambda n: [not n],
    int: lambda n: [n + 1, n - 1] + [4 * n, n // 4] * (n > 4),
    float: lambda n: [4 * n, n / 4],
}


def _name(module: Module, node: Any) -> Spans:
    if node.id in NAMES:
        yield (*module.span(node), NAMES[node.id])


def _method(module: Module, node: Any) -> Spans:
    if node.attr in METHODS:
        stop = module.span(node)[1]
        yield stop - len(node.attr), stop, METHODS[node.attr]


def _lost(module: Module, node: Any) -> Spans:
    yield (*module.span(node), "pass")


def _lost_item(module: Module, node: Any) -> Spans:
    if isinstance(node.targets[0], (ast.Attribute, ast.Subscript)):
        yield from _lost(module, node)


MISTAKES: dict[type[ast.AST], Callable[[Module, Any], Spans]] = {ast.comprehension: _filter, ast.Assign: _lost_item}
MISTAKES |= {ast.BinOp: _two_operands, ast.AugAssign: _augmented, ast.Compare: _comparison, ast.BoolOp: _boolean}
MISTAKES |= {ast.UnaryOp: _sign, ast.Constant: _number, ast.Name: _name, ast.Attribute: _method}
MISTAKES |= dict.fromkeys([ast.If, ast.While, ast.IfExp], _condition)
MISTAKES |= dict.fromkeys([ast.Expr, ast.Raise, ast.Break, ast.Continue], _lost)
