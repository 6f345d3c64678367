"""Communication between ranks, here threads: shares of samples, gathered values of any kind, and the operations."""

import numpy as np
import pytest

from xpdl.distributed import Serial, gather, share


def shares(n, size):
    return [list(range(n))[share(n, Serial(rank, size))] for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 128])
def test_shares_are_all_samples_once_and_differ_by_one_at_most(n, size) -> None:
    parts = shares(n, size)
    assert [sample for part in parts for sample in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_single_rank_communicates_with_itself() -> None:
    alone, array = Serial(), np.arange(3)
    assert (alone.rank, alone.size) == (0, 1)
    assert alone.allreduce(array) is array
    assert alone.broadcast(array) is array
    assert gather(alone, {"a": [1, None]}) == [{"a": [1, None]}]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_rank_gathers_the_values_of_all(on_ranks, size) -> None:
    said = [{"rank": rank, "text": "\u00fc" * rank, "more": [None, 0.1]} for rank in range(size)]
    assert on_ranks(size, lambda ranks: gather(ranks, said[ranks.rank])) == [said] * size


def test_the_threads_of_the_tests_are_a_communicator(on_ranks) -> None:
    def operations(ranks):
        array = np.array([ranks.rank, 1.0])
        return ranks.broadcast(array + 5).tolist(), ranks.allreduce(array).tolist(), array.tolist()

    assert on_ranks(3, operations) == [([5.0, 6.0], [3.0, 3.0], [3.0, 3.0])] * 3
