"""PyTorch as a backend: autograd stays as it was, and products have the precision that was asked for."""

import numpy as np
import pytest

import xpdl
from xpdl import Network

torch = pytest.importorskip("torch")


def test_training_leaves_autograd_alone() -> None:
    assert torch.is_grad_enabled()
    x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    xpdl.train(Network([2, 2]), x, y, epochs=5, backend="torch", progress=False)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_products_on_a_gpu_are_in_the_precision_asked_for_whatever_was_set(precision) -> None:
    from xpdl.backends.torch import multiplying

    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    for other in ("tf32", "ieee"):
        settings.fp32_precision = other
        with multiplying(precision):
            assert settings.fp32_precision == precision
        assert settings.fp32_precision == other
    settings.fp32_precision = before


def test_a_training_on_a_gpu_is_in_float32_by_default() -> None:
    """A CPU can only test the setting that PyTorch would use."""
    seen, settings = [], torch.backends.cuda.matmul
    before, settings.fp32_precision = settings.fp32_precision, "tf32"
    try:
        callback = lambda metrics, step: seen.append(settings.fp32_precision)  # noqa: E731
        x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
        xpdl.train(Network([2, 2]), x, y, epochs=1, backend="torch", callbacks=[callback], progress=False)
    finally:
        settings.fp32_precision = before
    assert seen == ["ieee"]
