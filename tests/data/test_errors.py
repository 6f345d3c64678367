"""The error for data is one line, whatever a file holds."""

from xpdl.checks import FileError
from xpdl.data import DataFormatError


def test_a_message_is_one_short_line() -> None:
    error = DataFormatError("my.csv: " + "a\n" * 5000)
    assert isinstance(error, FileError)
    assert isinstance(error, ValueError)
    assert len(str(error)) < 1100
    assert "\n" not in str(error)
