"""Pairing: cotangents that overlook no output, and the precision of the outputs."""

import numpy as np
import pytest

from xpdl.gradcheck.function.pairing import Pairing


@pytest.mark.parametrize("natural", [False, True])
def test_no_output_is_overlooked(natural) -> None:
    """Weights are +-1 to +-2; in natural units, of what an output is in size, to a factor of 2."""
    outputs = np.array([[1e-9, 1.0], [-1e9, 0.0]])
    pairing = Pairing(lambda: outputs, 0, natural=natural)
    pairing()
    sizes = np.array([[1e-9, 1.0], [1e9, 1e-9]]) if natural else np.ones((2, 2))
    weights = np.abs(pairing.weights["output"]) * sizes
    assert np.all((weights >= 0.5) & (weights <= 4)), weights


def test_the_scalar_has_the_precision_of_the_outputs() -> None:
    assert Pairing(lambda: np.ones(3, np.float32), 0)().dtype == np.float32
    assert Pairing(lambda: np.ones(3), 0)().dtype == np.float64
    assert Pairing(lambda: (np.ones(3), np.ones(3, np.float32)), 0)().dtype == np.float64


def test_two_seeds_give_two_cotangents_and_one_seed_gives_one() -> None:
    def weights(seed):
        pairing = Pairing(lambda: np.ones(4), seed)
        pairing()
        return pairing.weights["output"]

    assert np.array_equal(weights(0), weights(0))
    assert not np.array_equal(np.abs(weights(0)), np.abs(weights(1)))


def test_outputs_that_change_their_form_are_named() -> None:
    shapes = iter([(2,), (3,)])
    pairing = Pairing(lambda: np.ones(next(shapes)), 0)
    pairing()
    with pytest.raises(ValueError, match=r"output must have shape \(2,\), got \(3,\)"):
        pairing()
