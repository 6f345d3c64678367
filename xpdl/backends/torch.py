"""PyTorch: "torch" is the CPU, then "torch:cuda", "torch:cuda:1", "torch:mps".  Autograd stays off."""

import array_api_compat.torch as xp
import torch

from xpdl.backends.base import Backend, nothing


def connect(name: str, device: str) -> Backend:
    """A PyTorch device; ``RuntimeError`` if it cannot be used."""
    target = torch.device(device or "cpu")
    if target.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no CUDA device: install a CUDA build of torch and the NVIDIA driver")
    if target.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("PyTorch finds no Apple GPU: use 'torch' for the CPU")
    return Backend(
        name,
        xp,
        target,
        to_numpy=lambda array: array.detach().cpu().numpy(),
        place=lambda array: torch.tensor(array, device=target),
        compile=torch.no_grad(),
        synchronize={"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(target.type, nothing),
    )
