"""The error for data that cannot be used."""

from xpdl import checks


class DataFormatError(checks.FileError):
    """Data that cannot be used.

    The message names the data set or file and the reason, on one line.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.data import DataFormatError, Dataset
    >>> try:
    ...     Dataset(np.ones((3, 2)), np.array([0, 1]), name="mine")
    ... except DataFormatError as error:
    ...     print(error)
    mine: x has 3 rows but y has 2
    """
