"""Files of tensors from anyone: what the size of the file allows, and nothing else."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save

import xpdl
from xpdl.files import model
from xpdl.files.tensors import header_length, read_content, read_header, read_json

CONTENT = save({"W": np.ones((2, 3), "float32")}, {"note": "é"})


def test_the_header_is_read(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    content = read_content(path, 1000)
    assert content == CONTENT
    header = read_header(content)
    assert header["__metadata__"] == {"note": "é"}
    assert header["W"]["shape"] == [2, 3]


@pytest.mark.parametrize("length", [0, 1, 101, len(CONTENT) - 7, 2**40, 2**64 - 1])  # of a file of 160 bytes
def test_a_header_that_is_longer_than_it_may_be_is_refused_before_it_is_read(tmp_path, length) -> None:
    path = tmp_path / "file"
    path.write_bytes(length.to_bytes(8, "little") + CONTENT[8:])
    with pytest.raises((ValueError, SafetensorError), match=f"has {length} bytes, expected at most|header"):
        read_content(path, 100)
    assert header_length(path.read_bytes()) == length


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 1}}', "[NaN]", "[Infinity]", "[1e999]"])
def test_json_that_can_be_read_in_two_ways_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"comes twice|is not a number"):
        read_json(text)
    if "twice" not in text and "a" not in text.replace("NaN", ""):
        assert not np.isfinite(read_json(text, finite=False)[0])


@pytest.mark.skipif(os.name != "posix", reason="these files are of POSIX")
@pytest.mark.parametrize("read", [xpdl.load, xpdl.data.load, model.load])
@pytest.mark.parametrize("suffix", [".csv", ".npz", ".safetensors"])
def test_pipes_and_devices_are_refused(tmp_path, read, suffix) -> None:
    """A pipe without a writer would wait for ever, and /dev/zero would never end."""
    pipe, device = tmp_path / f"pipe{suffix}", tmp_path / f"device{suffix}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        with pytest.raises((OSError, ValueError)):
            read(path)


@pytest.mark.parametrize("sizes", [[1] * 500_000, [1, 10**9, 10**9, 1]])
def test_a_description_of_more_than_the_file_holds_costs_no_memory(tmp_path, sizes) -> None:
    net = xpdl.Network([2, 3, 2])
    path = tmp_path / "m"
    xpdl.save(path, net, net.initialize(0))
    content = path.read_bytes()
    header = read_header(content)
    document = json.loads(header["__metadata__"]["xpdl"])
    document["network"]["sizes"] = sizes
    header["__metadata__"] = {"xpdl": json.dumps(document, separators=(",", ":"))}
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + header_length(content) :])
    tracemalloc.start()
    try:
        with pytest.raises(xpdl.ModelFileError, match="its tensors are"):
            xpdl.load(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * path.stat().st_size + (16 << 20)
    finally:
        tracemalloc.stop()


def test_metadata_that_could_not_be_read_again_are_not_written(tmp_path) -> None:
    net = xpdl.Network([2, 3, 2])
    with pytest.raises(ValueError, match="metadata must take at most"):
        xpdl.save(tmp_path / "m", net, net.initialize(0), metadata={"note": "x" * model.LONGEST})
    assert list(tmp_path.iterdir()) == []
