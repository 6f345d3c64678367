"""CuPy as a backend: its errors and its choice of a device on every machine, its arrays where there is a GPU."""

import subprocess
import sys

import numpy as np
import pytest

from xpdl.backends import available_backends, backend
from xpdl.randomness import dropout_mask


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="needs CuPy")


@pytest.fixture
def two_gpus(cupy, monkeypatch):
    """The module under test, where CuPy says that there are two GPUs."""
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    return __import__("xpdl.backends.cupy", fromlist=["connect"])


@pytest.fixture
def gpu(cupy):
    try:
        return backend("cupy")
    except RuntimeError as error:
        pytest.skip(str(error))


def test_without_cupy_or_a_gpu_the_error_says_what_to_install():
    if available_backends()["cupy"] == "ready":
        pytest.skip("there is a GPU here")
    with pytest.raises((ImportError, RuntimeError), match=r"backend 'cupy' .*: .*install") as caught:
        backend("cupy")
    assert "\n" not in str(caught.value)
    assert available_backends()["cupy"] == str(caught.value)


def test_cupy_is_imported_only_when_asked_for():
    asked = "import sys, xpdl, xpdl.backends.cuda.dropout, xpdl.backends.cuda.graph; sys.exit('cupy' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)


@pytest.mark.parametrize(("device", "index"), [("", 0), ("0", 0), ("1", 1)])
def test_the_device_is_the_number_after_the_colon(two_gpus, device, index):
    connected = two_gpus.connect("cupy:1", device)
    assert (connected.name, connected.device.id) == ("cupy:1", index)
    assert connected.xp.__name__ == "array_api_compat.cupy"
    assert connected.activate().id == index


@pytest.mark.parametrize(("device", "kind", "message"), [("2", RuntimeError, "2 GPU"), ("a", ValueError, "got 'a'")])
def test_a_device_that_is_not_there(two_gpus, device, kind, message):
    with pytest.raises(kind, match=message):
        two_gpus.connect("cupy", device)


def of_numpy(x):
    return x


def of_torch(x):
    return pytest.importorskip("torch").asarray(x)


def of_torch_on_the_gpu(x):
    torch = pytest.importorskip("torch")
    return torch.asarray(x, device="cuda") if torch.cuda.is_available() else pytest.skip("PyTorch without CUDA")


def of_jax(x):
    return pytest.importorskip("jax").numpy.asarray(x)


def of_strict(x):
    return pytest.importorskip("array_api_strict").asarray(x)


def of_cupy(x):
    return pytest.importorskip("cupy").asarray(x)


@pytest.mark.parametrize(
    "make", [of_numpy, of_torch, of_torch_on_the_gpu, of_jax, of_strict, of_cupy, np.ndarray.tolist]
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_arrays_of_every_library_come_and_go(gpu, cupy, make, dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    array = gpu.asarray(make(x), dtype)
    assert type(array) is cupy.ndarray
    assert (array.device, array.dtype) == (gpu.device, dtype)
    for back in (gpu.to_numpy(array), backend("numpy").asarray(array)):
        assert type(back) is np.ndarray
        np.testing.assert_array_equal(back, x, strict=True)


def test_a_copy_shares_no_memory(gpu):
    x = gpu.asarray([1.0, 2.0], "float32")
    copied = gpu.asarray(x, copy=True)
    x += 1
    assert gpu.to_numpy(copied).tolist() == [1.0, 2.0]


def test_the_backend_makes_masks_on_its_device(gpu):
    mask = gpu.dropout_mask(1, 2, 3, (5, 7), 0.25, "float32")
    assert mask.device == gpu.device
    np.testing.assert_array_equal(gpu.to_numpy(mask), dropout_mask(1, 2, 3, (5, 7), 0.25, "float32"), strict=True)


def test_every_gpu_can_be_chosen(gpu, cupy):
    for i in range(cupy.cuda.runtime.getDeviceCount()):
        chosen = backend(f"cupy:{i}")
        moved = chosen.asarray(gpu.asarray(np.ones(3)))
        mask = chosen.dropout_mask(1, 2, 3, (5, 7), 0.25, "float32")
        with chosen.activate():
            made = cupy.zeros(3)
        chosen.synchronize()
        assert {moved.device.id, mask.device.id, made.device.id} == {i}
