"""A communicator connects the ranks of a job.  The ranks are processes that run the same program.

    rank, size         the number of this rank, and how many ranks there are
    allreduce(array)   the sum of the arrays of all ranks, the same bits on each
    broadcast(array)   the array of rank 0

All ranks must call the same operations in the same order, with arrays of the same shape and dtype.  The operations take
arrays of any library, and may overwrite them.
"""

from dataclasses import dataclass
import json
from typing import Any, Protocol

import numpy as np

from xpdl.arrays import Array


class Communicator(Protocol):
    """The connection between the ranks of a job: any object with these two attributes and two methods.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.distributed import connect
    >>> communicator = connect()  # of one rank, unless a launcher has started more
    >>> communicator.allreduce(np.ones(2)) / communicator.size
    array([1., 1.])
    """

    @property
    def rank(self) -> int:
        """The number of this rank, from 0.

        Returns
        -------
        int

        Examples
        --------
        >>> from xpdl.distributed import connect
        >>> communicator = connect()
        >>> 0 <= communicator.rank < communicator.size
        True
        """

    @property
    def size(self) -> int:
        """How many ranks there are.

        Returns
        -------
        int

        Examples
        --------
        >>> from xpdl.distributed import connect
        >>> connect().size >= 1
        True
        """

    def allreduce(self, array: Array) -> Array:
        """Add up the arrays of all ranks.

        Parameters
        ----------
        array : array
            Of any library; it may be overwritten.

        Returns
        -------
        array
            The sum, the same bits on each rank.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.distributed import connect
        >>> communicator = connect()
        >>> communicator.allreduce(np.ones(2)).tolist() == [communicator.size] * 2
        True
        """

    def broadcast(self, array: Array) -> Array:
        """Send the array of rank 0 to all ranks.

        Parameters
        ----------
        array : array
            Of any library; it may be overwritten.

        Returns
        -------
        array
            The array of rank 0.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.distributed import connect
        >>> communicator = connect()
        >>> communicator.broadcast(np.array([communicator.rank])).tolist()
        [0]
        """


@dataclass(frozen=True)
class Serial:
    """The communicator of a single rank.

    Parameters
    ----------
    rank : int, default 0
        The number of this rank.
    size : int, default 1
        How many ranks there are.

    Examples
    --------
    >>> from xpdl.distributed import Serial
    >>> Serial().allreduce(7)
    7
    """

    rank: int = 0
    size: int = 1

    def allreduce(self, array: Array) -> Array:
        """Return the array itself: the sum over one rank.

        Parameters
        ----------
        array : array
            Of any library.

        Returns
        -------
        array
            The same object.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.distributed import Serial
        >>> Serial().allreduce(np.array([1.0, 2.0]))
        array([1., 2.])
        """
        return array

    def broadcast(self, array: Array) -> Array:
        """Return the array itself: this is rank 0.

        Parameters
        ----------
        array : array
            Of any library.

        Returns
        -------
        array
            The same object.

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.distributed import Serial
        >>> Serial().broadcast(np.array([1.0, 2.0]))
        array([1., 2.])
        """
        return array


def share(n: int, communicator: Communicator) -> slice:
    """Return this rank's share of n samples; the sizes of two shares differ by at most one sample.

    Parameters
    ----------
    n : int
        The number of samples of all ranks together.
    communicator : Communicator
        The ranks.

    Returns
    -------
    slice
        The samples of this rank.

    Examples
    --------
    >>> from xpdl.distributed import Serial, share
    >>> share(10, Serial(rank=1, size=3))
    slice(3, 6, None)
    """
    rank, size = communicator.rank, communicator.size
    return slice(n * rank // size, n * (rank + 1) // size)


def gather(communicator: Communicator, value: Any) -> list[Any]:
    """Return the values of all ranks, on every rank.

    Parameters
    ----------
    communicator : Communicator
        The ranks.
    value : object
        The value of this rank: anything that JSON can hold.

    Returns
    -------
    list
        The value of each rank, as JSON returns it: a tuple becomes a list.

    Raises
    ------
    TypeError
        If JSON cannot hold the value.

    Examples
    --------
    >>> from xpdl.distributed import Serial, gather
    >>> gather(Serial(), {"epochs": 3})
    [{'epochs': 3}]
    """
    text = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
    lengths = np.zeros(communicator.size, dtype=np.int64)
    lengths[communicator.rank] = len(text)
    lengths = communicator.allreduce(lengths)
    texts = np.zeros((communicator.size, lengths.max()), dtype=np.uint8)
    texts[communicator.rank, : len(text)] = text
    texts = communicator.allreduce(texts)
    return [json.loads(row[:length].tobytes()) for row, length in zip(texts, lengths, strict=True)]
