"""Data sets as NumPy arrays: call ``load`` with a name or a path, or call the function of a data set itself.

load                          a data set by its name, or your own data by their path
glyphs digits mnist           images of digits: drawn, small, and the real MNIST
circles spiral                points in the plane
folds bootstraps              weights of a cross-validation, and of bootstrap samples
Dataset                       a training part and, if there is one, a test part
DataFormatError               the error for data that cannot be used
"""

from xpdl.data.dataset import Dataset
from xpdl.data.digits import digits
from xpdl.data.errors import DataFormatError
from xpdl.data.glyphs import glyphs
from xpdl.data.loading import load
from xpdl.data.mnist import mnist
from xpdl.data.points import circles, spiral
from xpdl.data.resampling import bootstraps, folds

__all__ = [
    "DataFormatError",
    "Dataset",
    "bootstraps",
    "circles",
    "digits",
    "folds",
    "glyphs",
    "load",
    "mnist",
    "spiral",
]
