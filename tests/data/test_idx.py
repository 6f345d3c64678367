"""The IDX reader: good files are read, bad ones are named, and memory never exceeds what the header says."""

import gzip
import hashlib
import tracemalloc

import numpy as np
import pytest

from xpdl.data.dataset import DataFormatError
from xpdl.data.idx import DTYPES, map_idx, read_idx

CODES = {np.dtype(name).newbyteorder("="): code for code, name in DTYPES.items()}
IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def encode(array):
    header = bytes([0, 0, CODES[array.dtype], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def header(*shape, code=0x08):
    return bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes()


@pytest.fixture
def file(tmp_path):
    def write(content, name="a-file"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("dtype", CODES, ids=str)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 1, 3, 2)], ids=str)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_type_and_rank_comes_back(file, dtype, shape, pack):
    array = (np.arange(np.prod(shape)) * 40 - 100).reshape(shape).astype(dtype)
    read = read_idx(file(pack(encode(array))))
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


def test_gzip_of_several_members_is_one_file(file):
    content = encode(IMAGES)
    np.testing.assert_array_equal(read_idx(file(gzip.compress(content[:30]) + gzip.compress(content[30:]))), IMAGES)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_hash_is_of_the_uncompressed_content(file, pack):
    path, digest = file(pack(encode(IMAGES))), hashlib.sha256(encode(IMAGES)).hexdigest()
    np.testing.assert_array_equal(read_idx(path, digest), IMAGES)
    with pytest.raises(
        DataFormatError, match=f"a-file: not the expected content: its SHA-256 is {digest}, expected 00"
    ):
        read_idx(path, "00")


GOOD = encode(IMAGES)
PACKED = gzip.compress(GOOD)
MALFORMED = {
    "empty": (b"", "truncated: 4 bytes"),
    "half a magic number": (GOOD[:3], "truncated: 4 bytes"),
    "no dimensions": (GOOD[:10], "truncated: 12 bytes of dimensions"),
    "text": (b"x,y,label\n1,2,3\n", "not an IDX file"),
    "wrong first byte": (b"\1" + GOOD[1:], "not an IDX file"),
    "unknown type": (b"\0\0\x0a" + GOOD[3:], "begins with 00 00 0a 03"),
    "no dimension": (header() + b"\0", "not an IDX file"),
    "five dimensions": (header(1, 1, 1, 1, 1) + b"\0", "not an IDX file"),
    "no elements": (header(0, 28, 28), r"no data: the header says \(0, 28, 28\)"),
    "one byte short": (GOOD[:-1], "truncated: 60 bytes .* expected, 59 found"),
    "one byte more": (GOOD + b"\0", "more data than the header says"),
    "gzip: one byte short": (gzip.compress(GOOD[:-1]), "truncated: 60 bytes"),
    "gzip: one byte more": (gzip.compress(GOOD + b"\0"), "more data than the header says"),
    "gzip: truncated": (PACKED[:-12], "ended before"),
    "gzip: no checksum": (PACKED[:-8], "ended before"),
    "gzip: wrong checksum": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "CRC"),
    "gzip: wrong length": (PACKED[:-4] + b"\0\0\0\1", "length"),
    "gzip: trailing garbage": (PACKED + b"garbage", "[Nn]ot a gzipped file"),
    "gzip: corrupt": (PACKED[:15] + b"\xff\xff\xff" + PACKED[18:], "Error|CRC|ended"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_named(file, case):
    content, reason = MALFORMED[case]
    with pytest.raises(DataFormatError, match=reason) as error:
        read_idx(file(content))
    assert "a-file: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "absent")


def peak_of_refusal(path):
    tracemalloc.start()
    with pytest.raises(DataFormatError):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_absurd_header_allocates_nothing(file, pack):
    huge = header(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, code=0x0E) + bytes(1000)
    assert peak_of_refusal(file(pack(huge))) < 2e6


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(file):
    bomb = gzip.compress(header(100, 28, 28) + bytes(200_000_000), compresslevel=1)
    assert peak_of_refusal(file(bomb)) < 2e6


def test_a_good_file_takes_little_more_than_its_size(file):
    path = file(gzip.compress(encode(np.zeros((20_000, 28, 28), np.uint8))))
    tracemalloc.start()
    array = read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 1.3 * array.nbytes
    tracemalloc.stop()


def mutate(rng, content):
    """Replace one to four short parts, mostly near the beginning, by nothing, by new bytes or by the rest twice."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(min(len(data), rng.choice([4, 16, 10_000])) + 1))
        new = [b"", rng.bytes(1), bytes([rng.integers(16)]), rng.bytes(rng.integers(9)), bytes(data[at:]) * 2]
        data[at : at + int(rng.integers(5))] = new[rng.integers(len(new))]
    return bytes(data)


def test_random_changes_give_no_other_error_than_the_named_one(file):
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    bases = [GOOD, PACKED, encode(np.linspace(-1, 1, 12, dtype=np.float64)), gzip.compress(encode(LABELS)), PACKED * 2]
    refused = 0
    for trial in range(4000):
        content = mutate(rng, bases[trial % len(bases)])
        try:
            assert read_idx(file(content)).size > 0
        except DataFormatError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, trial {trial}: {content!r} gave {error!r}") from error
    print(f"{refused} of 4000 refused")
    assert refused > 2000


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_a_plain_file_can_stay_on_disk(file, dtype):
    array = (np.arange(24) * 40 - 100).reshape(2, 3, 4).astype(dtype)
    mapped = map_idx(file(encode(array)))
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(encode(IMAGES)), "a-file: not an IDX file of 1 to 4 dimensions: it begins with 1f 8b"),
        (encode(IMAGES)[:-1], "a-file: 75 bytes, but the header says 76"),
        (encode(IMAGES) + b"0", "a-file: 77 bytes, but the header says 76"),
        (header(0), "a-file: no data"),
        (b"", "a-file: truncated"),
    ],
    ids=["gzip", "too short", "too long", "no dimension", "empty"],
)
def test_a_file_that_cannot_stay_on_disk_is_named(file, content, message):
    with pytest.raises(DataFormatError, match=message):
        map_idx(file(content))
