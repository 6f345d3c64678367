"""MNIST from a folder, the cache or a mirror: never a wrong or incomplete file. The tests use no network."""

import gzip
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import importlib
import os
from pathlib import Path
import sys
import threading

import numpy as np
import pytest

from xpdl.data import mnist
from xpdl.data.dataset import DataFormatError

MODULE = importlib.import_module("xpdl.data.mnist")  # the name in the package is the function
FILES = {
    "train-images-idx3-ubyte": b"\0\0\x08\3" + bytes([0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(12)),
    "train-labels-idx1-ubyte": b"\0\0\x08\1" + bytes([0, 0, 0, 3, 5, 0, 9]),
    "t10k-images-idx3-ubyte": b"\0\0\x08\3" + bytes([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(4),
    "t10k-labels-idx1-ubyte": b"\0\0\x08\1" + bytes([0, 0, 0, 1, 7]),
}
IMAGES = "train-images-idx3-ubyte"
PACKED = {f"/{name}.gz": gzip.compress(content) for name, content in FILES.items()}


def write(folder, files=FILES, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files | changed).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def check(data):
    assert data.x.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert (data.y.tolist(), data.x_test.shape, data.y_test.tolist(), data.name) == ([5, 0, 9], (1, 4), [7], "mnist")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A small MNIST with its own hashes, an empty cache, no $XPDL_DATA and no mirror."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("XPDL_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(MODULE, "MIRRORS", ())
    monkeypatch.setattr(MODULE, "SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()})
    return tmp_path / "cache" / "xpdl" / "mnist"


@pytest.fixture
def mirror(monkeypatch):
    """Starts servers; each maps a path to (status, body, announced length). Returns the list of paths asked for."""
    servers = []

    def start(answers):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                status, body, length = answers.get(self.path, (404, b"", 0))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        monkeypatch.setattr(MODULE, "MIRRORS", (*MODULE.MIRRORS, f"http://127.0.0.1:{server.server_port}/"))
        return asked

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


GOOD = {path: (200, body, len(body)) for path, body in PACKED.items()}


@pytest.mark.parametrize("below", ["", "mnist"])
@pytest.mark.usefixtures("cache")
def test_xpdl_data_is_the_folder_or_holds_it(tmp_path, monkeypatch, below):
    write(tmp_path / "own" / below)
    monkeypatch.setenv("XPDL_DATA", str(tmp_path / "own"))
    check(mnist())


def test_the_cache_is_used_without_the_network(cache, mirror, monkeypatch):
    asked = mirror(GOOD)
    monkeypatch.setenv("XPDL_DATA", "/nowhere")
    write(cache)
    check(mnist())
    assert asked == []


def test_a_download_is_kept_and_announced(cache, mirror, capsys):
    asked = mirror(GOOD)
    check(mnist())
    assert asked == list(GOOD)
    assert capsys.readouterr().err.count("xpdl: downloading http://127.0.0.1") == 4
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in FILES)
    check(mnist())
    assert len(asked) == 4
    assert capsys.readouterr().err == ""


def test_only_what_is_missing_is_downloaded(cache, mirror):
    asked = mirror(GOOD)
    write(cache)
    (cache / f"{IMAGES}.gz").unlink()
    check(mnist())
    assert asked == [f"/{IMAGES}.gz"]


def test_a_mirror_may_send_unpacked_files(cache, mirror):
    mirror({f"/{name}.gz": (200, content, len(content)) for name, content in FILES.items()})
    check(mnist())
    assert len(list(cache.iterdir())) == 4


BODY = PACKED[f"/{IMAGES}.gz"]
OTHER = gzip.compress(FILES[IMAGES][:-1] + b"\xff")
BAD = {
    "404": ((404, b"", 0), "404"),
    "500": ((500, b"", 0), "500"),
    "truncated on the way": ((200, BODY[:-9], len(BODY)), "IncompleteRead|broken"),
    "truncated at the source": ((200, BODY[:-9], len(BODY) - 9), "ended before"),
    "corrupt": ((200, BODY[:-8] + b"\0\0\0\0" + BODY[-4:], len(BODY)), "CRC"),
    "another data set": ((200, OTHER, len(OTHER)), "not the expected content"),
    "a login page": ((200, b"<html>", 6), "not an IDX file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_mirror_is_refused_by_name_and_leaves_nothing(cache, mirror, case):
    answer, reason = BAD[case]
    mirror(GOOD | {f"/{IMAGES}.gz": answer})
    with pytest.raises(FileNotFoundError, match=reason) as error:
        mnist()
    message = str(error.value)
    assert f"/{IMAGES}.gz: " in message
    assert "\n" not in message
    assert "set XPDL_DATA" in message
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("case", BAD)
def test_the_second_mirror_replaces_a_bad_one(cache, mirror, case):
    mirror(GOOD | {f"/{IMAGES}.gz": BAD[case][0]})
    asked = mirror(GOOD)
    check(mnist())
    assert asked == [f"/{IMAGES}.gz"]
    assert len(list(cache.iterdir())) == 4


@pytest.mark.usefixtures("cache")
def test_the_second_mirror_replaces_one_that_is_down(mirror, monkeypatch):
    monkeypatch.setattr(MODULE, "MIRRORS", ("http://127.0.0.1:9/",))
    asked = mirror(GOOD)
    check(mnist())
    assert len(asked) == 4


def test_if_all_mirrors_are_down_the_error_says_what_was_tried_and_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(MODULE, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    with pytest.raises(FileNotFoundError) as error:
        mnist()
    wanted = ["$XPDL_DATA is not set", str(cache), "127.0.0.1:9/a/train", "127.0.0.1:9/b/train", "--data glyphs"]
    assert [text for text in [*wanted, *(f"{name}.gz" for name in FILES)] if text not in str(error.value)] == []
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("cache")
def test_without_pooch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("XPDL_DATA", "/nowhere")
    with pytest.raises(FileNotFoundError, match=r"none of .* \(/nowhere\); .* pooch .* pip install \"xpdl\[mnist\]\""):
        mnist()


def test_a_cache_that_cannot_be_written_is_named(cache, mirror):
    mirror(GOOD)
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"Not a directory|File exists"):
        mnist()


FOUND_WRONG = {
    "hash": (gzip.compress(FILES[IMAGES][:-1] + b"\xff"), "not the expected content"),
    "truncated": (BODY[:-9], "ended before"),
    "not IDX": (b"hello", "not an IDX file"),
}


@pytest.mark.parametrize("case", FOUND_WRONG)
@pytest.mark.parametrize("place", ["own", "cache"])
def test_a_wrong_file_is_an_error_not_a_reason_to_look_elsewhere(cache, mirror, tmp_path, monkeypatch, place, case):
    content, reason = FOUND_WRONG[case]
    folder = {"own": tmp_path / "own" / "mnist", "cache": cache}[place]
    write(folder)
    (folder / f"{IMAGES}.gz").write_bytes(content)
    monkeypatch.setenv("XPDL_DATA", str(tmp_path / "own"))
    asked = mirror(GOOD)
    with pytest.raises(DataFormatError, match=f"{IMAGES}.gz: .*{reason}"):
        mnist()
    assert asked == []


@pytest.mark.usefixtures("cache")
def test_a_folder_that_holds_only_some_files_is_an_error(tmp_path, monkeypatch):
    write(tmp_path / "own")
    (tmp_path / "own" / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("XPDL_DATA", str(tmp_path / "own"))
    with pytest.raises(DataFormatError, match="own: there is no file t10k-labels-idx1-ubyte"):
        mnist()


def test_the_real_mnist():
    own = os.environ.get("XPDL_DATA", "")
    if not any(Path(own, below, f"{IMAGES}{end}").is_file() for below in ("", "mnist") for end in ("", ".gz")):
        pytest.skip("needs XPDL_DATA to point at a folder with MNIST")
    data = mnist()
    assert (data.x.shape, data.x_test.shape, data.x.dtype, data.y.dtype) == (
        (60_000, 784),
        (10_000, 784),
        np.uint8,
        np.int64,
    )
    assert data.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(data.x.mean() / 255 - 0.1307) < 1e-4
