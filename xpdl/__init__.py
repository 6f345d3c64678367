"""xpdl: dense networks from first principles, on any array library that speaks the Python Array API.

xpdl grew from a series of articles; ``xpdl.origin`` maps the functions of that series to xpdl.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xpdl import activations, losses, optimizers, schedules
from xpdl.activations import Activation
from xpdl.backends import Backend, available_backends, backend
from xpdl.losses import Loss
from xpdl.network import Network
from xpdl.optimizers import Optimizer, adam, adamw, momentum, rmsprop, sgd
from xpdl.scaling import Scaling
from xpdl.version import __version__ as __version__

if TYPE_CHECKING:
    from xpdl import callbacks, data, distributed, plots, testing, tuning
    from xpdl.callbacks import EarlyStopping, KeepBest, StopTraining
    from xpdl.files.checkpoint import RunFileError
    from xpdl.files.model import Model, ModelFileError, load, save
    from xpdl.gradcheck import (
        GradientError,
        check_backends,
        check_gradient,
        check_jacobian,
        check_jvp,
        check_network,
        check_update,
        check_vjp,
    )
    from xpdl.training.dropout import dropout_masks
    from xpdl.training.evaluation import evaluate
    from xpdl.training.train import DivergenceError, Result, train

__all__ = [
    "Activation",
    "Backend",
    "DivergenceError",
    "EarlyStopping",
    "GradientError",
    "KeepBest",
    "Loss",
    "Model",
    "ModelFileError",
    "Network",
    "Optimizer",
    "Result",
    "RunFileError",
    "Scaling",
    "StopTraining",
    "activations",
    "adam",
    "adamw",
    "available_backends",
    "backend",
    "callbacks",
    "check_backends",
    "check_gradient",
    "check_jacobian",
    "check_jvp",
    "check_network",
    "check_update",
    "check_vjp",
    "data",
    "distributed",
    "dropout_masks",
    "evaluate",
    "load",
    "losses",
    "momentum",
    "optimizers",
    "plots",
    "rmsprop",
    "save",
    "schedules",
    "sgd",
    "testing",
    "train",
    "tuning",
]

NAMES_IN = {
    "callbacks": ["EarlyStopping", "KeepBest", "StopTraining"],
    "files.checkpoint": ["RunFileError"],
    "files.model": ["Model", "ModelFileError", "load", "save"],
    "gradcheck": [
        *("GradientError", "check_backends", "check_gradient", "check_jacobian", "check_jvp", "check_network"),
        *("check_update", "check_vjp"),
    ],
    "training.dropout": ["dropout_masks"],
    "training.evaluation": ["evaluate"],
    "training.train": ["DivergenceError", "Result", "train"],
}
MODULES = ["callbacks", "data", "distributed", "plots", "testing", "tuning"]
LAZY = dict(zip(MODULES, MODULES, strict=True)) | {name: module for module, names in NAMES_IN.items() for name in names}
"""Names whose modules are imported at the first use, because these modules need half of the standard library."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'xpdl' has no attribute {name!r}")
    module = import_module(f"xpdl.{LAZY[name]}")
    return module if name == LAZY[name] else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
