"""xpdl: dense networks from first principles, on any array library that speaks the Python Array API."""

from xpdl import activations, callbacks, data, losses, optimizers, schedules
from xpdl.activations import Activation
from xpdl.backends import Backend, available_backends, backend
from xpdl.callbacks import EarlyStopping, KeepBest, StopTraining
from xpdl.checkpoint import Model, ModelFileError, load, save
from xpdl.evaluation import evaluate
from xpdl.network import Network
from xpdl.optimizers import Optimizer, adam, adamw, momentum, rmsprop, sgd
from xpdl.training import DivergenceError, Result, dropout_masks, train

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Backend",
    "DivergenceError",
    "EarlyStopping",
    "KeepBest",
    "Model",
    "ModelFileError",
    "Network",
    "Optimizer",
    "Result",
    "StopTraining",
    "activations",
    "adam",
    "adamw",
    "available_backends",
    "backend",
    "callbacks",
    "data",
    "dropout_masks",
    "evaluate",
    "load",
    "losses",
    "momentum",
    "optimizers",
    "rmsprop",
    "save",
    "schedules",
    "sgd",
    "train",
]
