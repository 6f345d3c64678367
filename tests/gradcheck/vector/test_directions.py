"""A backward and a forward pass together: each is judged, and their products are one number."""

import re

import pytest

import xpdl


def products(report):
    note = next(note for note in report.notes if note.startswith("forward against reverse"))
    return [float(number) for number in re.findall(r"= ([^,]+)", note)]


def test_two_right_passes_have_the_same_product(layer) -> None:
    report = xpdl.check_vjp(layer.forward, layer.backward, *layer.point, jvp=layer.tangent)
    assert report.verdict == "PASS"
    assert list(report.parameters) == [f"args[{k}]{way}" for way in ("", " forward") for k in range(3)]
    ahead, back = products(report)
    assert ahead == pytest.approx(back, rel=1e-8)


def test_the_wrong_one_is_named_and_the_products_differ(layer) -> None:
    report = xpdl.check_vjp(
        layer.forward, layer.backward, *layer.point, jvp=lambda t, *args: 1.01 * layer.tangent(t, *args)
    )
    assert {name: p.verdict for name, p in report.parameters.items()} == {
        f"args[{k}]{way}": verdict for way, verdict in (("", "PASS"), (" forward", "FAIL")) for k in range(3)
    }
    ahead, back = products(report)
    assert ahead == pytest.approx(1.01 * back, rel=1e-8)
