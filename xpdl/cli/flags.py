"""What flags that several commands have mean."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from xpdl import checks
from xpdl.data import Dataset, load as load_data
from xpdl.distributed import Communicator, connect
from xpdl.distributed.launching import RanksWanted
from xpdl.losses import LOSSES
from xpdl.network import Network

SIGNALLED = 128
"""What a shell adds to the number of the signal that has ended a program."""

Whole = Annotated[int, Parameter(converter=lambda _, tokens: int(tokens[0].value))]
"""An int; on its own cyclopts would round 1.5."""


def connected(ranks: int | None) -> Communicator:
    """The ranks of this job; ``RanksWanted`` if the flag asks for another number of them."""
    communicator = connect()
    if ranks is not None and checks.integer("ranks", ranks, least=1) != communicator.size:
        raise RanksWanted(ranks)
    return communicator


def check_writable(flag: str, path: Path | None) -> None:
    """``OSError`` if a file could not be written: before the training, not after."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise IsADirectoryError(f"{flag} must be a file in a directory that exists, got {str(path)!r}")


def parts_of(data: str, holdout: float, validation: float, seed: int) -> tuple[Dataset, Dataset]:
    """The data with its test part, and what to train on with the part to watch meanwhile.

    That is the share ``validation`` of the training part, for 0 the test part.
    """
    samples = load_data(data)
    samples = samples.split(holdout, seed) if holdout else samples
    without_test = replace(samples, x_test=None, y_test=None)
    return samples, without_test.split(validation, seed) if validation else samples


def counted(samples: Dataset, fitting: Dataset) -> str:
    """How many samples there are of each kind."""
    watched = len(fitting.x_test) if fitting is not samples and fitting.x_test is not None else 0
    test = len(samples.x_test) if samples.x_test is not None else 0
    numbers = {"training": len(fitting.x), "validation": watched, "test": test}
    *first, last = [f"{number:,} {kind}" for kind, number in numbers.items() if number]
    return f"{samples.name}: {' and '.join(filter(None, [', '.join(first), last]))} samples"


def network_for(
    samples: Dataset, sizes: Callable[[int, int], list[int]], output: str | None, options: dict[str, Any]
) -> Network:
    """The network of these flags; sizes (d, k) -> those of all layers."""
    output, k = _fitting_output(samples, output)
    init = _number_or_name(options["init"])
    return Network(sizes(samples.x.shape[1], k), output=output, **options | {"init": init})


def _fitting_output(samples: Dataset, output: str | None) -> tuple[str, int]:
    """The output layer, by default what fits the labels, and its size."""
    if samples.y.dtype.kind == "f":
        return output or "linear", samples.y.shape[1] if samples.y.ndim == 2 else 1
    highest = max(int(y.max()) for y in (samples.y, samples.y_test) if y is not None)
    output = output or ("sigmoid" if highest <= 1 else "softmax")
    return output, LOSSES[checks.choice("output", output, LOSSES)].outputs(highest + 1)


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
