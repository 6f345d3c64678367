"""The functions under test as black boxes on the host.

Tensors in float64 go in and are turned into arrays of the user's library.  A number or tensors come out.  Both
functions are called repeatedly, because they must not change their argument, and must give the same result each time.
"""

from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass, field
from functools import cached_property
import math
from typing import Any, TypeVar

from array_api_compat import is_array_api_obj
import numpy as np

from xpdl import checks
from xpdl.arrays import Array, device, is_complex, namespace
from xpdl.backends import Backend, backend_of
from xpdl.gradcheck.function.memory import Memory
from xpdl.gradcheck.function.memory_layout import Strides, laid_out, strides_of
from xpdl.gradcheck.function.probe import COMPLEX_STEP, ROUNDINGS, Tensors, quiet
from xpdl.gradcheck.report import Vector

T = TypeVar("T")

COMPLEX = {"float64": "complex128", "float32": "complex64"}


@dataclass
class BlackBox:
    """fun and grad as functions of tensors on the host; ``like`` holds the user's arrays, by name."""

    fun: Callable[[Any], Any]
    grad: Callable[[Any], Any]
    like: Mapping[str, Array]
    single: bool  # whether theta is an array, not a dict
    dtype: str
    theta: Tensors = field(default_factory=dict)
    evaluations: int = 0
    in_rows: bool = False  # whether arrays lie in rows without gaps, not as the user's do

    @cached_property
    def strides(self) -> dict[str, Strides | None]:
        """How the user's arrays lie in memory; None for those in rows without gaps."""
        return {name: strides_of(array) for name, array in self.like.items()}

    @cached_property
    def homes(self) -> dict[str, Backend]:
        """The backends of the user's arrays."""
        return {name: backend_of(array) for name, array in self.like.items()}

    def place(self, tensors: Tensors) -> Any:
        """New arrays of the user's library, on the user's device, which lie in memory as the user's do."""
        arrays = {}
        for name, like in self.like.items():
            strides = None if self.in_rows else self.strides[name]
            arrays[name] = _place(self.homes[name], tensors[name], like, self.dtype, strides)
        return arrays["theta"] if self.single else arrays

    def value(self, tensors: Tensors) -> float | complex:
        """The value of fun, complex if its dtype is complex."""
        return self.value_of(self.place(tensors))

    def value_of(self, placed: Any) -> float | complex:
        """The value of fun for the user's arrays."""
        self.evaluations += 1
        return _number(self.fun(placed))

    def gradient(self) -> dict[str, Vector]:
        """The value of grad at theta, in float64."""
        return self.gradient_of(self.place(self.theta))

    def gradient_of(self, placed: Any) -> dict[str, Vector]:
        """The value of grad for the user's arrays at theta.

        The call of fun before it is what an optimizer does: grad may use what that call kept.
        """
        self.value(self.theta)
        result = self.grad(placed)
        if self.single:
            return {"theta": _gradient("grad(theta)", result, self.like["theta"])}
        if not isinstance(result, Mapping):
            raise TypeError(f"grad must return a dict like theta, got {checks.shorten(result)}")
        if result.keys() != self.like.keys():
            raise ValueError(f"grad must return the keys of theta, {list(self.like)}, got {list(result)}")
        return {name: _gradient(f"grad(theta)[{name!r}]", result[name], like) for name, like in self.like.items()}

    def watched(self, function: Callable[[Any], T]) -> tuple[T, str | None]:
        """function(theta), and the name of the first tensor that it changed in its argument, if any."""
        placed = self.place(self.theta)
        kept = {"theta": placed} if self.single else dict(placed)
        result = function(placed)
        if not self.single and [(n, id(a)) for n, a in placed.items()] != [(n, id(a)) for n, a in kept.items()]:
            return result, "theta"
        changed = (self.title(n) for n, array in kept.items() if not np.array_equal(_fetch(array), self.theta[n]))
        return result, next(changed, None)

    def is_real(self) -> bool:
        """Whether fun and grad give real numbers at theta."""
        with quiet():
            try:
                self.gradient()
                return isinstance(self.value(self.theta), float)
            except Exception:  # they gave numbers before, so something has changed them
                return False

    def title(self, name: str) -> str:
        """The user's name of a tensor."""
        return "theta" if self.single else f"theta[{name!r}]"


# Entering


def enter(fun: Any, grad: Any, theta: Any, dtype: str | None) -> tuple[BlackBox, float, list[str]]:
    """fun and grad as a black box at theta, in the dtype of the check; J at theta; and notes on the dtype."""
    box = _checked(fun, grad, theta)
    candidates, notes = _dtypes(box.like, dtype)
    for box.dtype in candidates[:-1]:
        try:
            return box, _tried(box), notes
        except Exception as error:
            notes = [f"float64 raises {type(error).__name__}: judged in float32"]
    box.dtype = candidates[-1]
    return box, _tried(box), notes


def _checked(fun: Any, grad: Any, theta: Any) -> BlackBox:
    """fun and grad as a black box, if they are functions and theta holds arrays of one library."""
    for title, function in (("fun", fun), ("grad", grad)):
        if not callable(function):
            raise TypeError(f"{title} must be a function of theta, got {checks.shorten(function)}")
    single = not isinstance(theta, Mapping)
    like = {"theta": theta} if single else dict(theta)
    if not like:
        raise ValueError("theta must hold at least one array, got an empty dict")
    box = BlackBox(fun, grad, like, single, "float64")
    for name, array in like.items():
        _check_tensor(box.title(name), array)
    checks.one_namespace(**{box.title(name): array for name, array in like.items()})
    return box


def _check_tensor(title: str, array: Any) -> None:
    """Check that this is a floating array with at least one entry, and that all entries are finite."""
    if not is_array_api_obj(array):
        raise TypeError(f"{title} must be an array, got {checks.shorten(array)}")
    if not namespace(array).isdtype(array.dtype, "real floating"):
        raise TypeError(f"{title} must have a real floating dtype, got {array.dtype}")
    tensor = _fetch(array)
    if tensor.size == 0:
        raise ValueError(f"{title} must have entries, got shape {tensor.shape}")
    if not np.all(np.isfinite(tensor)):
        index = np.argwhere(~np.isfinite(tensor))[0].tolist()
        raise ValueError(f"{title} must be finite, got {tensor[tuple(index)]} at {index}")


def _dtypes(like: Mapping[str, Array], dtype: str | None) -> tuple[list[str], list[str]]:
    """The dtypes to try, the best first, and notes on them."""
    known = set.intersection(*(_available(array) for array in like.values()))
    if dtype is not None:
        name = checks.float_dtype("dtype", dtype)
        if name not in known:
            raise ValueError(f"dtype {name} is not available on the device of theta")
        return [name], []
    if "float64" not in known:
        return ["float32"], ["float64 is not available on the device of theta: judged in float32"]
    return ["float64"] + ["float32"] * any(checks.dtype_name(a.dtype) == "float32" for a in like.values()), []


def _available(array: Array) -> set[str]:
    info = namespace(array).__array_namespace_info__()
    return set(info.dtypes(device=device(array), kind="real floating"))


def _tried(box: BlackBox) -> float:
    """J at theta in the dtype of the box, after fun and grad have been called."""
    box.theta = {name: _fetch(array).astype(box.dtype).astype(np.float64) for name, array in box.like.items()}
    start = box.value(box.theta)
    if isinstance(start, complex):
        raise TypeError(f"fun must return a real scalar, got {start}")
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
    return {name: text.format(box.strides[name] or "of others") for name, text in wrong.items()}


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


def _place(home: Backend, tensor: Vector, like: Array, dtype: str, strides: Strides | None) -> Array:
    """A tensor as an array of the user's library, which autograd follows as it follows the user's array."""
    name = COMPLEX[dtype] if np.iscomplexobj(tensor) else dtype
    values = laid_out(np.array(tensor, dtype=name, copy=True, order="C"), strides)
    return home.track(home.xp.asarray(values, dtype=getattr(home.xp, name), device=home.device), like)


def _fetch(array: Array) -> Vector:
    """The array on the host, without its record for automatic differentiation."""
    return np.asarray(backend_of(array).to_numpy(array))


def _number(value: Any) -> float | complex:
    """A scalar of any library as a Python float, or a complex number if that is its dtype."""
    if isinstance(value, (int, float, complex)) and not isinstance(value, bool):
        return complex(value) if isinstance(value, complex) else float(value)
    if not is_array_api_obj(value):
        raise TypeError(f"fun must return a scalar, got {checks.shorten(value)}")
    if tuple(value.shape) != ():
        raise ValueError(f"fun must return a scalar, got an array of shape {tuple(value.shape)}")
    value = backend_of(value).track(value)
    return complex(value) if is_complex(value) else float(value)


def _gradient(title: str, array: Any, like: Array) -> Vector:
    if not is_array_api_obj(array):
        raise TypeError(f"{title} must be an array, got {checks.shorten(array)}")
    if tuple(array.shape) != tuple(like.shape):
        raise ValueError(f"{title} must have the shape of theta, {tuple(like.shape)}, got {tuple(array.shape)}")
    if is_complex(array):
        raise TypeError(f"{title} must be real, got dtype {array.dtype}")
    return np.array(_fetch(array), dtype=np.float64)
