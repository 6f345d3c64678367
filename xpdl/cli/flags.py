"""Turn the flags that several commands share into data, networks, ranks and files."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xpdl import checks, losses
from xpdl.data import Dataset, load as load_data
from xpdl.distributed import Communicator, connect
from xpdl.distributed.launching import RanksWanted
from xpdl.network import Network

SIGNALLED = 128
"""The exit code of a program that a signal has ended is this plus the number of the signal, as in a shell."""


def connected(ranks: int | None) -> Communicator:
    """Return the communicator of this job.  Raise ``RanksWanted`` if the flag asks for another number of ranks."""
    communicator = connect()
    if ranks is not None and checks.integer("ranks", ranks, least=1) != communicator.size:
        raise RanksWanted(ranks)
    return communicator


def exit_code(signal: int) -> int:
    """Return the exit code of a run that a signal has ended, or 0 if there was none."""
    return SIGNALLED + signal if signal else 0


def load_and_split(data: str, holdout: float, validation: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the data set with its test part, and a second one whose test part is the validation part.

    The validation part is the fraction ``validation`` of the training samples.  If it is 0, the test part is used for
    validation, too, and both data sets are the same object.
    """
    samples = load_data(data)
    samples = samples.split(holdout, seed) if holdout else samples
    without_test = replace(samples, x_test=None, y_test=None)
    return samples, without_test.split(validation, seed) if validation else samples


def describe_samples(samples: Dataset, split: Dataset) -> str:
    """Return the numbers of samples as text: "mnist: 60,000 training and 10,000 test samples"."""
    validation = len(split.x_test) if split is not samples and split.x_test is not None else 0
    test = len(samples.x_test) if samples.x_test is not None else 0
    numbers = {"training": len(split.x), "validation": validation, "test": test}
    *first, last = [f"{number:,} {kind}" for kind, number in numbers.items() if number]
    return f"{checks.one_line(samples.name)}: {' and '.join(filter(None, [', '.join(first), last]))} samples"


def network_for(
    samples: Dataset, sizes: Callable[[int, int], list[int]], output: str | None, *, init: str, **options: Any
) -> Network:
    """Return the network of these flags; ``sizes(d, k)`` gives all layer sizes from those of the input and output."""
    output, k = _fitting_output(samples, output)
    sizes_ = sizes(samples.x.shape[1], k)
    return Network(sizes_, output=output, init=_number_or_name(init), inputs=samples.scaling, **options)


def one_or_each(activations: list[str]) -> str | list[str]:
    """Return the activation of all hidden layers, or those of each."""
    return activations[0] if len(activations) == 1 else activations


def _fitting_output(samples: Dataset, output: str | None) -> tuple[str, int]:
    """The output layer and its size.  By default, the labels decide."""
    if samples.y.dtype.kind == "f":
        return output or "linear", samples.y.shape[1] if samples.y.ndim == 2 else 1
    highest = max(int(y.max()) for y in (samples.y, samples.y_test) if y is not None)
    output = output or ("sigmoid" if highest <= 1 else "softmax")
    return output, losses.by_name(output).outputs(highest + 1)


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
