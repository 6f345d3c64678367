"""What ``xpdl.sklearn`` offers, and what it says without scikit-learn."""

import sys

import pytest


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith("xpdl.sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r'scikit-learn 1\.9 or newer: pip install "xpdl\[sklearn\]"'):
        import xpdl.sklearn  # noqa: F401
