"""Scaling: what a network does to its inputs before the first layer, x' = (x - shift) * scale.

It belongs to the network: it is the first line of ``Network.forward`` and is saved with the network.  So x may be kept
as it is, for example as uint8, which takes a quarter of the memory of float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import sys
from typing import Any, ClassVar

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.arrays import Array, device, namespace, real

SLICE = 4096
"""The number of samples that ``Scaling.fit`` reads together."""

SAMPLED = 1024
"""The number of samples that tell whether x holds images."""

FEW = 16
"""Fewer whole numbers in a row than this are not taken for an image, unless they are uint8."""


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of the inputs of a network, x' = (x - shift) * scale.

    Parameters
    ----------
    shift : float or sequence of float, default 0.0
        What is subtracted: a number, or one for each of the d features.
    scale : float or sequence of float, default 1.0
        The factor after that: a number, or one for each feature.
    only : str or None, default None
        The name of a dtype: x of another dtype stays unchanged.  Model files of older versions have it, because these
        versions scaled uint8 alone.

    Attributes
    ----------
    images : Scaling
        Pixels 0..255 become 0..1: scale = 1 / 255.

    Raises
    ------
    TypeError, ValueError
        If shift and scale are not finite numbers, or sequences (d,) of them.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> net = xpdl.Network([4, 2], inputs=xpdl.Scaling.images)
    >>> pixels, theta = np.array([[0, 51, 102, 255]], dtype="uint8"), net.initialize(dtype="float64")
    >>> net.forward(theta, pixels)[0].x.round(6)
    array([[0. , 0.2, 0.4, 1. ]])
    """

    shift: float | Sequence[float] = 0.0
    scale: float | Sequence[float] = 1.0
    only: str | None = None

    images: ClassVar["Scaling"]

    def __post_init__(self) -> None:
        """Turn numbers and arrays of any library into plain numbers and tuples of them."""
        for name in ("shift", "scale"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        lengths = [len(values) for values in (self.shift, self.scale) if isinstance(values, tuple)]
        if len(set(lengths)) > 1:
            raise ValueError(f"shift and scale must have the same length, got {lengths[0]} and {lengths[1]}")
        if self.only is not None:
            checks.choice("only", self.only, ["uint8"])

    @classmethod
    def fit(cls, x: Any) -> "Scaling":
        """Return the scaling that gives each feature of x the mean 0 and the standard deviation 1.

        A feature that is the same in all samples is only shifted.

        Parameters
        ----------
        x : array_like
            The samples (n, d), from any library or on disk.

        Returns
        -------
        Scaling
            shift = mean, scale = 1 / standard deviation.

        Raises
        ------
        ValueError
            If x does not hold finite numbers (n, d).

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.Scaling.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
        Scaling(shift=(2.0, 5.0), scale=(1.0, 1.0), only=None)
        """
        checks.unmasked("x", x)
        x = x if hasattr(x, "shape") else np.asarray(x)
        if len(x.shape) != 2 or 0 in x.shape:
            raise ValueError(f"x must have shape (n, d), rows are samples, got shape {tuple(x.shape)}")
        n = x.shape[0]
        mean = _sum(x, lambda rows: rows) / n
        variance = _sum(x, lambda rows: (rows - mean) ** 2) / n
        if not (np.isfinite(mean) & np.isfinite(variance)).all():
            raise ValueError("x must be finite, got NaN, infinity or numbers whose squares are infinite")
        rounding = n * np.finfo(np.float64).eps * np.abs(mean)
        varies = variance > rounding * rounding
        return cls(tuple(mean), tuple(1 / np.sqrt(np.where(varies, variance, 1.0))))

    @property
    def d(self) -> int | None:
        """The number of features; None if shift and scale are numbers, which fit any.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Scaling([1.0, 2.0]).d
        2
        """
        return next((len(values) for values in (self.shift, self.scale) if isinstance(values, tuple)), None)

    def __call__(self, x: Array, dtype: Any) -> Array:
        """Return x (n, d) as scaled numbers of this dtype."""
        numbers = as_numbers(x, dtype)
        if self._leaves(x):
            return numbers
        new = numbers.dtype != x.dtype
        if _acts(self.shift, 0.0):
            numbers, new = numbers - _on_device(self.shift, numbers), True
        if not _acts(self.scale, 1.0):
            return numbers
        scale = _on_device(self.scale, numbers)
        if not new:  # x belongs to the caller
            return numbers * scale
        numbers *= scale
        return numbers

    def backward(self, dx: Array, x: Array) -> Array:
        """Return the derivative with respect to x, from that with respect to the scaled x.

        Parameters
        ----------
        dx : array (..., n, d)
            The derivative with respect to x'.
        x : array (n, d)
            The argument of ``__call__``.

        Returns
        -------
        array (..., n, d)
            The derivative with respect to x.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> xpdl.Scaling(1.0, 10.0).backward(np.array([[0.5]]), np.array([[3.0]]))
        array([[5.]])
        """
        return dx if self._leaves(x) else dx * _on_device(self.scale, dx)

    def _leaves(self, x: Array) -> bool:
        """Return whether x has another dtype than the one that is scaled."""
        return self.only is not None and x.dtype != getattr(namespace(x), self.only)

    def placed(self, put: Callable[[np.ndarray], Array]) -> "Scaling":
        """Return the same scaling with its arrays on the device, so that a training step need not copy them there.

        Parameters
        ----------
        put : callable
            put(values) -> the NumPy array on the device.

        Returns
        -------
        Scaling
            The same numbers.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.Scaling([1.0, 2.0]).placed(lambda values: values).shift
        array([1., 2.])
        """
        arrays = {n: put(np.asarray(v)) for n in ("shift", "scale") if isinstance(v := getattr(self, n), tuple)}
        moved = replace(self)
        for name, array in arrays.items():
            object.__setattr__(moved, name, array)
        return moved


def as_numbers(x: Array, dtype: Any) -> Array:
    """Return x as numbers of this dtype, without a copy if it has the dtype."""
    return namespace(x).astype(x, dtype, copy=False)


def check_scaling(argument: str, scaling: Any, d: int) -> None:
    """Check that this is None, or a scaling of d features."""
    if scaling is None:
        return
    checks.instance(argument, scaling, Scaling)
    if scaling.d not in (None, d):
        raise ValueError(f"{argument} must scale {d} features, as many as sizes begins with, got {scaling.d}")


def rounded_size(scaling: Scaling | None, x: Array) -> Array:
    """Return the size of the numbers that were rounded to get the scaled x: up to |x| + 2 |shift scale|."""
    xp, size = namespace(x), namespace(x).abs(x)
    if scaling is None:
        return size
    lost = 2 * np.abs(np.multiply(scaling.shift, scaling.scale))
    return size + xp.asarray(lost.tolist(), dtype=size.dtype, device=device(size))


def holds_images(x: Any) -> bool:
    """Return whether the rows of x (n, d), an array on the host, are pixels: whole numbers from 0 to above 127, to 255.

    It looks at evenly spaced rows.
    """
    if x.dtype.kind not in "uif" or not (x.shape[1] >= FEW or x.dtype == np.uint8):
        return False
    rows = np.asarray(x[:: max(1, x.shape[0] // SAMPLED)])
    with np.errstate(invalid="ignore"):
        pixels = rows.min() >= 0 and 127 < rows.max() <= 255
        return bool(pixels and (rows.dtype.kind != "f" or (rows == np.rint(rows)).all()))


def _numbers(argument: str, values: Any) -> float | tuple[float, ...]:
    """Return a number as a float, and a sequence or an array (d,) as a tuple of floats; all must be finite."""
    values = _host(values) if hasattr(values, "shape") else values
    if isinstance(values, str) or not hasattr(values, "__len__") or getattr(values, "shape", None) == ():
        return _finite(argument, values)
    if not len(values) or len(getattr(values, "shape", (0,))) != 1:
        raise ValueError(f"{argument} must be a number or hold one for each feature, got {checks.shorten(values)}")
    return tuple(_finite(argument, value) for value in values)


def _finite(argument: str, value: Any) -> float:
    return checks.real(argument, value, least=-sys.float_info.max)


def _host(values: Any) -> np.ndarray:
    """Return an array of any library on the host."""
    try:
        return np.from_dlpack(values, device="cpu")
    except (AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return np.asarray(values)


def _sum(x: Any, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the sum of function(rows) over the rows of x, in float64."""
    total = np.zeros(x.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in (slice(first, min(first + SLICE, x.shape[0])) for first in range(0, x.shape[0], SLICE)):
            part = x[rows, ...] if is_array_api_obj(x) else x[rows]
            total += function(_host(part).astype(np.float64)).sum(axis=0)
    return total


def _acts(value: Any, neutral: float) -> bool:
    """Return whether a shift or a scale changes anything; one of several numbers may."""
    return not isinstance(value, float) or value != neutral


def _on_device(value: Any, x: Array) -> Any:
    """Return a number unchanged, and a tuple as an array (d,) beside x."""
    if not isinstance(value, tuple):
        return value
    return namespace(x).asarray(value, dtype=real(x[..., :1]).dtype, device=device(x))


Scaling.images = Scaling(scale=1 / 255)

BEFORE = Scaling(scale=1 / 255, only="uint8")
"""What versions did that had no scaling in their model files."""
