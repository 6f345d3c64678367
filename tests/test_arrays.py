"""What kernels ask of arrays, on every library."""

import numpy as np
import pytest

from xpdl.arrays import _NAMESPACES, device, is_complex, namespace, real

COMPLEX = {"float64": "complex128", "float32": "complex64"}


def test_the_namespace_has_the_functions_of_the_library(lib) -> None:
    x = lib.put([1.0, 4.0])
    lib.close(lib.call(lambda x: namespace(x).sqrt(x), x), [1.0, 2.0])


def test_the_namespace_of_a_type_is_looked_up_once(monkeypatch) -> None:
    class Counted(np.ndarray):
        pass

    asked = []
    monkeypatch.setattr("xpdl.arrays.array_namespace", lambda x: asked.append(x) or np)
    x = np.zeros(2).view(Counted)
    assert [namespace(x) for _ in range(3)] == [np] * 3
    assert len(asked) == 1
    del _NAMESPACES[Counted]


def test_what_is_no_array_has_no_namespace() -> None:
    for wrong in ([1.0], "text", None):
        with pytest.raises(TypeError):
            namespace(wrong)


def test_complex_arrays_are_told_from_real_ones(lib) -> None:
    for dtype, expected in ((lib.dtype, False), ("int32", False), ("bool", False), (COMPLEX[lib.dtype], True)):
        assert is_complex(lib.put(np.ones(2), dtype)) is expected


def test_the_real_part(lib) -> None:
    z = lib.put(np.array([1 + 2j, -3j]), COMPLEX[lib.dtype])
    part = lib.call(real, z)
    lib.close(part, [1.0, 0.0])
    assert str(lib.host(part).dtype) == lib.dtype


def test_a_real_array_is_its_own_real_part(lib) -> None:
    x = lib.put([1.0, 2.0])
    assert real(x) is x


def test_arrays_made_on_the_device_of_another_can_be_added_to_it(lib) -> None:
    x = lib.put([1.0, 2.0])
    added = lib.call(lambda x: x + namespace(x).ones(2, dtype=x.dtype, device=device(x)), x)
    lib.close(added, [2.0, 3.0])
