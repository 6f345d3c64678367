"""The output of a benchmark: a table, and the same numbers as JSON with a description of the machine.

A row is a dict.  Its keys, with units in their names, are the fields of the JSON and the column titles of the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, describe, device

Row = Mapping[str, Any]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Output:
    """Where the JSON is written.

    Parameters
    ----------
    output
        Folder for NAME-DEVICE.json.
    save
        Write to benchmarks/results instead, to be committed.
    """

    output: Path = ROOT / "build" / "benchmarks"
    save: bool = False

    def write(self, name: str, rows: Sequence[Row], **more: Any) -> Path:
        """Write NAME-DEVICE.json.  Each call replaces it, so a stopped run leaves its latest numbers."""
        folder = RESULTS if self.save else self.output
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{device().lower().replace(' ', '-')}.json"
        content = {"benchmark": name, "machine": describe(), **more, "rows": rows}
        part = path.with_suffix(".part")  # a process that ends while it writes leaves the old file
        part.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
        return part.replace(path)

    def publish(self, name: str, columns: Mapping[str, str], rows: Sequence[Row], **more: Any) -> None:
        """Write the JSON and print the table."""
        path = self.write(name, rows, **more)
        print(table(columns, rows), f"{path}", sep="\n")


def table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Return the table of these columns, each with a format specification ("" for text); "-" for a missing value."""
    cells = [[_cell(row.get(key), spec) for key, spec in columns.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    sides = [">" if spec else "<" for spec in columns.values()]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True))
        for line in [list(columns), *cells]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any, spec: str) -> str:
    return "-" if value is None else format(value, spec)
