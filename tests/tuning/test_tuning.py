"""What ``xpdl.tuning`` offers, and what it says without Optuna."""

import sys

import pytest

import xpdl

optuna = pytest.importorskip("optuna", reason="tuning needs Optuna")


optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("optuna", "xpdl.tuning."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "xpdl\[tune\]"'):
        xpdl.tuning.tune  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        xpdl.tuning.nonesuch  # noqa: B018
