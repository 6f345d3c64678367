"""The functions under test as black boxes on the host.

Tensors in float64 go in and are turned into arrays of the user's library.  A number or tensors come out.  Both
functions are called repeatedly, because they must not change their argument, and must give the same result each time.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
from dataclasses import dataclass, field, replace
from functools import cached_property
import math
from typing import Any, TypeVar

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.arrays import Array, device, is_complex, namespace
from xpdl.backends import Backend, backend_of
from xpdl.gradcheck.function.arguments import Arguments, is_opaque
from xpdl.gradcheck.function.complex_numbers import as_pairs, complex_names, from_pairs
from xpdl.gradcheck.function.memory import Memory
from xpdl.gradcheck.function.memory_layout import Strides, laid_out, strides_of
from xpdl.gradcheck.function.probe import COMPLEX_STEP, ROUNDINGS, Tensors, quiet
from xpdl.gradcheck.function.sparse import dense, is_sparse, is_stored, stored_as
from xpdl.gradcheck.report import Vector

T = TypeVar("T")

COMPLEX = {"float64": "complex128", "float32": "complex64"}
OPAQUE = "has a gradient, so it must be an array, or a dict, list, tuple, NamedTuple or dataclass of arrays"
HOST = {"bfloat16": "float32"}
"""Dtypes that NumPy does not have, and those that hold them."""


@dataclass
class BlackBox:
    """fun and grad as functions of tensors on the host, by the names of the variables in ``arguments``."""

    fun: Callable[..., Any]
    grad: Callable[..., Any]
    arguments: Arguments
    dtype: str
    theta: Tensors = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # variables whose gradient is None
    evaluations: int = 0
    in_rows: bool = False  # whether arrays lie in rows without gaps, not as the user's do
    own_dtypes: bool = False  # whether arrays have the dtypes of the user's, not that of the check
    conjugate: bool = False  # how gradients of complex numbers are written (complex_numbers.py)

    @cached_property
    def complex_names(self) -> set[str]:
        """The variables that are complex."""
        return complex_names(self.arguments)

    @cached_property
    def strides(self) -> dict[str, Strides | None]:
        """How the user's arrays lie in memory; None for those in rows without gaps."""
        return {name: strides_of(array) for name, array in self.arguments.arrays.items()}

    @cached_property
    def stored(self) -> dict[str, Vector]:
        """Which entries the user's sparse arrays store."""
        return {name: is_stored(array) for name, array in self.arguments.arrays.items() if is_sparse(array)}

    @cached_property
    def homes(self) -> dict[str, Backend]:
        """The backends of the user's arrays."""
        return {name: backend_of(array) for name, array in self.arguments.arrays.items()}

    def place(self, tensors: Tensors) -> tuple[Any, ...]:
        """New arguments: arrays of the user's library, on the user's device, which lie in memory as the user's do."""
        leaves = {name: self._placed(name, tensors[name]) for name in self.arguments.variables}
        return self.arguments.filled(leaves)

    def tangents(self, tensors: Tensors) -> tuple[Any, ...]:
        """The same for tangents, where constants are None."""
        leaves = {name: self._placed(name, tensors[name]) for name in self.arguments.variables}
        return self.arguments.filled(leaves | dict.fromkeys(self.arguments.constants))

    def _placed(self, name: str, tensor: Vector) -> Any:
        tensor = from_pairs(tensor) if name in self.complex_names else tensor
        if name not in self.homes:
            return tensor.item()
        like, strides = self.arguments.arrays[name], None if self.in_rows else self.strides[name]
        dtype = checks.dtype_name(like.dtype) if self.own_dtypes else self.dtype
        if name in self.stored:
            values = stored_as(place(self.homes[name], tensor, None, dtype, None), like)
            return self.homes[name].track(values, like)
        return place(self.homes[name], tensor, like, dtype, strides)

    def value(self, tensors: Tensors) -> float | complex:
        """The value of fun, complex if its dtype is complex."""
        return self.value_of(self.place(tensors))

    def value_of(self, placed: tuple[Any, ...]) -> float | complex:
        """The value of fun for the user's arguments."""
        self.evaluations += 1
        return _number(self.fun(*placed))

    def gradient(self) -> dict[str, Vector]:
        """The value of grad at theta, in float64."""
        return self.gradient_of(self.place(self.theta))

    def gradient_with(self, **changes: Any) -> dict[str, Vector]:
        """The value of grad for a box with other fields."""
        other = replace(self, **changes)
        found = other.gradient()
        self.evaluations = other.evaluations
        return found

    def gradient_of(self, placed: tuple[Any, ...]) -> dict[str, Vector]:
        """The value of grad for the user's arguments at theta; zeros where it is None.

        The call of fun before it is what an optimizer does: grad may use what that call kept.
        """
        self.value(self.theta)
        found = self.arguments.paired("grad", self.grad(*placed))
        for name, constant in self.arguments.constants.items():
            if found.pop(name) is not None and is_opaque(constant):
                raise TypeError(f"{self.arguments.places[name]} {OPAQUE}, got {type(constant).__name__}")
        self.missing = [name for name, gradient in found.items() if gradient is None]
        gradients = {name: self._gradient(name, gradient) for name, gradient in found.items()}
        return gradients | {name: np.where(mask, gradients[name], 0.0) for name, mask in self._masks.items()}

    @property
    def _masks(self) -> dict[str, Vector]:
        """Which numbers of sparse tensors are variables."""
        return {n: mask[..., None] if n in self.complex_names else mask for n, mask in self.stored.items()}

    def _gradient(self, name: str, found: Any) -> Vector:
        tensor, place = self.theta[name], self.arguments.places[name]
        if name not in self.complex_names:
            return _gradient(place, found, tensor.shape, np.float64)
        gradient = _gradient(place, found, tensor.shape[:-1], np.complex128)
        return as_pairs(np.conj(gradient) if self.conjugate else gradient)

    def watched(self, function: Callable[[tuple[Any, ...]], T]) -> tuple[T, str | None]:
        """function(theta), and the place of the first leaf that it changed in its arguments, if any."""
        placed = self.place(self.theta)
        kept = self.arguments.leaves_of(placed)
        result = function(placed)
        later = self.arguments.leaves_of(placed)
        if [(name, id(leaf)) for name, leaf in later.items()] != [(name, id(leaf)) for name, leaf in kept.items()]:
            return result, " or ".join(self.arguments.roots)
        changed = (n for n, tensor in self.theta.items() if not np.array_equal(as_pairs(fetch(kept[n])), tensor))
        return result, next(map(self.arguments.places.__getitem__, changed), None)

    def is_real(self) -> bool:
        """Whether fun and grad give real numbers at theta."""
        with quiet():
            try:
                self.gradient()
                return isinstance(self.value(self.theta), float)
            except Exception:  # they gave numbers before, so something has changed them
                return False


# Entering


def enter(
    fun: Any, grad: Any, args: Sequence[Any], dtype: str | None, *, conjugate: bool = False
) -> tuple[BlackBox, float, list[str]]:
    """fun and grad as a black box at theta, in the dtype of the check; J at theta; and notes on the dtype."""
    box = _checked(fun, grad, args)
    box.conjugate = conjugate
    candidates, notes = _dtypes(box.arguments.arrays, dtype)
    if constants := box.arguments.constants:
        notes.append(f"constants, not checked: {', '.join(constants)}")
    for box.dtype in candidates[:-1]:
        try:
            return box, _tried(box), notes
        except Exception as error:
            notes.insert(0, f"float64 raises {type(error).__name__}: judged in float32")
    box.dtype = candidates[-1]
    return box, _tried(box), notes


def _checked(fun: Any, grad: Any, args: Sequence[Any]) -> BlackBox:
    """fun and grad as a black box, if they are functions and the arguments hold arrays of one library."""
    for title, function in (("fun", fun), ("grad", grad)):
        if not callable(function):
            raise TypeError(f"{title} must be a function of theta, got {checks.shorten(function)}")
    if not args:
        raise TypeError("theta is missing: the argument of fun, after fun and grad")
    arguments = Arguments(args)
    if not arguments.variables:
        raise _nothing_to_check(arguments)
    for name, leaf in arguments.variables.items():
        _check_variable(arguments.places[name], leaf)
    checks.one_namespace(**{arguments.places[name]: array for name, array in arguments.arrays.items()})
    return BlackBox(fun, grad, arguments, "float64")


def _nothing_to_check(arguments: Arguments) -> Exception:
    """The error for arguments without a floating number."""
    name, leaf = next(iter(arguments.constants.items()), ("theta", None))
    if leaf is None:
        return ValueError(f"theta must hold at least one array or number, got {checks.shorten(arguments.args)}")
    if is_array_api_obj(leaf):
        return TypeError(f"{arguments.places[name]} must have a real floating dtype, got {leaf.dtype}")
    kind = "a floating number" if isinstance(leaf, int) else "an array or a floating number"
    return TypeError(f"{arguments.places[name]} must be {kind}, got {checks.shorten(leaf)}")


def _check_variable(title: str, leaf: Any) -> None:
    """Check that these are floating numbers, at least one, and all of them finite."""
    tensor = fetch(leaf)
    if tensor.size == 0:
        raise ValueError(f"{title} must have entries, got shape {tensor.shape}")
    _check_finite(title, tensor, tensor)


def _check_finite(title: str, tensor: Vector, given: Vector) -> None:
    """Check that all entries are finite; the message shows what was given."""
    if not np.all(np.isfinite(tensor)):
        index = np.argwhere(~np.isfinite(tensor))[0].tolist()
        raise ValueError(f"{title} must be finite, got {given[tuple(index)]}" + (f" at {index}" if index else ""))


def _dtypes(like: Mapping[str, Array], dtype: str | None) -> tuple[list[str], list[str]]:
    """The dtypes to try, the best first, and notes on them."""
    known = set.intersection(set(COMPLEX), *(_available(array) for array in like.values()))
    if dtype is not None:
        name = checks.float_dtype("dtype", dtype)
        if name not in known:
            raise ValueError(f"dtype {name} is not available on the device of theta")
        return [name], []
    if "float64" not in known:
        return ["float32"], ["float64 is not available on the device of theta: judged in float32"]
    single = any(checks.dtype_name(array.dtype) not in ("float64", "complex128") for array in like.values())
    return ["float64"] + ["float32"] * single, []


def _available(array: Array) -> set[str]:
    info = namespace(array).__array_namespace_info__()
    return set(info.dtypes(device=device(array), kind="real floating"))


def _tried(box: BlackBox) -> float:
    """J at theta in the dtype of the box, after fun and grad have been called."""
    given = {name: as_pairs(fetch(leaf)) for name, leaf in box.arguments.variables.items()}
    box.theta = {name: tensor.astype(box.dtype).astype(np.float64) for name, tensor in given.items()}
    for name, tensor in box.theta.items():
        _check_finite(f"in {box.dtype}, {box.arguments.places[name]}", tensor, given[name])
    start = box.value(box.theta)
    if isinstance(start, complex):
        raise TypeError(f"fun must return a real scalar, got {start}: check_vjp takes functions with complex outputs")
    if not math.isfinite(start):
        raise ValueError(f"fun must be finite at theta, got {start}")
    box.gradient()
    return start


# Watching


def call_twice(box: BlackBox, start: float, u: float) -> tuple[dict[str, Vector], Tensors, list[str]]:
    """The gradient at theta, how far it changes from call to call, and why no verdict is possible.

    No verdict is possible if a function changes its argument, or gives values that differ by more than rounding.
    """
    values = [box.watched(box.value_of) for _ in range(2)]
    (first, _), (second, change) = (box.watched(box.gradient_of) for _ in range(2))
    changed = {"fun": values[-1][1], "grad": change}
    complaints = [f"{title} changes its argument {name}" for title, name in changed.items() if name]
    other = max((value for value, _ in values), key=lambda value: abs(value - start))
    if not abs(other - start) <= ROUNDINGS * u * abs(start):
        complaints.append(f"fun gives different values for the same theta ({start!r}, then {other!r})")
    unequal = _unequal(first, second, u)
    if unequal:
        complaints.append(f"grad gives different values for the same theta ({', '.join(unequal)})")
    with np.errstate(invalid="ignore"):
        spread = {name: np.nan_to_num(np.abs(second[name] - first[name])) for name in first}
    return first, spread, [f"{complaint}: no verdict is possible" for complaint in complaints]


def call_again(box: BlackBox, start: float, gradient: Tensors, u: float, noise: float) -> list[str]:
    """Why no verdict is possible: at the end fun or grad gives a value that differs by more than rounding."""
    later, second = box.value(box.theta), box.gradient()
    complaints = []
    if not abs(later - start) <= ROUNDINGS * u * abs(start) + noise:
        complaints.append(f"fun gives different values for the same theta ({start!r}, and {later!r} at the end)")
    unequal = _unequal(gradient, second, u)
    if unequal:
        complaints.append(f"grad gives different values for the same theta at the end ({', '.join(unequal)})")
    return [f"{complaint}: no verdict is possible" for complaint in complaints]


def layout_decides(box: BlackBox, start: float, gradient: Tensors, u: float) -> dict[str, str]:
    """Tensors, by name, whose memory layout changes what fun or grad answer; and what is wrong."""
    strided = [name for name, strides in box.strides.items() if strides is not None]
    if not strided:
        return {}
    box.in_rows = True
    value, other = box.value(box.theta), box.gradient()
    box.in_rows = False
    said = "differently for theta with strides {} than for a copy in rows, so the memory layout decides"
    wrong = dict.fromkeys(_unequal(gradient, other, u), f"grad answers {said}")
    if not abs(value - start) <= ROUNDINGS * u * abs(start):
        wrong |= dict.fromkeys(strided, f"fun answers {said}")
    return {name: text.format(box.strides.get(name) or "of others") for name, text in wrong.items()}


def _unequal(first: Tensors, second: Tensors, u: float) -> list[str]:
    """The tensors that differ by more than rounding."""
    return [name for name, tensor in first.items() if not _same(tensor, second[name], u)]


def _same(first: Vector, second: Vector, u: float) -> bool:
    largest = float(np.max(np.abs(first), initial=0.0, where=np.isfinite(first)))
    return np.allclose(first, second, rtol=0.0, atol=ROUNDINGS * u * largest, equal_nan=True)


def try_complex(box: BlackBox) -> tuple[bool, list[str]]:
    """Whether a complex step leaves complex numbers behind; and why no verdict is possible if they stay.

    What fun and grad keep between calls is put back then, as far as it can be reached.
    """
    memory = Memory(box.fun, box.grad)
    with quiet(), contextlib.suppress(Exception):
        box.value({name: tensor + COMPLEX_STEP * 1j for name, tensor in box.theta.items()})
    if box.is_real():
        return False, []
    memory.restore()
    stays = "the complex step leaves complex numbers in fun or grad, try method='central': no verdict is possible"
    return True, [] if box.is_real() else [stays]


# To and from the user's library


def place(home: Backend, tensor: Vector, like: Array | None, dtype: str, strides: Strides | None) -> Array:
    """A tensor as an array of the user's library, which autograd follows as it follows the user's array."""
    name = COMPLEX.get(dtype, dtype) if np.iscomplexobj(tensor) else dtype
    values = laid_out(np.array(tensor, dtype=HOST.get(name, name), copy=True, order="C"), strides)
    return home.track(home.xp.asarray(values, dtype=getattr(home.xp, name), device=home.device), like)


def fetch(leaf: Any) -> Vector:
    """A number or an array on the host, without its record for automatic differentiation."""
    return np.asarray(backend_of(leaf).to_numpy(dense(leaf)) if is_array_api_obj(leaf) else leaf)


def _number(value: Any) -> float | complex:
    """A scalar of any library, of any shape with one entry, as a Python float; complex if that is its dtype."""
    if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        return complex(value) if isinstance(value, complex) else float(value)
    if not is_array_api_obj(value):
        raise TypeError(f"fun must return a scalar, got {checks.shorten(value)}")
    if math.prod(value.shape) != 1:
        raise ValueError(f"fun must return a scalar, got an array of shape {tuple(value.shape)}")
    value = backend_of(value).track(namespace(value).reshape(value, ()) if value.shape else value)
    return complex(value) if is_complex(value) else float(value)


def _gradient(place: str, found: Any, shape: tuple[int, ...], dtype: type) -> Vector:
    """The gradient of the variable at a place, on the host: zeros for None, and where a sparse one stores nothing."""
    if found is None:
        return np.zeros(shape)
    array = dense(found)
    if isinstance(array, (int, float, complex)) and not isinstance(array, bool):
        array = np.asarray(array)
    title = place.replace("theta", "grad(theta)", 1).replace("args", "grad(*args)", 1)
    if not is_array_api_obj(array):
        raise TypeError(f"{title} must be an array, got {checks.shorten(array)}")
    if tuple(array.shape) != shape:
        raise ValueError(f"{title} must have the shape of {place}, {shape}, got {tuple(array.shape)}")
    if is_complex(array) and dtype is np.float64:
        raise TypeError(f"{title} must be real, got dtype {array.dtype}")
    return np.array(fetch(array), dtype=dtype)
