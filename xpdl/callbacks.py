"""The callbacks by their public name: ``xpdl.callbacks.EarlyStopping``; they live in training/callbacks.py."""

from xpdl.training.callbacks import Callback, EarlyStopping, KeepBest, Metrics, StopTraining

__all__ = ["Callback", "EarlyStopping", "KeepBest", "Metrics", "StopTraining"]
