"""PyTorch: "torch" is the CPU, then "torch:cuda", "torch:cuda:1", "torch:mps".  Autograd stays off."""

from contextlib import AbstractContextManager
from functools import partial

import array_api_compat.torch as xp
import torch

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
        to_numpy=lambda array: array.detach().cpu().numpy(),
        place=lambda array: torch.tensor(array, device=found),
        track=track,
        compile=partial(Replayed, target(found)),
        activate=partial(multiplying, "ieee"),
        precisions={"tf32": {"activate": partial(multiplying, "tf32")}} if found.type == "cuda" else {},
        synchronize={"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(found.type, nothing),
    )
