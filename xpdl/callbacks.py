"""The public names of the callbacks, such as ``xpdl.callbacks.EarlyStopping``; training/callbacks.py defines them."""

from xpdl.training.callbacks import Callback, EarlyStopping, KeepBest, Metrics, StopTraining

__all__ = ["Callback", "EarlyStopping", "KeepBest", "Metrics", "StopTraining"]
