"""The examples of the documentation run as they stand, page by page, from the first block to the last."""

from pathlib import Path
import re

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python ?(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def sections(page):
    """(title, what must be installed, code) of each section that has code."""
    for part in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        blocks = BLOCK.findall(part)
        if blocks:
            yield part.partition("\n")[0], blocks[0][0], "".join(code for _, code in blocks)


EXAMPLES = [(page.stem, *section) for page in sorted(DOCS.glob("*.md")) for section in sections(page)]


@pytest.mark.parametrize(("page", "title", "library", "code"), EXAMPLES, ids=[f"{e[0]}: {e[1]}" for e in EXAMPLES])
def test_an_example_runs(page, title, library, code) -> None:
    if library:
        pytest.importorskip(library)
    exec(compile(code, f"docs/{page}.md: {title}", "exec"), {})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
