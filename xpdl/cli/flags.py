"""Turn the flags that several commands share into data, networks, ranks and files."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xpdl import checks, losses
from xpdl.data import Dataset, load as load_data
from xpdl.data.roles import Options
from xpdl.data.shards import Shards
from xpdl.distributed import Communicator, connect
from xpdl.distributed.launching import RanksWanted
from xpdl.network import Network
from xpdl.scaling import Scaling

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


HOLDOUT, VALIDATION = 0.2, 0.1
"""The fractions that are held out where the user says nothing: for the test part, and then for validation."""


def load_and_split(
    data: str, holdout: float | None, validation: float | None, seed: int, **options: Any
) -> tuple[Dataset, Dataset]:
    """Return the data set with its test part, and a second one whose test part is the validation part.

    The validation part is a fraction of the training samples; the test part is never used for validation.  By default,
    data without a test part give HOLDOUT of it, and VALIDATION of the training samples are for validation.
    """
    samples = load_data(data, **options)
    samples = _split(samples, 0.0 if holdout is None and samples.test else holdout, HOLDOUT, seed)
    return samples, _split(replace(samples, x_test=None, y_test=None), validation, VALIDATION, seed)


def _split(samples: Dataset, fraction: float | None, default: float, seed: int) -> Dataset:
    """Hold out this fraction; the default one only if that is possible."""
    if fraction is None:
        possible = not isinstance(samples.x, Shards) and len(samples.x) * default >= 1
        fraction = default if possible and not isinstance(samples.y, Shards) else 0.0
    return samples.split(fraction, seed) if fraction else samples


def describe_samples(samples: Dataset, split: Dataset) -> str:
    """Return the numbers of samples as text: "mnist: 60,000 training and 10,000 test samples"; and what was guessed."""
    validation = len(split.x_test) if split.x_test is not None else 0
    test = len(samples.x_test) if samples.x_test is not None else 0
    numbers = {"training": len(split.x), "validation": validation, "test": test}
    *first, last = [f"{number:,} {kind}" for kind, number in numbers.items() if number]
    counted = f"{checks.one_line(samples.name)}: {' and '.join(filter(None, [', '.join(first), last]))} samples"
    return "\n".join([counted, *(f"  {checks.one_line(note, 300)}" for note in samples.notes)])


def given_options(**options: Any) -> dict[str, Any]:
    """Return the options of a file that the user has given."""
    return {name: value for name, value in options.items() if value != Options._field_defaults[name] and value != []}


def network_for(
    samples: Dataset,
    sizes: Callable[[int, int], list[int]],
    output: str | None,
    *,
    init: str,
    inputs: Scaling | None = None,
    **options: Any,
) -> Network:
    """Return the network of these flags; ``sizes(d, k)`` gives all layer sizes from those of the input and output."""
    output, k = _fitting_output(samples, output)
    sizes_ = sizes(samples.x.shape[1], k)
    return Network(sizes_, output=output, init=_number_or_name(init), inputs=inputs, **options)


def one_or_each(activations: list[str]) -> str | list[str]:
    """Return the activation of all hidden layers, or those of each."""
    return activations[0] if len(activations) == 1 else activations


def _fitting_output(samples: Dataset, output: str | None) -> tuple[str, int]:
    """The output layer and its size.  By default, the labels decide."""
    if samples.y.dtype.kind == "f":
        return output or "linear", samples.y.shape[1] if samples.y.ndim == 2 else 1
    k = len(samples.classes or ())
    output = output or ("sigmoid" if k <= 2 else "softmax")
    return output, losses.by_name(output).outputs(k)


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
