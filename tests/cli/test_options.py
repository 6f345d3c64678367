"""The shared options: every help text is complete, and its lists of names come from the tables."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from xpdl.activations import ACTIVATIONS
from xpdl.backends import INSTALL, PRECISIONS
from xpdl.cli import app
from xpdl.cli.learning_rate import SCHEDULES
from xpdl.cli.options import default_betas, listed
from xpdl.data.loading import FORMATS, NAMED
from xpdl.gradcheck.network.numeric import NUMERIC_METHODS
from xpdl.initializers import INITIALIZERS
from xpdl.losses import LOSSES
from xpdl.optimizers import OPTIMIZERS

KINDS = ("curves", "boundary", "confusion", "worst", "weights", "gradients")
COMMANDS = ["train", "tune", "predict", "check", *(f"plot {kind}" for kind in KINDS)]
NAMES = {
    "--data": [*NAMED, *(known.description for known in FORMATS)],
    "--activation": ACTIVATIONS,
    "--output": LOSSES,
    "--init": INITIALIZERS,
    "--optimizer": OPTIMIZERS,
    "--schedule": SCHEDULES,
    "--backend": ["auto", *INSTALL],
    "--precision": PRECISIONS,
    "--method": ["auto", *NUMERIC_METHODS],
}


def described(command):
    """Return {option: its text in the help of the command}, from a help with one line per option."""
    screen = io.StringIO()
    app.help_print(command.split(), console=Console(file=screen, width=1000))
    lines = [line.strip("│ *").split("  ", 1) for line in screen.getvalue().splitlines() if line.startswith("│")]
    return {re.search(r"--[a-z0-9-]+|[A-Z]+", names).group(): text.strip() for names, text in lines}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_is_complete_by_itself(command) -> None:
    for option, text in described(command).items():
        assert len(text.split("[")[0]) > 10, option
        assert "As for" not in text, option


@pytest.mark.parametrize("command", COMMANDS)
def test_name_lists_hold_every_name_of_their_table(command) -> None:
    for option, text in described(command).items():
        assert [name for name in NAMES.get(option, []) if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)] == []


def test_every_table_is_in_a_help_text() -> None:
    assert {option for command in COMMANDS for option in described(command)} >= NAMES.keys()


ENTRIES = """
from xpdl.activations import ACTIVATIONS, relu
from xpdl.data import loading
from xpdl.optimizers import BETAS, OPTIMIZERS, sgd
ACTIVATIONS["mine"] = relu
loading.NAMED["dots"] = loading.circles
loading.FORMATS.append(loading.Format("a-log-file", loading.suffix(".log"), print))
from xpdl.cli import main
main(["train", "--help"])
"""


def test_a_new_entry_of_a_table_shows_up_by_itself() -> None:
    done = subprocess.run([sys.executable, "-c", ENTRIES], capture_output=True, text=True, timeout=60, check=True)
    assert [text for text in ("mine", "dots", "a-log-file") if text not in " ".join(done.stdout.split())] == []


def test_the_help_of_tune_names_every_sampler_and_pruner() -> None:
    """Their tables need Optuna, so the help cannot be made from them."""
    pytest.importorskip("optuna", reason="tuning needs Optuna")
    from xpdl.tuning.search import PRUNERS, SAMPLERS

    texts = described("tune")
    assert [name for name in SAMPLERS if name not in texts["--sampler"]] == []
    assert [name for name in PRUNERS if name not in texts["--pruner"]] == []


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed("a"), listed("ab"), listed("abc", "and")] == ["a", "a or b", "a, b and c"]


def test_the_betas_of_each_optimizer_are_listed_with_their_defaults() -> None:
    assert default_betas("beta1") == "0.9 for momentum, adam and adamw"
    assert default_betas("beta2") == "0.9 for rmsprop; 0.999 for adam and adamw"
