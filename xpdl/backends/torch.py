"""PyTorch: "torch" is the CPU, then "torch:cuda", "torch:cuda:1", "torch:mps".  Autograd stays off."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import array_api_compat.torch as xp
import torch

from xpdl.backends.base import Backend, nothing
from xpdl.backends.replay.replayed import Replayed
from xpdl.backends.torch_replay import machine


@contextmanager
def multiplying(precision: str) -> Iterator[None]:
    """Products of float32 on a GPU are in this precision, whatever has been set before."""
    settings = torch.backends.cuda.matmul
    new = hasattr(settings, "fp32_precision")  # since PyTorch 2.9
    name, value = ("fp32_precision", precision) if new else ("allow_tf32", precision == "tf32")
    before = getattr(settings, name)
    setattr(settings, name, value)
    try:
        yield
    finally:
        setattr(settings, name, before)


def track(array: torch.Tensor, example: torch.Tensor | None = None) -> torch.Tensor:
    """The tensor as a leaf that autograd follows if it follows the example."""
    return array.detach().requires_grad_(example is not None and example.requires_grad)


def connect(name: str, device: str) -> Backend:
    """A PyTorch device; ``RuntimeError`` if it cannot be used."""
    try:
        target = torch.zeros(1, device=device or "cpu").device
        torch.zeros(1, device=target).cpu()
    except Exception as error:  # AssertionError, NotImplementedError and others, by device
        raise RuntimeError(f"PyTorch has no device {device!r} here: {error}") from error
    return Backend(
        name,
        xp,
        target,
        to_numpy=lambda array: array.detach().cpu().numpy(),
        place=lambda array: torch.tensor(array, device=target),
        track=track,
        compile=partial(Replayed, machine(target)),
        activate=partial(multiplying, "ieee"),
        precisions={"tf32": {"activate": partial(multiplying, "tf32")}} if target.type == "cuda" else {},
        synchronize={"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(target.type, nothing),
    )
