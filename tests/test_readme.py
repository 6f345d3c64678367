"""The README's Python is run as it stands there; CITATION.cff names this version."""

from pathlib import Path
import re

import numpy as np

import xpdl

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_examples_run_and_learn(tmp_path, monkeypatch):
    """The first example trains and saves; the user's own activation and optimizer train too."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert names["result"].history[-1]["validation_accuracy"] > 0.9
    assert xpdl.load("glyphs.safetensors").network == xpdl.Network(
        [784, 128, 10], dropout=0.1, inputs=xpdl.Scaling.images
    )
    points = xpdl.data.load("circles")
    learned = xpdl.train(
        names["net"], points.x, points.y, optimizer=names["signs"], epochs=60, batch_size=10, progress=False
    )
    assert learned.history[-1]["loss"] < learned.history[0]["loss"]


def test_the_report_is_the_one_shown(tmp_path, monkeypatch):
    """But for numbers that are rounding errors, and for where the largest of those is."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in BLOCKS[:3]:
        exec(
            block.replace("epochs=5", "epochs=0").replace('print(result.history[-1]["validation_accuracy"])', ""), names
        )
    shown = re.search(r"```text\n(FAIL.*?)```", README, flags=re.DOTALL).group(1)
    first, _, _, *rows = shown.splitlines()
    printed = str(names["report"]).splitlines()
    assert printed[0] == first
    for row, line in zip(rows, printed[3:], strict=True):
        assert line.split()[:3] == row.split()[:3]
    assert printed[-1] == rows[-1]


def test_the_gradient_of_the_users_activation_is_right():
    """What the README shows is a correct pair."""
    names: dict = {"xpdl": xpdl}
    exec(next(block for block in BLOCKS if "square" in block), names)
    z, da = np.linspace(-2, 2, 9), np.linspace(1, 3, 9)
    forward, backward = names["square"]
    np.testing.assert_allclose(
        backward(da, z, forward(z)), da * forward(z + 1e-20j).imag / 1e-20, rtol=1e-14, atol=1e-300
    )


def test_the_gradient_of_the_users_loss_is_right():
    names: dict = {"xpdl": xpdl}
    exec(next(block for block in BLOCKS if "fourth" in block), names)
    x = np.random.default_rng(0).normal(size=(20, 2))
    net = names["regressor"]
    assert xpdl.check_network(net, net.initialize(0, "float64"), x, x[:, 0]).verdict == "PASS"
    wrong = names["fourth"]._replace(derivative=lambda z, p, y: 3 * (z - y) ** 3)
    net = xpdl.Network([2, 8, 1], hidden="tanh", output=wrong)
    assert xpdl.check_network(net, net.initialize(0, "float64"), x, x[:, 0]).verdict == "FAIL"


def test_the_users_optimizer_is_what_the_readme_says():
    names: dict = {}
    names |= {"xpdl": xpdl}
    exec(next(block for block in BLOCKS if "signs" in block), names)
    report = xpdl.check_update(names["signs"])
    assert (report.verdict, report.rule) == ("PASS", "sign")


def test_the_citation_names_this_version() -> None:
    citation = (Path(__file__).parent.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {xpdl.__version__}\n" in citation
