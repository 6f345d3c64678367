"""Reports as HTML: well-formed, what is wrong first and in full, and every name escaped."""

from html.parser import HTMLParser
import re

import numpy as np
import pytest

import xpdl

VOID = {"rect"}


class WellFormed(HTMLParser):
    """Every element that opens is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.seen = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def report(wrong=True, name="b<i>", shape=(3, 4), **options):
    theta = {"right": np.ones(3), name: np.random.default_rng(0).standard_normal(shape)}

    def grad(p):
        second = 2 * p[name]
        if wrong:
            second.flat[0] *= 1.5
        return {"right": 2 * p["right"], name: second}

    return xpdl.check_gradient(lambda p: sum(np.sum(t * t) for t in p.values()), grad, theta, **options)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 4), (100, 3), (70, 80)])
@pytest.mark.parametrize("wrong", [False, True])
def test_it_is_well_formed_and_says_what_the_table_says(shape, wrong) -> None:
    found = report(wrong, shape=shape)
    html = found._repr_html_()
    tags = WellFormed(html).seen
    assert found.verdict in html
    assert ("svg" in tags) == (wrong and 1 < np.prod(shape) <= 256 and shape != ())
    assert all(re.sub("[<>]", "", note)[:20] in re.sub("&lt;|&gt;", "", html) for note in found.notes)


def test_what_is_wrong_stands_outside_of_folds() -> None:
    html = report()._repr_html_()
    unfolded = re.sub("<details>.*?</details>", "", html)
    assert "b&lt;i&gt; 3x4" in unfolded
    assert "only 1 of 12 entries wrong: [0, 0]" in unfolded
    assert "right" not in unfolded.replace("wrong", "")
    assert "<i>" not in html
    assert "1 other tensor" in html


def test_a_map_has_one_orange_cell_for_one_wrong_entry() -> None:
    html = report()._repr_html_()
    cells = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"[^>]*fill="([^"]+)"', html)
    assert len(cells) == 12
    assert [cell[:2] for cell in cells if cell[2] == "#d55e00"] == [("0.00", "0.00")]


def test_a_large_map_is_shown_in_blocks() -> None:
    html = report(shape=(130, 70), full=True)._repr_html_()
    assert 1000 < html.count("<rect") <= 64 * 64
    assert html.count("#d55e00") == 1
    assert len(html) < 1_000_000


def test_plot_draws_maps() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert report().plot(figure=figure)[0] in figure.axes
