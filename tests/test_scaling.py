"""Scaling: x' = (x - shift) * scale is a part of the network, on every library, from every dtype, and in files."""

from dataclasses import replace
import warnings

import numpy as np
import pytest

import xpdl
from xpdl import Network, Scaling
from xpdl.data.inputs import place
from xpdl.scaling import BEFORE, holds_images

RNG = np.random.default_rng(0)
PIXELS, LABELS = RNG.integers(0, 256, (40, 6)).astype("uint8"), np.arange(40) % 3
SCALINGS = {
    "images": Scaling.images,
    "fit": Scaling.fit(PIXELS),
    "shift": Scaling(shift=100.0),
    "shifts": Scaling(shift=np.arange(6.0), scale=0.01),
    "scales": Scaling(scale=list(np.arange(1.0, 7.0) / 100)),
}
on_each = pytest.mark.parametrize(
    "lib", ["numpy", "strict-device1", "strict-no_float64", "jax", "torch", "cupy"], indirect=True
)
every_scaling = pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)


def scaled(scaling, x):
    return (x.astype(float) - np.array(scaling.shift)) * np.array(scaling.scale)


@every_scaling
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64", "bool"])
def test_it_is_the_formula_and_leaves_x_alone(scaling, dtype, lib) -> None:
    if dtype == "float64" and lib.dtype == "float32":
        pytest.skip("has no float64")
    x = PIXELS.astype(dtype)
    given = lib.put(x, dtype)
    theta = lib.put(np.zeros(1))
    found = lib.call(lambda x: scaling(x, theta.dtype), given)
    lib.close(found, scaled(scaling, x))
    assert found.dtype == theta.dtype
    assert np.array_equal(lib.host(given), x)


@on_each
@every_scaling
def test_training_and_evaluation_scale_on_every_library_from_every_dtype(scaling, lib) -> None:
    """The same bits from uint8 as from floats, and to rounding the run on samples that were scaled before."""
    net = Network([6, 5, 3], inputs=scaling)
    options = {"backend": lib.backend, "dtype": lib.dtype}
    runs = [
        xpdl.train(net, x, LABELS, epochs=3, batch_size=16, progress=False, validation=(x, LABELS), **options)
        for x in (PIXELS, PIXELS.astype("float32"), PIXELS.astype("int64"))
    ]
    assert len({run.theta.tobytes() for run in runs}) == 1
    assert len({run.history[-1]["validation_loss"] for run in runs}) == 1
    before = replace(net, inputs=None)
    x = scaled(scaling, PIXELS)
    theta = xpdl.train(before, x, LABELS, epochs=3, batch_size=16, progress=False, **options).theta
    np.testing.assert_allclose(runs[0].theta, theta, rtol=0, atol=100 * lib.tolerance * np.abs(theta).max())
    loss = xpdl.evaluate(net, theta, PIXELS, LABELS, **options)["loss"]
    assert loss == pytest.approx(xpdl.evaluate(before, theta, x, LABELS, **options)["loss"], rel=100 * lib.tolerance)


@every_scaling
def test_its_gradient_is_right_and_alike_everywhere(scaling) -> None:
    net = Network([6, 5, 3], hidden="tanh", inputs=scaling, l2=0.1)
    theta = net.initialize(1, "float64")
    for x in (PIXELS, PIXELS.astype(float)):
        assert xpdl.check_network(net, theta, x, LABELS).verdict == "PASS"
        assert xpdl.check_backends(net, theta, x, LABELS, backends=["numpy", "array_api_strict"])


@every_scaling
def test_it_is_saved_with_the_network(scaling, tmp_path) -> None:
    net = Network([6, 3], inputs=scaling)
    xpdl.save(tmp_path / "model", net, net.initialize())
    assert xpdl.load(tmp_path / "model").network == net


def test_before_it_was_saved_uint8_alone_was_scaled(lib) -> None:
    xp = lib.backend.xp
    net = Network([6, 3], inputs=BEFORE)
    theta = lib.put(net.initialize(dtype="float64"))
    expected = lib.host(Network([6, 3]).predict_proba(theta, lib.put(PIXELS / 255)))
    lib.close(lib.call(net.predict_proba, theta, lib.put(PIXELS)), expected)
    lib.close(lib.call(net.predict_proba, theta, lib.put(PIXELS / 255)), expected)
    assert net.inputs(lib.put(PIXELS, "int32"), getattr(xp, lib.dtype)).dtype == getattr(xp, lib.dtype)


def test_ranks_scale_too(on_ranks) -> None:
    net = Network([6, 5, 3], inputs=SCALINGS["fit"])
    options = {"epochs": 3, "batch_size": 16, "backend": "numpy", "dtype": "float64", "progress": False}
    alone = xpdl.train(net, PIXELS, LABELS, **options).theta
    for result in on_ranks(2, lambda ranks: xpdl.train(net, PIXELS, LABELS, communicator=ranks, **options)):
        np.testing.assert_allclose(result.theta, alone, rtol=1e-9, atol=1e-12)


def test_images_on_disk_are_scaled(tmp_path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    np.save(tmp_path / "y.npy", LABELS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    net, options = Network([6, 3], inputs=Scaling.images), {"backend": "numpy", "epochs": 2, "progress": False}
    theta = xpdl.train(net, mapped, LABELS, batch_size=None, **options).theta
    np.testing.assert_allclose(theta, xpdl.train(net, PIXELS, LABELS, batch_size=None, **options).theta, rtol=1e-4)


def test_fit_is_mean_and_deviation_in_every_library(lib) -> None:
    x = RNG.normal(5, 3, (5000, 3))
    scaling = Scaling.fit(lib.put(x))
    np.testing.assert_allclose(scaling.shift, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaling.scale, 1 / x.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-12, 12345.678])
def test_a_feature_that_never_varies_is_only_shifted(value) -> None:
    scaling = Scaling.fit(np.full((10_001, 1), value))
    assert scaling.scale == (1.0,)
    assert scaling.shift[0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: Scaling(scale=np.nan), "scale must be finite"),
        (lambda: Scaling(shift=[1.0, np.inf]), "shift must be finite"),
        (lambda: Scaling(shift=[]), "shift must be a number or hold one for each feature"),
        (lambda: Scaling(shift=np.eye(2)), "shift must be a number or hold one for each feature"),
        (lambda: Scaling(scale="big"), "scale must be a number"),
        (lambda: Scaling(only="float64"), "only must be one of uint8"),
        (lambda: Scaling([1.0, 2.0], [1.0]), "shift and scale must have the same length, got 2 and 1"),
        (lambda: Network([3, 2], inputs=Scaling([1.0, 2.0])), "inputs must scale 3 features.* got 2"),
        (lambda: Network([3, 2], inputs=0.1), "inputs must be an xpdl.Scaling, got 0.1"),
        (lambda: Scaling.fit([1.0, 2.0]), r"x must have shape \(n, d\)"),
        (lambda: Scaling.fit([[1.0, np.nan]]), "x must be finite"),
    ],
)
def test_what_is_not_a_scaling_is_refused(attempt, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        attempt()


def test_only_what_has_arrays_is_placed_on_the_device(lib) -> None:
    net = Network([6, 3], inputs=SCALINGS["fit"])
    placed = place(net, lib.backend, lib.dtype)
    assert type(placed.inputs.shift) is type(lib.put(PIXELS))
    assert place(replace(net, inputs=None), lib.backend, lib.dtype).inputs is None
    assert place(replace(net, inputs=Scaling.images), lib.backend, lib.dtype).inputs is Scaling.images


IMAGES = RNG.integers(0, 256, (30, 20))
NO_IMAGES = {
    "one-hot": np.eye(30, dtype="uint8"),
    "dark": IMAGES // 3,
    "too bright": IMAGES + 1,
    "negative": IMAGES - 1,
    "fractions": IMAGES + 0.5,
    "few": IMAGES[:, :15],
    "NaN": np.where(np.arange(20) == 3, np.nan, IMAGES),
}


@on_each
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_images_that_nothing_scales_get_a_warning(dtype, lib) -> None:
    """In training, evaluation, and prediction, because a model that learned from x / 255 says nothing else of x."""
    x, y, net = lib.put(IMAGES, dtype), np.arange(30) % 3, Network([20, 3])
    options = {"backend": lib.backend, "dtype": lib.dtype}
    with pytest.warns(UserWarning, match=r"x holds whole numbers from 0 to 255.*inputs=xpdl\.Scaling\.images"):
        theta = xpdl.train(net, x, y, epochs=1, progress=False, **options).theta
    with pytest.warns(UserWarning, match="images"):
        xpdl.evaluate(net, theta, x, y, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xpdl.evaluate(replace(net, inputs=Scaling.images), theta, x, y, **options)


@pytest.mark.parametrize("name", NO_IMAGES)
def test_other_numbers_are_not_taken_for_images(name) -> None:
    assert not holds_images(NO_IMAGES[name])
    assert holds_images(IMAGES[:, :2].astype("uint8"))
    assert holds_images(IMAGES)


def test_data_have_the_scaling_that_fits() -> None:
    assert xpdl.data.glyphs(n_train=10, n_test=10).scaling is Scaling.images
    assert xpdl.data.circles(n_train=10, n_test=10).scaling is None
    assert xpdl.data.Dataset(np.eye(30, dtype="uint8"), np.arange(30)).scaling is None
    assert xpdl.data.Dataset(IMAGES.astype(float), np.arange(30)).scaling is Scaling.images
