"""Random numbers as pure functions of their address, in numbers that must never change."""

from itertools import combinations
import math

import numpy as np
import pytest

from xpdl.randomness import Stream, check_seed, dropout_bits, dropout_mask, generator, permutation, philox

ONES = 2**64 - 1
KNOWN = [  # Random123, tests/kat_vectors, philox4x64 10: counter, key, block
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]

GOLDEN_BITS = ["0xffed8210", "0x8d4f359f", "0xb0277839", "0xfffedc14", "0x3186e825"]
GOLDEN_MASK = [[1, 1, 1, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 1, 1, 1, 1]]
GOLDEN_ORDERS = [[7, 1, 4, 9, 8, 3, 5, 0, 2, 6], [1, 5, 3, 9, 6, 2, 4, 7, 0, 8]]
GOLDEN_NORMAL = [0.9353698043847452, -0.01423238133708202, 0.3477434925875519, 1.2830425789651938]


def philox4x64(counter, key):
    """A block of Philox4x64-10 (Salmon et al. 2011), in plain Python."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c2, 2**64)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return c0, c1, c2, c3


def words(seed, stream, step, layer, blocks):
    """The raw words at an address: NumPy counts before it draws, so the first block is number 1."""
    return [w for block in range(1, blocks + 1) for w in philox4x64((block, step, layer, 0), (seed, stream))]


# The generator


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_known_answers_of_philox(counter, key, block) -> None:
    """NumPy's Philox, and the plain one here, are Random123's."""
    assert philox4x64(counter, key) == block
    number = sum(word << 64 * i for i, word in enumerate(counter))
    before = [(number - 1 >> 64 * i) % 2**64 for i in range(4)]
    numpy = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=np.array(before, dtype=np.uint64))
    assert tuple(numpy.random_raw(4).tolist()) == block


@pytest.mark.parametrize("seed", [0, 1, 2**32, ONES])
@pytest.mark.parametrize("stream", Stream)
def test_the_address_is_key_and_counter(seed, stream) -> None:
    """Key (seed, stream), counter (block, step, layer, 0), over the edge of a block."""
    got = philox(seed, stream, step=2**40 + 5, layer=3).random_raw(9).tolist()
    assert got == words(seed, stream, 2**40 + 5, 3, 3)[:9]


def test_streams_keep_their_numbers() -> None:
    assert {stream.name: stream.value for stream in Stream} == {"WEIGHTS": 0, "SHUFFLE": 1, "DROPOUT": 2, "DATA": 3}


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 33])
def test_dropout_bits_are_the_low_then_the_high_halves(count) -> None:
    halves = [half for word in words(5, Stream.DROPOUT, 6, 7, 5) for half in (word % 2**32, word >> 32)]
    bits = dropout_bits(5, 6, 7, count)
    assert bits.dtype == np.uint32
    assert bits.tolist() == halves[:count]


def test_generators_draw_from_their_address() -> None:
    """53 bits of the first raw word are the first uniform number, which is NumPy's rule."""
    first = words(9, Stream.DATA, 4, 2, 1)[0]
    assert generator(9, Stream.DATA, step=4, layer=2).random() == (first >> 11) / 2**53


# Numbers that must never change: a new version of NumPy or of this file would change runs


def test_golden_dropout_bits() -> None:
    assert [hex(word) for word in dropout_bits(42, 3, 1, 5)] == GOLDEN_BITS


@pytest.mark.parametrize("first", [0, 1, 7, 8, 9, 64, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 9, 30])
def test_dropout_bits_can_be_had_from_any_on(first, count) -> None:
    assert dropout_bits(5, 6, 7, count, first).tolist() == dropout_bits(5, 6, 7, 200).tolist()[first : first + count]


def test_rows_of_a_mask_are_those_of_the_whole() -> None:
    whole = dropout_mask(1, 2, 3, (20, 7), 0.4, "float32")
    np.testing.assert_array_equal(dropout_mask(1, 2, 3, (5, 7), 0.4, "float32", 13), whole[13:18])


def test_golden_dropout_mask() -> None:
    mask = dropout_mask(42, 3, 1, (4, 5), 0.5, "float32")
    assert (mask / 2).astype(int).tolist() == GOLDEN_MASK


def test_golden_permutation() -> None:
    assert permutation(42, 0, 10).tolist() == GOLDEN_ORDERS[0]
    assert permutation(42, 1, 10).tolist() == GOLDEN_ORDERS[1]


def test_without_shuffling_the_order_is_the_one_given() -> None:
    assert permutation(42, 1, 4, shuffle=False).tolist() == [0, 1, 2, 3]
    assert permutation(42, 1, 4, shuffle=False).dtype == np.int32


def test_golden_normal_numbers() -> None:
    """From which weights are made."""
    assert generator(42, Stream.WEIGHTS, layer=1).standard_normal(4).tolist() == GOLDEN_NORMAL


# Addresses


def test_numbers_depend_on_nothing_but_the_address() -> None:
    """Not on what was drawn before, nor on how much is asked for."""
    first = dropout_bits(1, 2, 3, 10).tolist()
    np.random.Generator(np.random.PCG64(0)).random(100)
    dropout_bits(1, 2, 4, 1000)
    permutation(1, 2, 50)
    assert dropout_bits(1, 2, 3, 10).tolist() == first
    assert dropout_bits(1, 2, 3, 1001)[:10].tolist() == first
    assert permutation(1, 2, 50).tolist() == permutation(1, 2, 50).tolist()


def test_every_part_of_the_address_matters() -> None:
    """64 raw words at neighbouring addresses share not one value."""
    places = {
        (seed, stream, step, layer) for seed in (0, 1) for stream in Stream for step in (0, 1) for layer in (0, 1)
    }
    drawn = {place: set(philox(*place[:2], step=place[2], layer=place[3]).random_raw(64).tolist()) for place in places}
    for a, b in combinations(places, 2):
        assert not drawn[a] & drawn[b], (a, b)


def test_masks_differ_between_steps_layers_and_seeds() -> None:
    """Two fair masks of 10,000 agree in half of their entries, within 5 deviations of 50."""
    masks = [
        dropout_mask(*address, (100, 100), 0.5, "float32") > 0
        for address in ((1, 0, 1), (1, 1, 1), (1, 0, 2), (2, 0, 1))
    ]
    for a, b in combinations(masks, 2):
        assert abs(int(np.sum(a == b)) - 5000) < 5 * 50


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [permutation(seed, epoch, 1000).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4


# Masks and orders


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("drop", [0.1, 1 / 3, 0.5, 0.9])
def test_entries_are_0_or_the_inverse_of_what_is_kept(drop, dtype) -> None:
    mask = dropout_mask(0, 0, 1, (31, 33), drop, dtype)
    assert mask.dtype == dtype
    assert mask.shape == (31, 33)
    assert np.unique(mask).tolist() == [0.0, float(np.dtype(dtype).type(1 / (1 - drop)))]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("drop", [0.001, 0.1, 0.5, 0.9])
def test_the_drop_rate_is_kept(drop, seed) -> None:
    """n entries: n p dropped, within 5 deviations sqrt(n p (1 - p))."""
    dropped = int(np.sum(dropout_mask(seed, 7, 2, (500, 401), drop, "float32") == 0))
    n = 500 * 401
    assert abs(dropped - n * drop) < 5 * math.sqrt(n * drop * (1 - drop))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neighbours_are_independent(seed) -> None:
    """Both of two neighbours are dropped with probability p^2, along rows and columns."""
    off = dropout_mask(seed, 0, 1, (401, 401), 0.5, "float32") == 0
    for both in (off[:, 1:] & off[:, :-1], off[1:] & off[:-1]):
        # pairs overlap: the variance of their number is n (p^2 (1 - p^2) + 2 (p^3 - p^4)), p = 1/2
        assert abs(np.sum(both) - both.size / 4) < 5 * math.sqrt(both.size * (3 / 16 + 2 / 16))


def test_an_entry_is_dropped_below_the_threshold() -> None:
    """Word < round(p 2^32), for the very first entries."""
    bits = dropout_bits(3, 1, 1, 15)
    kept = [[0.0 if bit < round(0.3 * 2**32) else 1 / 0.7 for bit in row] for row in bits.reshape(3, 5).tolist()]
    assert dropout_mask(3, 1, 1, (3, 5), 0.3, "float64").tolist() == kept


def test_dropping_nothing_keeps_everything() -> None:
    assert np.all(dropout_mask(0, 0, 1, (30, 30), 0.0, "float32") == 1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 7), (7, 1), (2, 4)])
def test_odd_counts_start_like_longer_ones(shape) -> None:
    count = math.prod(shape)
    long = dropout_mask(1, 1, 1, (1, 100), 0.5, "float32").ravel()[:count]
    assert dropout_mask(1, 1, 1, shape, 0.5, "float32").ravel().tolist() == long.tolist()


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_an_order_has_every_sample_once(n) -> None:
    order = permutation(8, 2, n)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(n))


def test_orders_are_uniform() -> None:
    """Over 6,000 epochs each of the 6 orders of 3 comes 1,000 times, within 5 deviations."""
    counts = np.bincount([int(permutation(0, epoch, 3) @ [9, 3, 1]) for epoch in range(6000)])
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert np.all(np.abs(counts - 1000) < 5 * math.sqrt(6000 * 5 / 36))


# Seeds


@pytest.mark.parametrize("seed", [0, 1, ONES, np.int64(5), np.uint64(ONES)])
def test_seeds_are_all_integers_of_64_bits(seed) -> None:
    assert check_seed(seed) == int(seed)
    assert type(check_seed(seed)) is int
    assert dropout_bits(seed, 0, 0, 2).tolist() == dropout_bits(int(seed), 0, 0, 2).tolist()


def test_the_largest_seeds_are_different_runs() -> None:
    assert dropout_bits(ONES, 0, 0, 4).tolist() != dropout_bits(ONES - 1, 0, 0, 4).tolist()


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, r"seed must be in \[0, 2\*\*64\), got -1"),
        (2**64, ValueError, r"seed must be in \[0, 2\*\*64\), got 18446744073709551616"),
        (1.0, TypeError, "seed must be an integer, got 1.0"),
        ("7", TypeError, "seed must be an integer, got '7'"),
        (None, TypeError, "seed must be an integer, got None"),
        ([1], TypeError, r"seed must be an integer, got \[1\]"),
    ],
)
def test_other_seeds_are_refused(seed, error, message) -> None:
    for draw in (check_seed, lambda seed: permutation(seed, 0, 3), lambda seed: dropout_bits(seed, 0, 0, 3)):
        with pytest.raises(error, match=message):
            draw(seed)
