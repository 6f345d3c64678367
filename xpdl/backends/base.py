"""A backend is data: an array library on one device, and what it can do beyond the Array API standard.

Each hook has a portable default, so a library that speaks the standard needs no more than its namespace and a device.
Nothing outside this folder names a library.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from array_api_compat import array_namespace, is_array_api_obj
import numpy as np

from xpdl.arrays import Array, Namespace
from xpdl.checks import dtype_name
from xpdl.randomness import dropout_mask

F = TypeVar("F", bound=Callable[..., Any])
ALL = slice(None)
TRANSFER_ERRORS = (AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError, ValueError)


def unchanged(function: F, offsets: Sequence[int] = ()) -> F:
    """The default of ``fuse`` and ``compile``."""
    return function


def nothing() -> None:
    """The default of ``synchronize``: a library without a queue is never behind."""


def never(leaf: Any) -> bool:
    """The default of ``was_number``: most libraries compute with Python numbers as they are."""
    return False


def track(array: Array, example: Array | None = None) -> Array:
    """The default of ``track``: the arrays of most libraries record nothing."""
    return array


def to_numpy(array: Array) -> np.ndarray:
    """Any library's array, from any device, as a NumPy array; waits for the device, and may share memory."""
    try:
        return np.from_dlpack(array, device="cpu")
    except TRANSFER_ERRORS:
        return np.asarray(array)


def check_dtype(backend: "Backend", dtype: str) -> None:
    """``ValueError`` unless the device can hold ``dtype``."""
    if dtype not in backend.xp.__array_namespace_info__().dtypes(device=backend.device):
        raise ValueError(f"dtype {dtype} is not available on backend {backend.name!r}")


@dataclass(frozen=True)
class Backend:
    """An array library on a device.

    name         as ``xpdl.backend`` takes it, e.g. "cupy:1"
    xp           the namespace of the standard's functions
    device       what every function that creates an array is given as ``device=``
    to_numpy     (array) -> NumPy array; waits for the device, and may share memory
    place        (NumPy array) -> an array of this library on ``device``; None: by ``xp.asarray``
    admit        (backend, dtype name) -> None: makes the dtype usable, or raises ``ValueError``
    track        (array, example) -> the array, recorded for automatic differentiation if the example is; without an
                 example, the array cut off from such a record
    fuse         (elementwise kernel, offsets) -> the same function in as few passes over memory, or launches, as the
                 library can; the kernel changes some of its arguments by augmented assignment and returns those;
                 offsets are where parameters begin in theta, and its end
    compile      (step) -> the same function as one dispatch; it consumes its first argument, and later calls may
                 repeat the array operations of the first ones instead of running its Python text; if it has a method
                 invalidate(), that is called before each epoch in which the text might have changed, and
                 the next call looks whether it does the same
    repeat       (step, offsets) -> (run, data, count) -> run after so many steps without masks, in fewer dispatches,
                 with a method invalidate() or without; None: the host repeats them
    mask         (seed, step, layer, shape, drop, dtype) -> randomness.dropout_mask on the device, bit for bit;
                 None: drawn on the host and placed
    synchronize  () -> None: waits until the device has done all it was told to
    activate     () -> context in which functions that take no ``device=`` run on this one
    eager        whether single operations are cheap; a library that compiles each for every shape had better be jitted
    precisions   how else a training can multiply float32, by name: the fields of this class that are different then
    precision    how it does: "float32", or one of these names
    was_number   (leaf) -> whether it is an array that ``compile`` has made of a Python number in the state of a step
    """

    name: str
    xp: Namespace
    device: Any
    to_numpy: Callable[[Array], np.ndarray] = to_numpy
    place: Callable[[np.ndarray], Array] | None = None
    admit: Callable[["Backend", str], None] = check_dtype
    track: Callable[..., Array] = track
    fuse: Callable[..., Callable[..., Any]] = unchanged
    compile: Callable[[Callable[..., Any]], Callable[..., Any]] = unchanged
    repeat: Callable[[Callable[..., Any], Sequence[int]], Callable[..., Any]] | None = None
    mask: Callable[[int, int, int, tuple[int, int], float, str], Array] | None = None
    synchronize: Callable[[], None] = nothing
    activate: Callable[[], AbstractContextManager[Any]] = nullcontext
    eager: bool = True
    precisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    precision: str = "float32"
    was_number: Callable[[Any], bool] = never

    def __repr__(self) -> str:
        return f"Backend({self.name!r})" if self.precision == "float32" else f"Backend({self.name!r}, {self.precision})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backend":
        """Itself: it never changes."""
        return self

    def in_precision(self, precision: str) -> "Backend":
        """The same backend with products of float32 in another precision, if it has that."""
        if precision == self.precision:
            return self
        if precision not in self.precisions:
            known = ", ".join(dict.fromkeys(["float32", *self.precisions]))
            raise ValueError(f"precision must be one of {known} on {self}, got {precision!r}: TF32 is of NVIDIA's GPUs")
        return replace(self, precision=precision, **self.precisions[precision])

    def asarray(self, x: Any, dtype: Any = None, *, copy: bool | None = None) -> Array:
        """x, a list or an array of any library on any device, as an array of this backend.

        Arrays of another library come by DLPack where both can reach the memory, else through the host.  ``dtype`` is
        a name or any library's dtype object; None keeps the one x has.  copy=True never shares memory with x.
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
        """Zeros on the device."""
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
        """These rows of ``randomness.dropout_mask`` on the device."""
        self.admit(self, dtype)
        first, stop, _ = rows.indices(shape[0])
        if self.mask is None:
            return self._place(dropout_mask(seed, step, layer, (stop - first, shape[1]), drop, dtype, first))
        whole = self.mask(seed, step, layer, shape, drop, dtype)
        return whole if rows == ALL else whole[first:stop, :]

    def _place(self, array: np.ndarray) -> Array:
        return self.xp.asarray(array, device=self.device) if self.place is None else self.place(array)

    def _adopt(self, x: Any) -> Array | None:
        """x as an array of this library, without going through the host; None if that cannot be."""
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
