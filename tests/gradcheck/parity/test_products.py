"""Products: reduced precision is named, with the bits that are kept and the products that lose them."""

from dataclasses import replace

import numpy as np
import pytest

from xpdl import Network
from xpdl.backends import backend
from xpdl.gradcheck.parity import check_backends
from xpdl.gradcheck.parity.products import compiled_note, kept_bits
from xpdl.gradcheck.problem import Problem


@pytest.mark.parametrize(("bits", "name"), [(7, "bfloat16"), (10, "TF32"), (16, "16-bit"), (22, "22-bit")])
def test_reduced_precision_is_named(bits, name, multiplies) -> None:
    for sizes in ([3, 4, 2], [784, 128, 10], [2, 1]):
        net = Network(sizes, output="linear")
        rng = np.random.default_rng(0)
        x, y = rng.random((1 + len(sizes), sizes[0])), rng.random((1 + len(sizes), sizes[-1]))
        report = check_backends(net, net.initialize(), x, y, backends=[multiplies(bits), "numpy"])
        result = report.backends["faulty"]
        assert set(result.bits.values()) == {bits}
        assert (result.verdict, result.first) == ("FAIL", "z1")
        assert set(report.backends["numpy"].bits.values()) == {23}
        line = next(line for line in str(report).splitlines() if "reduced precision" in line)
        assert name in line
        assert "numpy" not in line
        assert f"faulty: in a compiled step, as train runs it, products keep {bits} bits" in str(report)


def test_tf32_is_seen_in_the_values_too(multiplies) -> None:
    net = Network([784, 256, 10])
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 784)), rng.integers(0, 10, 32)
    result = check_backends(net, net.initialize(), x, y, backends=[multiplies(10)]).backends["faulty"]
    failing = [name for name, quantity in result.quantities.items() if quantity.failing]
    assert failing == result.diverging == ["z1", "z2", "dw2", "da1", "dw1"]


def test_products_that_are_reduced_in_some_sizes_only_are_named(multiplies) -> None:
    net = Network([100, 8, 3])
    rng = np.random.default_rng(0)
    report = check_backends(
        net, net.initialize(), rng.random((20, 100)), rng.integers(0, 3, 20), backends=[multiplies(10, least=50)]
    )
    result = report.backends["faulty"]
    assert result.reduced == result.diverging == ["z1"]
    assert result.bits == {"z1": 10, "dw1": 23, "z2": 23, "dw2": 23, "da1": 23}
    assert "multiplies float32 in reduced precision: 10-bit mantissa (TF32 or float16), in z1" in str(report)


def test_a_compiled_step_may_be_more_precise(small, faulty, rounded) -> None:
    reduced = [True]

    def compiled(step):
        def run(*arguments):
            reduced[0] = False
            try:
                return step(*arguments)
            finally:
                reduced[0] = True

        return run

    def fault(given, right, call):
        return rounded(given[0], 10) @ rounded(given[1], 10) if reduced[0] else right

    arguments, _ = small()
    report = check_backends(*arguments, backends=[replace(faulty("matmul", fault), compile=compiled)])
    assert "faulty: in a compiled step, as train runs it, products keep 23 bits" in str(report)


def test_float64_that_is_float32_is_named(small, faulty) -> None:
    def fault(given, right, call):
        return (given[0].astype(np.float32) @ given[1].astype(np.float32)).astype(np.float64)

    arguments, _ = small()
    result = check_backends(*arguments, dtype="float64", backends=[faulty("matmul", fault)]).backends["faulty"]
    assert result.first == "z1"
    assert result.products == "23-bit mantissa (float32)"


def problem(small, dtype):
    (net, theta, x, y), _ = small()
    home = backend("numpy")
    return Problem(net, home, theta.astype(dtype), x.astype(dtype), net.targets(theta, x, y), None)


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 23), ("float64", 52)])
def test_numpy_keeps_all_bits(small, dtype, bits) -> None:
    given = problem(small, dtype)
    found = kept_bits(given, backend("numpy"))
    assert found == dict.fromkeys(("z1", "dw1", "z2", "dw2", "da1", "z3", "dw3", "da2"), bits)
    assert compiled_note(given, backend("numpy"), found) == ()


@pytest.mark.parametrize("bits", [1, 7, 10, 22])
def test_bits_are_counted(small, multiplies, bits) -> None:
    assert set(kept_bits(problem(small, "float32"), multiplies(bits)).values()) == {bits}


def test_a_compiled_step_is_tried_if_products_lose_bits(small, multiplies) -> None:
    given = problem(small, "float32")
    home = multiplies(10)
    note = "in a compiled step, as train runs it, products keep 10 bits"
    assert compiled_note(given, home, kept_bits(given, home)) == (note,)
