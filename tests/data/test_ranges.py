"""Which scaling fits samples, and which parts do not fit together."""

import numpy as np
import pytest

from xpdl.data.ranges import are_series, choose_scaling, different_ranges, foreign_range
from xpdl.data.shards import Shards
from xpdl.scaling import Scaling

R = np.random.default_rng(0)
PIXELS = R.integers(0, 256, (50, 20))
NUMBERS = R.normal(size=(50, 20)) * 1e4


def test_images_are_divided_and_other_numbers_standardised() -> None:
    for x in (PIXELS.astype("uint8"), PIXELS.astype("float32"), Shards([PIXELS.astype("uint8")])):
        assert choose_scaling(x)[0] == Scaling.images
    assert choose_scaling(PIXELS.astype(float), pixels=False)[0] == Scaling.fit(PIXELS)
    assert choose_scaling(NUMBERS)[0] == Scaling.fit(NUMBERS)
    assert choose_scaling(Shards([NUMBERS]))[0] == Scaling.fit(NUMBERS)
    assert choose_scaling(PIXELS / 255)[0] is None
    assert choose_scaling(PIXELS[:, :3] / 255)[0] == Scaling.fit(PIXELS[:, :3] / 255)


def test_the_user_decides() -> None:
    assert choose_scaling(NUMBERS, "none") == (None, "x is not scaled")
    assert choose_scaling(NUMBERS, "images")[0] == Scaling.images
    assert choose_scaling(PIXELS, "standard")[0] == Scaling.fit(PIXELS)
    with pytest.raises(ValueError, match="scale must be one of auto, images, none, standard, got 'minmax'"):
        choose_scaling(NUMBERS, "minmax")


def test_parts_of_which_one_was_scaled_are_told() -> None:
    said = different_ranges(PIXELS / 255, PIXELS, ("x", "x_test"))
    assert said == "x is within [0, 1] but x_test within [0, 255]: scale both in the same way"
    assert different_ranges(PIXELS, PIXELS / 255, ("x", "x_test")).startswith("x is within [0, 255]")
    for other in (PIXELS[:5], PIXELS * 3.0, 0 * PIXELS):
        assert different_ranges(PIXELS, other, ("x", "x_test")) == ""


def test_names_that_are_numbered() -> None:
    for names in ("pixel0 pixel1 pixel2", "V1 V2 V3", "1x1 1x2 2x1", "0 1 2", "feature_1 feature_2 feature_3"):
        assert are_series(names.split())
    for names in ("a b c", "x1 x2", "x1 y2 x3", "age p1 p2 p3"):
        assert not are_series(names.split())


def test_samples_of_another_range_than_the_training_are_told() -> None:
    assert "pixels from 0 to 255" in foreign_range(PIXELS / 255, Scaling.images)
    assert "far beyond the numbers of the training" in foreign_range(PIXELS, None)
    assert "far beyond" in foreign_range(NUMBERS * 1000, Scaling.fit(NUMBERS))
    for x, scaling in ((PIXELS, Scaling.images), (PIXELS / 255, None), (NUMBERS[:3] * 2, Scaling.fit(NUMBERS))):
        assert foreign_range(x, scaling) == ""
