"""The checks behind error messages."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from xpdl import checks


def test_integer_takes_whole_numbers_of_integer_type_only():
    assert checks.integer("n", np.int64(3), least=1) == 3
    for wrong in (2.0, "3", None, True):
        with pytest.raises(TypeError, match="n must be an integer, got"):
            checks.integer("n", wrong, least=1)
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        checks.integer("n", 1, least=2)


@pytest.mark.parametrize(("below", "text"), [(5, r"\[1, 5\), got 5"), (2**32, r"\[1, 2\*\*32\), got 4294967296")])
def test_integer_takes_numbers_of_a_half_open_range(below, text):
    assert checks.integer("n", below - 1, least=1, below=below) == below - 1
    with pytest.raises(ValueError, match=f"n must be in {text}"):
        checks.integer("n", below, least=1, below=below)
    with pytest.raises(ValueError, match=r"n must be in .*, got 0"):
        checks.integer("n", 0, least=1, below=below)


class Holding(NamedTuple):
    """Functions, one of which may be missing, and a number."""

    first: Any
    second: Any = None
    number: Any = 3


def test_functions_are_wanted_in_every_field():
    for good in (Holding(abs), Holding(abs, max)):
        checks.functions("own", good, besides=("number",))
    for wrong, text in ((Holding(None), "first, got None"), (Holding(abs, 5), "second, got 5")):
        with pytest.raises(TypeError, match=f"own must hold a function as {text}"):
            checks.functions("own", wrong, besides=("number",))
    with pytest.raises(TypeError, match="own must hold a function as number, got 3"):
        checks.functions("own", Holding(abs))


def test_real_takes_finite_numbers_in_a_half_open_range():
    assert checks.real("noise", np.float32(0.5), below=1.0) == 0.5
    for wrong in (-0.1, 1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"noise must be finite and in \[0, 1\), got"):
            checks.real("noise", wrong, below=1.0)
    with pytest.raises(ValueError, match="lr must be finite and at least 0, got inf"):
        checks.real("lr", float("inf"))
    for wrong in ("0.5", None, True, [1, 2]):
        with pytest.raises(TypeError, match="lr must be a number, got"):
            checks.real("lr", wrong)


def test_choice_names_the_closest():
    assert checks.choice("hidden", "relu", {"relu", "tanh"}) == "relu"
    with pytest.raises(ValueError, match="hidden must be one of relu, tanh, got 'Rleu'; did you mean 'relu'"):
        checks.choice("hidden", "Rleu", {"relu", "tanh"})
    with pytest.raises(TypeError, match="hidden must be one of relu, tanh, got 3"):
        checks.choice("hidden", 3, {"relu", "tanh"})


def test_shorten_keeps_messages_on_one_line():
    text = checks.shorten(np.zeros((100, 100)))
    assert "\n" not in text
    assert len(text) <= 60


def test_finite_names_the_first_entry_that_is_not():
    checks.finite("x", np.array([[1, -3.4e38], [0, 1e-45]], "float32"))
    checks.finite("x", np.arange(3))
    with pytest.raises(ValueError, match=r"x must be finite, got nan at x\[1, 0\]"):
        checks.finite("x", np.array([[1, 2], [np.nan, np.inf]]))
