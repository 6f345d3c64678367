"""``Backend``: an array library on one device, as data, with hooks for operations that the standard does not have.

Each hook has a portable default, so a library that speaks the Array API standard needs only its namespace and a device.
Nothing outside this folder names a library.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from array_api_compat import array_namespace, is_array_api_obj
import numpy as np

from xpdl.arrays import Array, Namespace
from xpdl.checks import dtype_name
from xpdl.randomness import dropout_mask

F = TypeVar("F", bound=Callable[..., Any])
ALL = slice(None)
TRANSFER_ERRORS = (AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError, ValueError)


@runtime_checkable
class Compiled(Protocol):
    """The result of ``Backend.compile`` and ``Backend.repeat``: a function that may repeat recorded operations."""

    def __call__(self, *arguments: Any) -> Any:
        """Run the function."""

    def invalidate(self) -> None:
        """Make the next call check that the Python function still does the same."""


@dataclass(frozen=True)
class Simple:
    """The simplest ``Compiled``: a function that has nothing to check.  It is the default of ``compile``."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def invalidate(self) -> None:
        """Do nothing."""


def as_compiled(function: Callable[..., Any]) -> Compiled:
    """Return what a hook gave back; a plain function, as of ``jax.jit``, has nothing to check."""
    return function if isinstance(function, Compiled) else Simple(function)


def unchanged(function: F, offsets: Sequence[int] = ()) -> F:
    """Return the function: the default of ``fuse``.

    Parameters
    ----------
    function : callable
        An elementwise kernel.
    offsets : sequence of int, optional
        The places in theta where parameters begin, and its end.

    Returns
    -------
    callable
        The same function.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> def kernel(theta, grad):
    ...     return theta - grad
    >>> xpdl.Backend("mine", np, "cpu").fuse(kernel) is kernel
    True
    """
    return function


def nothing() -> None:
    """Do nothing: the default of ``synchronize``, for a library that finishes each operation before it returns.

    Examples
    --------
    >>> import xpdl
    >>> xpdl.backend("numpy").synchronize()  # then a clock may be read
    """


def never(leaf: Any) -> bool:
    """Return False: the default of ``was_number``, because most libraries leave Python numbers unchanged.

    Parameters
    ----------
    leaf : object
        A leaf of the state of a step.

    Returns
    -------
    bool
        False.

    Examples
    --------
    >>> import xpdl
    >>> chosen = xpdl.backend("numpy")
    >>> chosen.was_number(chosen.zeros((), "float32"))
    False
    """
    return False


def track(array: Array, example: Array | None = None) -> Array:
    """Return the array: the default of ``track``, for libraries without automatic differentiation.

    Parameters
    ----------
    array : array
        Any array.
    example : array, optional
        An array that may be recorded for automatic differentiation.

    Returns
    -------
    array
        The same array.

    Examples
    --------
    >>> import xpdl
    >>> chosen = xpdl.backend("numpy")
    >>> theta = chosen.zeros((2,), "float32")
    >>> chosen.track(theta) is theta
    True
    """
    return array


def to_numpy(array: Array) -> np.ndarray:
    """Return the array of any library and device as a NumPy array.

    It waits for the device, and the result may share memory with the array.

    Parameters
    ----------
    array : array
        An array of any library.

    Returns
    -------
    ndarray
        The same shape and dtype, on the host.

    Examples
    --------
    >>> import xpdl
    >>> chosen = xpdl.backend("numpy")
    >>> chosen.to_numpy(chosen.asarray([1, 2], "float32"))
    array([1., 2.], dtype=float32)
    """
    try:
        return np.from_dlpack(array, device="cpu")
    except TRANSFER_ERRORS:
        return np.asarray(array)


def check_dtype(backend: "Backend", dtype: str) -> None:
    """Raise ``ValueError`` unless the device can hold ``dtype``.

    Parameters
    ----------
    backend : Backend
        An array library on a device.
    dtype : str
        The name of a dtype.

    Raises
    ------
    ValueError
        If the device cannot hold it.

    Examples
    --------
    >>> import xpdl
    >>> chosen = xpdl.backend("numpy")
    >>> chosen.admit(chosen, "float64")
    >>> chosen.admit(chosen, "float16")
    Traceback (most recent call last):
        ...
    ValueError: dtype float16 ...
    """
    if dtype not in backend.xp.__array_namespace_info__().dtypes(device=backend.device):
        raise ValueError(f"dtype {dtype} is not available on backend {backend.name!r}")


@dataclass(frozen=True)
class Backend:
    """An array library on a device, with hooks for operations that the Array API standard does not have.

    ``xpdl.backend(name)`` returns one.  A backend for another library that speaks the standard needs a name, a
    namespace and a device; every hook has a portable default.

    Parameters
    ----------
    name : str
        The name that ``xpdl.backend`` takes, such as "cupy:1".
    xp : namespace
        The functions of the Array API standard.
    device : device
        The ``device=`` of every function that creates an array.
    to_numpy : callable
        (array) -> NumPy array.  It waits for the device, and the result may share memory.
    place : callable or None
        (NumPy array) -> an array of this library on ``device``; None: ``xp.asarray`` does it.
    admit : callable
        (backend, dtype name) -> None.  It makes the dtype usable, or raises ``ValueError``.
    track : callable
        (array, example) -> the array, recorded for automatic differentiation if the example is; without an example, the
        array without such a record.
    fuse : callable
        (elementwise kernel, offsets) -> a function that does the same, faster inside a compiled step.  The offsets are
        the places in theta where parameters begin, and its end.  Only JAX needs it.
    compile : callable
        (step) -> ``Compiled``, or a function: the same step as one dispatch.  It consumes its first argument.  Later
        calls may repeat the array operations of earlier ones without running the Python function; ``invalidate()``, if
        there is one, is called before each epoch in which the function might do something else.
    repeat : callable or None
        (step, offsets) -> ``Compiled``, or a function: (run, data, count) -> the run after ``count`` steps without
        masks, in fewer dispatches; None: the host repeats the step.
    mask : callable or None
        (seed, step, layer, shape, drop, dtype) -> the bits of ``randomness.dropout_mask``, made on the device; None:
        they are drawn on the host and placed on the device.
    synchronize : callable
        () -> None.  It waits until the device has done all its work.
    activate : callable
        () -> a context in which functions without ``device=`` run on this device.
    eager : bool
        Whether single operations are cheap.  If not, every step is compiled: the library would compile each operation
        for every shape.
    precisions : mapping
        The other precisions in which a training can multiply float32: for each name, the fields of this class that
        differ.
    precision : str
        The precision in which a training multiplies float32: "float32", or a key of ``precisions``.
    was_number : callable
        (leaf) -> whether ``compile`` made this array of a step's state from a Python number.
    vjp : callable or None
        (fun, arrays) -> the outputs of fun(arrays), and a function of their cotangents that returns the gradients, by
        automatic differentiation; None: the library has none.
    jvp : callable or None
        (fun, arrays, tangents) -> the tangents of the outputs of fun(arrays).
    vmap : callable or None
        (fun) -> the same function of arrays with one more leading axis.

    Examples
    --------
    >>> import xpdl
    >>> chosen = xpdl.backend("numpy")
    >>> chosen
    Backend('numpy')
    >>> chosen.xp.sum(chosen.asarray([1.0, 2.0], "float32"))
    np.float32(3.0)

    A backend for another library:

    >>> import numpy as np
    >>> xpdl.Backend("mine", np, "cpu").zeros((2,), "float32")
    array([0., 0.], dtype=float32)
    """

    name: str
    xp: Namespace
    device: Any
    to_numpy: Callable[[Array], np.ndarray] = to_numpy
    place: Callable[[np.ndarray], Array] | None = None
    admit: Callable[["Backend", str], None] = check_dtype
    track: Callable[..., Array] = track
    fuse: Callable[..., Callable[..., Any]] = unchanged
    compile: Callable[[Callable[..., Any]], Compiled] = Simple
    repeat: Callable[[Callable[..., Any], Sequence[int]], Compiled] | None = None
    mask: Callable[[int, int, int, tuple[int, int], float, str], Array] | None = None
    synchronize: Callable[[], None] = nothing
    activate: Callable[[], AbstractContextManager[Any]] = nullcontext
    eager: bool = True
    precisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    precision: str = "float32"
    was_number: Callable[[Any], bool] = never
    vjp: Callable[..., tuple[Sequence[Array], Callable[..., Sequence[Array | None]]]] | None = None
    jvp: Callable[..., Sequence[Array | None]] | None = None
    vmap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None

    def __repr__(self) -> str:
        return f"Backend({self.name!r})" if self.precision == "float32" else f"Backend({self.name!r}, {self.precision})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backend":
        """Return the backend itself: it never changes."""
        return self

    def in_precision(self, precision: str) -> "Backend":
        """Return the same backend with products of float32 in another precision.

        Parameters
        ----------
        precision : str
            "float32", "tf32" or "3xtf32", as for ``xpdl.backend``.

        Returns
        -------
        Backend
            This one if it already has the precision.

        Raises
        ------
        ValueError
            If the backend does not have the precision.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.backend("numpy").in_precision("float32")
        Backend('numpy')
        """
        if precision == self.precision:
            return self
        if precision not in self.precisions:
            known = ", ".join(dict.fromkeys(["float32", *self.precisions]))
            raise ValueError(f"precision must be one of {known} on {self}, got {precision!r}: TF32 needs an NVIDIA GPU")
        return replace(self, precision=precision, **self.precisions[precision])

    def asarray(self, x: Any, dtype: Any = None, *, copy: bool | None = None) -> Array:
        """Return x as an array of this backend.

        An array of another library is passed by DLPack if both libraries can access its memory, else through the host.

        Parameters
        ----------
        x : array_like
            A number, a list, or an array of any library on any device.
        dtype : str or dtype, optional
            A name, or the dtype object of any library.  Default: the dtype of x.
        copy : bool, optional
            True: the result never shares memory with x.  Default: it may.

        Returns
        -------
        array
            The shape of x, on ``device``.

        Raises
        ------
        ValueError
            If the device cannot hold the dtype.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.backend("numpy").asarray([[1, 2], [3, 4]], "float32")
        array([[1., 2.],
               [3., 4.]], dtype=float32)
        """
        with self.activate():
            x = x if hasattr(x, "dtype") else to_numpy(x)
            name = dtype_name(x.dtype if dtype is None else dtype)
            self.admit(self, name)  # first: JAX would adopt float64 as float32
            adopted = self._adopt(x)
            if adopted is None:
                return self._place(np.array(to_numpy(x), dtype=name, copy=copy, order="C"))
            return self.xp.asarray(adopted, dtype=getattr(self.xp, name), device=self.device, copy=copy)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return an array of zeros on the device.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        dtype : str
            The name of its dtype.

        Returns
        -------
        array
            Zeros of this shape and dtype.

        Raises
        ------
        ValueError
            If the device cannot hold the dtype.

        Examples
        --------
        >>> import xpdl
        >>> xpdl.backend("numpy").zeros((2, 3), "float64")
        array([[0., 0., 0.],
               [0., 0., 0.]])
        """
        self.admit(self, dtype)
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype), device=self.device)

    def dropout_mask(
        self,
        seed: int,
        step: int,
        layer: int,
        shape: tuple[int, int],
        drop: float,
        dtype: str,
        rows: slice = ALL,
    ) -> Array:
        """Return the dropout mask of a layer in a training step, or some of its rows.

        An entry is 0 with probability ``drop``, else 1 / (1 - drop).  The mask is a function of its arguments: it has
        the same bits on every backend (``randomness.dropout_mask``).

        Parameters
        ----------
        seed : int
            The seed of the training, in [0, 2^64).
        step : int
            The training step, counted from 0.
        layer : int
            The hidden layer, counted from 1.
        shape : tuple of int
            (samples, units) of the whole mask.
        drop : float
            The probability of dropping a unit, in [0, 1).
        dtype : str
            "float32" or "float64".
        rows : slice, optional
            The samples whose rows are wanted.  Default: all.

        Returns
        -------
        array
            (samples, units), or fewer rows.

        Raises
        ------
        ValueError
            If the device cannot hold the dtype, or the seed is out of range.

        Examples
        --------
        >>> import xpdl
        >>> mask = xpdl.backend("numpy").dropout_mask(0, 0, 1, (4, 8), 0.5, "float32")
        >>> mask.shape, sorted(set(mask.ravel().tolist()))
        ((4, 8), [0.0, 2.0])
        """
        self.admit(self, dtype)
        first, stop, _ = rows.indices(shape[0])
        if self.mask is None:
            return self._place(dropout_mask(seed, step, layer, (stop - first, shape[1]), drop, dtype, first))
        whole = self.mask(seed, step, layer, shape, drop, dtype)
        return whole if rows == ALL else whole[first:stop, :]

    def _place(self, array: np.ndarray) -> Array:
        return self.xp.asarray(array, device=self.device) if self.place is None else self.place(array)

    def _adopt(self, x: Any) -> Array | None:
        """Return x as an array of this library without going through the host; None if that is not possible."""
        if not is_array_api_obj(x):
            return None
        if array_namespace(x) is self.xp:
            return x
        if isinstance(x, np.ndarray):
            return None
        try:
            return self.xp.from_dlpack(x)
        except TRANSFER_ERRORS:
            return None
