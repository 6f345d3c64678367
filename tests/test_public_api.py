"""The public names and signatures, and what ``import xpdl`` costs."""

from dataclasses import fields
import inspect
import os
from pathlib import Path
from statistics import median
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import xpdl

HEAVY = [
    *("cupy", "torch", "jax", "sklearn", "matplotlib", "pooch", "safetensors", "cyclopts", "rich"),
    *("optuna", "sqlalchemy"),
]
IMPORT_RATIO = 1.5

SIGNATURES = {  # what is promised; more options may be added, keyword-only and with a default
    "backend": lambda name="auto": ...,
    "available_backends": lambda: ...,
    "Backend.asarray": lambda self, x, dtype=None: ...,
    "Network": lambda sizes, *, hidden="relu", output="softmax", init="he", l2=0.0, dropout=0.0: ...,
    "Network.initialize": lambda self, seed=0, dtype="float32": ...,
    "Network.unpack": lambda self, theta: ...,
    "Network.pack": lambda self, parameters: ...,
    "Network.loss": lambda self, theta, x, y, masks=None, weight=None: ...,
    "Network.loss_and_grad": lambda self, theta, x, y, masks=None, weight=None: ...,
    "Network.predict_proba": lambda self, theta, x: ...,
    "Network.predict": lambda self, theta, x: ...,
    "Activation": lambda forward, backward: ...,
    "Optimizer": lambda init, update, fused=None, constant=False: ...,
    "sgd": lambda lr: ...,
    "momentum": lambda lr, *, beta=0.9, nesterov=False: ...,
    "rmsprop": lambda lr, *, decay=0.9, eps=1e-8: ...,
    "adam": lambda lr=1e-3, *, beta1=0.9, beta2=0.999, eps=1e-8: ...,
    "adamw": lambda lr=1e-3, *, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2: ...,
    "schedules.constant": lambda lr: ...,
    "schedules.exponential": lambda lr, decay, *, every=1: ...,
    "schedules.inverse_time": lambda lr, decay=1.0, *, every=1: ...,
    "schedules.inverse_sqrt": lambda lr, *, every=1: ...,
    "schedules.step": lambda lr, factor=0.1, *, every: ...,
    "schedules.cosine": lambda lr, steps, *, final=0.0: ...,
    "schedules.warmup": lambda lr, steps: ...,
    "train": lambda net, x, y, *, optimizer=None, epochs=10, batch_size=128, validation=None, backend="auto",
    dtype="float32", seed=0, callbacks=(), theta=None, checkpoint=None, every=1, resume=None, communicator=None: ...,
    "evaluate": lambda net, theta, x, y, *, backend="auto", dtype="float32": ...,
    "distributed.connect": lambda: ...,
    "dropout_masks": lambda net, n, *, seed, step, backend="numpy", dtype="float32": ...,
    "save": lambda path, net, theta: ...,
    "load": lambda path: ...,
    "check_network": lambda net, theta, x, y, grad=None, masks=None: ...,
    "check_gradient": lambda fun, grad, *args, value_and_grad=False: ...,
    "check_vjp": lambda fun, vjp, *args: ...,
    "check_jvp": lambda fun, jvp, *args: ...,
    "check_jacobian": lambda fun, jac, *args: ...,
    "check_update": lambda optimizer: ...,
    "check_backends": lambda net, theta, x, y, *, backends=None: ...,
    "testing.assert_gradients": lambda fun, *args: ...,
    "testing.assert_vjp": lambda fun, vjp, *args: ...,
    "testing.assert_jvp": lambda fun, jvp, *args: ...,
    "testing.assert_jacobian": lambda fun, jac, *args: ...,
    "plots.curves": lambda runs, *, ax=None: ...,
    "plots.decision_boundary": lambda net, theta, x, y, *, ax=None: ...,
    "plots.confusion_matrix": lambda net, theta, x, y, *, ax=None: ...,
    "plots.worst_images": lambda net, theta, x, y, *, shape=None, ax=None: ...,
    "plots.weight_images": lambda net, theta, *, shape=None, ax=None: ...,
    "plots.gradient_map": lambda parameter, *, ax=None: ...,
    "plots.gradient_maps": lambda report, *, figure=None: ...,
    "plots.gradient_slope": lambda fun, grad, *args, ax=None: ...,
    "plots.gradient_scatter": lambda report, *, ax=None: ...,
    "tuning.tune": lambda net, x, y, *, validation, trials=30, epochs=10, optimizer="adam", sampler="recipe",
    pruner="median", storage=None, study="xpdl", backend="auto", dtype="float32", seed=0: ...,
    "tuning.RecipeSampler": lambda stages, *, seed=0: ...,
    "data.load": lambda source, *, seed=0: ...,
}  # fmt: skip


def find(name):
    """The object xpdl.<name>."""
    found = xpdl
    for part in name.split("."):
        found = getattr(found, part)
    return found


def python(code, **variables):
    """What a fresh interpreter prints that finds this xpdl, and nothing in the folder it is started from."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(xpdl.__file__).parents[1])}
    environment |= variables
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_all_is_exactly_what_is_public() -> None:
    """Every name exists, in tab completion too, and none is missing; of the modules only those that are documented."""
    assert xpdl.__all__ == sorted(set(xpdl.__all__))
    assert [name for name in xpdl.__all__ if not hasattr(xpdl, name)] == []
    assert {name.partition(".")[0] for name in SIGNATURES} <= set(xpdl.__all__)
    assert set(xpdl.__all__) <= set(dir(xpdl))
    ours = {name for name, value in vars(xpdl).items() if getattr(value, "__module__", "").startswith("xpdl")}
    assert {name for name in ours if not name.startswith("_")} <= set(xpdl.__all__)
    modules = {name for name in xpdl.__all__ if isinstance(getattr(xpdl, name), ModuleType)}
    named = {"activations", "callbacks", "data", "distributed", "losses", "optimizers", "plots", "schedules"}
    assert modules == named | {"testing", "tuning"}


def test_other_names_are_missing_as_usual() -> None:
    with pytest.raises(AttributeError, match=r"xpdl.*no_such_name"):
        xpdl.no_such_name  # noqa: B018
    with pytest.raises(ImportError, match="no_such_name"):
        from xpdl import no_such_name  # noqa: F401


def test_the_version_is_a_version() -> None:
    assert [part.isdecimal() for part in xpdl.__version__.split(".")] == [True, True, True]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_promised(name) -> None:
    promised, actual = (dict(inspect.signature(f).parameters) for f in (SIGNATURES[name], find(name)))
    for argument, parameter in promised.items():
        assert argument in actual, argument
        got = actual.pop(argument)
        assert (got.kind, got.default) == (parameter.kind, parameter.default), argument
    for extra in actual.values():
        optional = extra.kind is extra.KEYWORD_ONLY and extra.default is not extra.empty
        assert optional or extra.kind is extra.VAR_KEYWORD, extra


def test_positional_arguments_come_in_the_order_promised() -> None:
    for name, promise in SIGNATURES.items():
        orders = [
            [p.name for p in inspect.signature(f).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
            for f in (promise, find(name))
        ]
        assert orders[0] == orders[1], name


def test_what_comes_back_has_the_attributes_promised() -> None:
    backend, net = xpdl.backend("numpy"), xpdl.Network([3, 4, 2])
    assert all(hasattr(backend, name) for name in ("name", "xp", "device", "asarray", "to_numpy", "synchronize"))
    assert all(hasattr(net, name) for name in ("size", "shapes", "names", "sizes", "hidden", "output", "init", "l2"))
    assert [field.name for field in fields(xpdl.Model)] == ["network", "theta", "metadata", "coding"]
    assert [field.name for field in fields(xpdl.Result)][:2] == ["theta", "history"]
    assert [field.name for field in fields(xpdl.data.Dataset)][:4] == ["x", "y", "x_test", "y_test"]


@pytest.mark.parametrize("choice", ["hidden", "output", "init"])
def test_the_choices_of_a_network_are_those_promised(choice) -> None:
    promised = {
        "hidden": ["relu", "tanh", "sigmoid", "leaky_relu", "elu", "softplus", "gelu", "silu", "identity"],
        "output": ["softmax", "sigmoid", "linear"],
        "init": ["he", "xavier", "lecun", 0.01],
    }
    for value in promised[choice]:
        assert getattr(xpdl.Network([3, 4, 2], **{choice: value}), choice) == value


def test_a_network_is_frozen_and_compares_by_value() -> None:
    net = xpdl.Network([3, 4, 2])
    assert net == xpdl.Network((3, 4, 2))
    assert net != xpdl.Network([3, 4, 2], hidden="tanh")
    assert len({net, xpdl.Network([3, 4, 2])}) == 1
    with pytest.raises(AttributeError, match="cannot assign"):
        net.l2 = 1.0


@pytest.mark.parametrize(
    "code",
    [
        "import xpdl",
        "import xpdl; xpdl.backend('numpy')",
        "import xpdl; xpdl.backend('auto')",
        "import xpdl; xpdl.plots.curves",
    ],
)
def test_import_loads_no_heavy_library(code) -> None:
    """Nor does choosing NumPy, or "auto" where there is no driver of a GPU."""
    if "auto" in code and xpdl.backend("auto").name != "numpy":
        pytest.skip("a GPU can be used here")
    assert python(f"{code}; import sys; print(*(m for m in {HEAVY} if m in sys.modules))") == ""


def test_import_is_cheap(tmp_path) -> None:
    """Processor time of a process that imports xpdl, over that of one that imports NumPy: medians of 7, in turns.

    Both have been imported before, and what was compiled then is kept, whatever is usual here.
    """
    seconds = {"numpy": [], "xpdl": []}
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    for _ in range(8):
        for module, times in seconds.items():
            times.append(float(python(f"import {module}, time; print(time.process_time())", **compiled)))
    ratio = median(seconds["xpdl"][1:]) / median(seconds["numpy"][1:])
    print(f"import xpdl takes {ratio:.2f} times as long as import numpy")
    assert ratio <= IMPORT_RATIO


def test_the_names_work_together() -> None:
    net = xpdl.Network([2, 8, 2], hidden="tanh", output="softmax", init="xavier", l2=0.01, dropout=0.1)
    x = np.random.default_rng(0).normal(size=(200, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    optimizer = xpdl.adam(xpdl.schedules.warmup(xpdl.schedules.cosine(0.05, 250), 10))
    result = xpdl.train(net, x, y, optimizer=optimizer, epochs=50, batch_size=40, backend="numpy", progress=False)
    assert len(result.history) == 50
    assert np.mean(net.predict(result.theta, x) == y) > 0.9
