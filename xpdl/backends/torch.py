"""PyTorch: "torch" is the CPU, then "torch:cuda", "torch:cuda:1", "torch:mps".  Autograd stays off."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
import warnings

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from xpdl.backends.base import Backend, nothing
from xpdl.backends.replay.replayed import Replayed
from xpdl.backends.shared import Setting
from xpdl.backends.torch_replay import target

SETTINGS = torch.backends.cuda.matmul
NEW = hasattr(SETTINGS, "fp32_precision")  # since PyTorch 2.9
NAME = "fp32_precision" if NEW else "allow_tf32"
PRECISION = Setting(
    "the precision of products in PyTorch", partial(getattr, SETTINGS, NAME), partial(setattr, SETTINGS, NAME)
)


def multiplying(precision: str) -> AbstractContextManager[None]:
    """Return a context in which float32 is multiplied on a GPU in this precision, regardless of the user's setting."""
    return PRECISION.at(precision if NEW else precision == "tf32")


def track(array: torch.Tensor, example: torch.Tensor | None = None) -> torch.Tensor:
    """Return the tensor as a leaf; autograd records operations on it if it does so for the example."""
    return array.detach().requires_grad_(example is not None and example.requires_grad)


def to_numpy(array: torch.Tensor) -> np.ndarray:
    """Return the tensor on the host; bfloat16, which NumPy does not have, as float32."""
    array = array.detach().cpu()
    plain = array.float() if array.dtype == torch.bfloat16 else array.resolve_conj().resolve_neg()
    return np.asarray(plain.numpy())


def vjp(
    fun: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]], arrays: Sequence[torch.Tensor]
) -> tuple[Sequence[torch.Tensor], Callable[..., Sequence[torch.Tensor | None]]]:
    """Return outputs and their backward pass, which autograd records in turn if it records the arrays."""
    with torch.enable_grad():
        inputs = [array if array.requires_grad else array.detach().requires_grad_() for array in arrays]
        outputs = fun(inputs)

    def backward(cotangents: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | None]:
        pairs = [pair for pair in zip(outputs, cotangents, strict=True) if pair[0].requires_grad]
        if not pairs:
            return [None] * len(inputs)
        again = any(array.requires_grad for array in arrays)
        used, weights = zip(*pairs, strict=True)
        found: Sequence[torch.Tensor | None]
        found = torch.autograd.grad(used, inputs, weights, allow_unused=True, create_graph=again)
        return found

    return outputs, backward


def jvp(
    fun: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
    arrays: Sequence[torch.Tensor],
    tangents: Sequence[torch.Tensor],
) -> Sequence[torch.Tensor | None]:
    """Return the tangents of the outputs, by autograd's forward mode."""
    with forward_ad.dual_level(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch 2.13 compiles its own rules by torch.jit.script
        outputs = fun([forward_ad.make_dual(a, t) for a, t in zip(arrays, tangents, strict=True)])
        return [forward_ad.unpack_dual(output).tangent for output in outputs]


def connect(name: str, device: str) -> Backend:
    """Return the backend of a PyTorch device; ``RuntimeError`` if the device cannot be used."""
    try:
        found = torch.zeros(1, device=device or "cpu").device
        torch.zeros(1, device=found).cpu()
    except Exception as error:  # its type depends on the device: AssertionError and others
        raise RuntimeError(f"PyTorch has no device {device!r} here: {error}") from error
    return Backend(
        name,
        xp,
        found,
        to_numpy=to_numpy,
        place=lambda array: torch.tensor(array, device=found),
        track=track,
        compile=partial(Replayed, target(found)),
        activate=partial(multiplying, "ieee"),
        precisions={"tf32": {"activate": partial(multiplying, "tf32")}} if found.type == "cuda" else {},
        vjp=vjp,
        jvp=jvp,
        vmap=torch.func.vmap,
        synchronize={"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(found.type, nothing),
    )
