"""xpdl plot: what each picture shows, and that no display is needed."""

import json
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import xpdl
from xpdl import Network
from xpdl.cli import plotting
from xpdl.cli.outputs import valid_epochs

pytest.importorskip("matplotlib", reason="plots need matplotlib")
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure

RUN = [{"epoch": e, "loss": 1 / e, "validation_loss": 2 / e, "validation_accuracy": 1 - 1 / e} for e in (1, 2, 3)]
NETS = {
    "plane": Network([2, 3], hidden="tanh"),
    "image": Network([4, 5, 3], dropout=0.2),
    "wide": Network([3, 4, 2]),
    "values": Network([4, 2], output="linear"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of data (points and images, with a test part and without), models for them, and histories."""
    folder = tmp_path_factory.mktemp("plots")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    np.savez(folder / "image.npz", x=x, y=y, x_test=x[:20] + 1, y_test=y[:20])
    np.savez(folder / "whole.npz", x=x, y=y)
    np.savez(folder / "plane.npz", x=x[:, :2], y=y)
    np.savez(folder / "wide.npz", x=x[:, :3], y=y % 2)
    for name, net in NETS.items():
        xpdl.save(folder / f"{name}.model", net, net.initialize(0))
    text = "".join(json.dumps(epoch) + "\n" for epoch in RUN)
    (folder / "lr-0.1.jsonl").write_text(text)
    (folder / "lr-0.01").write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "lr-0.1.jsonl").write_text(text.splitlines()[0])
    (folder / "losses.jsonl").write_text('{"epoch": 1, "loss": 2.5, "step": 3}\n')
    (folder / "broken.jsonl").write_text(text + '{"epoch": 4, "lo')
    (folder / "list.jsonl").write_text("[1, 2]\n")
    (folder / "empty.jsonl").write_text("")
    (folder / "odd.jsonl").write_text('{"accuracy": 1}\n')
    (folder / "text.jsonl").write_text('{"epoch": 1, "loss": "low"}\n')
    return folder


@pytest.fixture
def drawn(run, monkeypatch, tmp_path):
    """drawn("confusion ...") -> the figure that is written."""
    figures, save = [], Figure.savefig

    def savefig(figure, *arguments, **options):
        figures.append(figure)
        save(figure, *arguments, **options)

    def drawn(command):
        monkeypatch.setattr(Figure, "savefig", savefig)
        assert run(f"plot {command} --out {tmp_path}/a.svg") == (0, f"saved {tmp_path}/a.svg\n", "")
        (figure,) = figures
        return figure

    return drawn


PICTURES = {
    "curves": "curves lr-0.1.jsonl lr-0.01",
    "boundary": "boundary plane.model --data plane.npz",
    "confusion": "confusion image.model --data image.npz",
    "worst": "worst image.model --data image.npz",
    "weights": "weights image.model",
    "gradients": "gradients image.model --data image.npz",
}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_written_in_the_format_of_its_suffix(run, tmp_path, picture, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    assert run(f"plot {PICTURES[picture]} --out {path}") == (0, f"saved {path}\n", "")
    assert list(tmp_path.iterdir()) == [path]
    if suffix == ".svg":
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        width, height = np.frombuffer(path.read_bytes()[16:24], ">u4")
        assert 600 < width < 6000
        assert 400 < height < 4000


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_picture_is_the_same_file(run, tmp_path, suffix) -> None:
    for name in "ab":
        assert run(f"plot curves lr-0.1.jsonl --out {tmp_path}/{name}{suffix}")[0] == 0
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_every_command_is_tested() -> None:
    assert {name for name in plotting.plot if not name.startswith("-")} == PICTURES.keys()


def lines(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}


def test_curves_of_cost_and_accuracy_are_labelled_with_the_file_names(drawn) -> None:
    cost, accuracy = drawn("curves lr-0.1.jsonl lr-0.01").axes
    loss, validation = ([epoch[key] for epoch in RUN] for key in ("loss", "validation_loss"))
    assert lines(cost) == {
        "lr-0.1 training": loss,
        "lr-0.1 validation": validation,
        "lr-0.01 training": loss,
        "lr-0.01 validation": validation,
    }
    assert list(lines(accuracy)) == ["lr-0.1 validation", "lr-0.01 validation"]
    assert (cost.get_ylabel(), accuracy.get_ylabel(), cost.get_yscale()) == ("cost", "accuracy", "linear")


def test_a_single_run_has_no_label(drawn) -> None:
    cost, accuracy = drawn("curves lr-0.1.jsonl --log").axes
    assert list(lines(cost)) == ["training", "validation"]
    assert (cost.get_yscale(), accuracy.get_yscale()) == ("log", "linear")


def test_files_of_the_same_name_are_labelled_with_their_paths(drawn) -> None:
    cost, _ = drawn("curves lr-0.1.jsonl sub/lr-0.1.jsonl").axes
    assert {label.split()[0] for label in lines(cost)} == {"lr-0.1.jsonl", str(Path("sub", "lr-0.1.jsonl"))}


ODD = [r"$\frac{$", "$a$", "_first", "\x1b[2J\n", "n" * 200 + "1", "n" * 200 + "2", "\u202egnp.tac"]


@pytest.mark.skipif(os.name != "posix", reason="other systems do not allow such names")
def test_names_of_files_are_drawn_as_they_are_in_one_line_of_limited_length(drawn, folder, tmp_path) -> None:
    for name in ODD:
        shutil.copy(folder / "losses.jsonl", tmp_path / name)
    cost = drawn(f"curves {shlex.join(str(tmp_path / name) for name in ODD)}").axes[0]
    texts = [text.get_text() for text in cost.get_legend().get_texts()[: len(ODD)]]
    assert len({*texts}) == len(ODD)
    assert all(len(text) < 100 and text.isprintable() for text in texts)
    assert not any(is_math_text(text) for text in texts)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"epoch": NaN, "loss": 1}', "epoch"),
        ('{"epoch": 1e999, "loss": 1}', "epoch"),
        ('{"epoch": 1, "epoch": 2, "loss": 1}', "expected an epoch"),
        ('{"epoch": 1, "loss": 1' + "0" * 400 + "}", "loss"),
        ('{"epoch": 1' + "0" * 400 + ', "loss": 1}', "epoch"),
        ('{"epoch": -1, "loss": 1}', "epoch"),
        ("[" * 100_000, "expected an epoch"),
        ('{"epoch": ' + "1" * 5000 + "}", "expected an epoch"),
    ],
)
def test_a_history_of_another_program_is_one_line_of_error(refused, folder, line, said) -> None:
    (folder / "foreign.jsonl").write_text(f"{line}\n")
    refused("plot curves foreign.jsonl --out c.png", said)


def test_a_long_history_is_read_in_time_that_grows_with_its_length(folder) -> None:
    """100,000 epochs, of which each was computed twice."""
    lines = [{"epoch": epoch} for epoch in range(1, 100_001) for _ in range(2)]
    assert valid_epochs(lines) == lines[::2]


def test_without_an_accuracy_only_the_cost_is_drawn(drawn) -> None:
    (cost,) = drawn("curves losses.jsonl").axes
    assert lines(cost) == {"training": [2.5]}


def test_what_train_has_written_can_be_drawn(run, tmp_path) -> None:
    files = f"--history {tmp_path}/h.jsonl --save {tmp_path}/m"
    assert run(f"train --data image.npz --hidden 4 --epochs 2 --backend numpy {files}")[0] == 0
    assert run(f"plot curves {tmp_path}/h.jsonl --out {tmp_path}/c.png")[0] == 0
    assert run(f"plot weights {tmp_path}/m --out {tmp_path}/w.png")[0] == 0


@pytest.mark.parametrize(("data", "n"), [("image.npz", 20), ("whole.npz", 60)])
def test_a_model_is_tested_on_the_test_part_or_on_all_data(drawn, data, n) -> None:
    confusion, _ = drawn(f"confusion image.model --data {data}").axes
    assert confusion.get_title().endswith(f" % of {n} samples")
    assert sum(int(text.get_text().split("\n")[0]) for text in confusion.texts) == n


def test_worst_and_weights_take_a_count_and_a_shape(drawn) -> None:
    (ax,) = drawn("worst image.model --data image.npz --count 3 --shape 1 4").axes
    assert len(ax.texts) == 3
    assert ax.get_title().startswith("highest cost of 20 samples")
    assert np.isfinite(ax.get_images()[0].get_array().filled(np.nan)[0]).sum() == 8


def test_images_that_are_not_square_need_a_shape(drawn) -> None:
    ax, _ = drawn("weights wide.model --count 2 --shape 3 1").axes
    assert ax.get_title() == "W1, units 0 to 1 of 4"


def test_the_boundary_is_drawn_with_the_training_samples(drawn) -> None:
    (ax,) = drawn("boundary plane.model --data plane.npz").axes
    assert sum(len(c.get_offsets()) for c in ax.collections if c.get_label().startswith("class")) == 60


def test_gradients_are_maps_and_a_scatter_of_the_loss_with_dropout(drawn, monkeypatch) -> None:
    calls, check = [], plotting.check_network

    def checked(*arguments, **options):
        calls.append((arguments, options))
        return check(*arguments, **options)

    monkeypatch.setattr(plotting, "check_network", checked)
    figure = drawn("gradients image.model --data image.npz --samples 7")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles[:4] == ["W1: PASS", "W2: PASS", "b1: PASS", "b2: PASS"]
    assert titles[4].startswith("PASS: difference ")
    (arguments, options), *_ = calls
    assert len(arguments[2]) == len(arguments[3]) == 7
    assert [mask.shape for mask in options["masks"]] == [(7, 5)]


# Without a display, and written whole or not at all


def test_neither_pyplot_nor_a_display_is_needed(folder, tmp_path) -> None:
    text = f"""
import sys, xpdl.cli
assert "matplotlib" not in sys.modules
code = xpdl.cli.main("plot confusion image.model --data image.npz --out {tmp_path}/a.png".split())
assert "matplotlib.pyplot" not in sys.modules
sys.exit(code)
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment["MPLBACKEND"] = "TkAgg"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("owner", "name"), [(Figure, "savefig"), (os, "fsync")])
def test_a_picture_that_cannot_be_finished_leaves_the_old_one(run, tmp_path, monkeypatch, owner, name) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(old := b"\x89PNG...Software\0xpdl")

    def fail(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr(owner, name, fail)
    code, _, err = run(f"plot weights image.model --out {path}")
    assert (code, err) == (2, "xpdl: error: no space left\n")
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


BAD = {
    # command: what the line on stderr must say
    "curves --out a.png": "histories must be one or more files",
    "curves absent.jsonl --out a.png": "absent.jsonl",
    "curves lr-0.1.jsonl": "--out",
    "curves lr-0.1.jsonl --out a.pdf": "out must end in .png or .svg, got 'a.pdf'",
    "curves lr-0.1.jsonl --out a": "out must end in .png or .svg, got 'a'",
    "curves lr-0.1.jsonl --out no/a.png": "out must be a file in a directory that exists, got 'no/a.png'",
    "curves broken.jsonl --out a.png": 'broken.jsonl, line 4: expected an epoch as a JSON object, got \'{"epoch": 4, ',
    "curves list.jsonl --out a.png": r"list.jsonl, line 1: expected an epoch as a JSON object, got '\[1, 2\]'",
    "curves odd.jsonl --out a.png": "odd.jsonl, line 1: expected an epoch as a JSON object",
    "curves image.model --out a.png": "image.model, line 1: expected an epoch as a JSON object",
    "curves empty.jsonl --out a.png": "at least one epoch",
    "curves text.jsonl --out a.png": "runs must hold numbers, got loss = 'low' in epoch 1",
    "boundary image.model --data image.npz --out a.png": "net must have 2 inputs to be drawn in the plane, got 4",
    "boundary plane.model --data image.npz --out a.png": r"x must have shape \(n, 2\)",
    "boundary plane.model --data plnae --out a.png": "plnae",
    "confusion values.model --data image.npz --out a.png": "net must tell classes apart, .* got output 'linear'",
    "confusion lr-0.01 --data image.npz --out a.png": "lr-0.01 is not an xpdl model",
    "confusion absent.model --data image.npz --out a.png": "absent.model",
    "confusion --data image.npz --out a.png": "(?i)model",
    "worst wide.model --data wide.npz --out a.png": "shape must be given as .height, width.: 3 inputs are no square",
    "worst wide.model --data wide.npz --shape 2 2 --out a.png": "as many pixels as net has inputs, 3, got 2 x 2",
    "worst image.model --data image.npz --shape 2 --out a.png": "--shape",
    "worst image.model --data image.npz --shape 2 2.5 --out a.png": "--shape.*2.5",
    "worst image.model --data image.npz --count 0 --out a.png": "count must be at least 1, got 0",
    "weights image.model --count 1.5 --out a.png": "--count.*1.5",
    "weights wide.model --out a.png": "3 inputs are no square image",
    "gradients image.model --data image.npz --samples 0 --out a.png": "samples must be at least 1, got 0",
    "gradients plane.model --data image.npz --out a.png": r"x must have shape \(n, 2\)",
    "confusoin image.model --out a.png": "confusoin.*confusion",
}


@pytest.mark.parametrize("command", BAD)
def test_errors_are_one_line_on_stderr_with_exit_code_2(refused, folder, command) -> None:
    assert refused(f"plot {command}", BAD[command]) == ""
    assert not (folder / "a.png").exists()


def test_without_matplotlib_it_says_what_to_install(run, monkeypatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run("plot weights image.model --out a.png")
    assert (code, err) == (2, 'xpdl: error: plots need matplotlib: pip install "xpdl[plot]"\n')


@pytest.mark.parametrize("command", ["plot --help", *(f"plot {name} --help" for name in PICTURES)])
def test_help(run, command) -> None:
    code, out, err = run(command)
    assert (code, err) == (0, "")
    assert ("confusion" in out) if command == "plot --help" else ("--out" in out)
