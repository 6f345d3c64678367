"""array-api-strict: its pretended devices."""

import pytest

import xpdl

pytest.importorskip("array_api_strict")


def test_the_devices_of_one_library_differ() -> None:
    one, two = (xpdl.backend(f"array_api_strict:device{number}") for number in (1, 2))
    assert one.device != two.device


def test_the_device_without_float64_says_so() -> None:
    chosen = xpdl.backend("array_api_strict:no_float64")
    for call in (lambda: chosen.asarray([1.0], "float64"), lambda: chosen.zeros((1,), "float64")):
        with pytest.raises(ValueError, match="float64.*no_float64|no_float64.*float64"):
            call()


def test_the_default_device_is_the_cpu() -> None:
    assert xpdl.backend("array_api_strict").device == xpdl.backend("array_api_strict:cpu_device").device


def test_a_device_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="has the devices cpu_device, device1, .*, got 'device9'"):
        xpdl.backend("array_api_strict:device9")


def test_a_computation_does_not_warn_of_overflow() -> None:
    chosen = xpdl.backend("array_api_strict:device1")
    with chosen.activate():
        x = chosen.asarray([1e30], "float32")
        assert chosen.to_numpy(x * x).tolist() == [float("inf")]
