"""Dropout masks: one for each hidden layer, a function of seed and step alone."""

import numpy as np
import pytest

from xpdl import Network, dropout_masks
from xpdl.randomness import dropout_mask

NET = Network([4, 6, 5, 3], dropout=[0.5, 0.25])


def test_there_is_a_mask_for_each_hidden_layer(lib) -> None:
    masks = dropout_masks(NET, 8, seed=1, step=2, backend=lib.backend, dtype=lib.dtype)
    for layer, (mask, units, drop) in enumerate(zip(masks, (6, 5), (0.5, 0.25), strict=True), start=1):
        assert np.array_equal(lib.host(mask), dropout_mask(1, 2, layer, (8, units), drop, lib.dtype))


def test_a_layer_that_drops_nothing_has_no_mask() -> None:
    first, second = dropout_masks(Network([4, 6, 5, 3], dropout=[0.0, 0.25]), 8, seed=0, step=0)
    assert first is None
    assert second.shape == (8, 5)
    assert dropout_masks(Network([4, 6, 3]), 8, seed=0, step=0) is None


def test_masks_of_some_rows_are_rows_of_the_masks() -> None:
    whole, part = (dropout_masks(NET, 8, seed=0, step=5, rows=rows) for rows in (slice(None), slice(3, 7)))
    for mask, rows in zip(whole, part, strict=True):
        assert np.array_equal(mask[3:7], rows)


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 1}])
def test_another_seed_or_step_has_other_masks(other) -> None:
    options = {"seed": 0, "step": 0}
    one, two = dropout_masks(NET, 8, **options)[0], dropout_masks(NET, 8, **options | other)[0]
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"step": -1}, ValueError, "step must be at least 0, got -1"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64"),
        ({"backend": "nmupy"}, ValueError, "did you mean 'numpy'"),
    ],
)
def test_wrong_arguments_are_named(options, error, message) -> None:
    with pytest.raises(error, match=message):
        dropout_masks(NET, **{"n": 8, "seed": 0, "step": 0} | options)
