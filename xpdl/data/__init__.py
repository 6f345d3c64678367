"""Data on the host, as NumPy arrays: ``load`` by name or path, or call the function of a data set yourself."""

from xpdl.data.dataset import DataFormatError, Dataset
from xpdl.data.digits import digits
from xpdl.data.glyphs import glyphs
from xpdl.data.loading import load
from xpdl.data.mnist import mnist
from xpdl.data.points import circles, spiral

__all__ = ["DataFormatError", "Dataset", "circles", "digits", "glyphs", "load", "mnist", "spiral"]
