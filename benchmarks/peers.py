"""The time of an MNIST epoch in xpdl and in other libraries: ``python -m benchmarks.peers [--net S M L]``.

Contenders run one after the other, each in its own process, round after round.  A process trains a few epochs and
reports the median of all but the first.  The table shows the median over the rounds, and two ratios of epochs in the
same round: ``ratio`` is this contender's time over that of the first contender, and ``first_over_this`` is the reverse.
Without MNIST (in XPDL_DATA or the cache), as many glyphs are used.
"""

from collections.abc import Iterator
from itertools import product
import json
from pathlib import Path
import statistics
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import SETUPS
from benchmarks.output import Output, Row
from benchmarks.processes import ChildError, child as run_child, samples, stored
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
Entry = tuple[str, str]  # network, contender
COLUMNS = {
    "net": "",
    "contender": "",
    "median_s": ".4f",
    "fastest_s": ".4f",
    "step_us": ".1f",
    "ratio": ".2f",
    "first_over_this": ".2f",
}


@app.default
def peers(
    *,
    contenders: Annotated[list[str], Parameter(consume_multiple=True)] = ["xpdl-numpy", "torch"],  # noqa: B006
    net: Annotated[list[str], Parameter(consume_multiple=True)] = ["M"],  # noqa: B006
    rounds: int = 5,
    epochs: int = 4,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Time the contenders against each other.

    Parameters
    ----------
    contenders
        Names from contenders.py.
    net
        S, M, L and, for a GPU, XL; see networks.py.
    rounds
        Number of processes for each contender and network.
    epochs
        Epochs in each process; the first is not counted.
    quick
        A few samples, one round of two epochs, to see that it works.
    """
    data = samples(quick)
    rounds, epochs = (1, 2) if quick else (rounds, epochs)
    networks = {name: SETUPS[name]._asdict() for name in net}
    settings = {"networks": networks, "data": data.name, "samples": len(data.x), "rounds": rounds, "epochs": epochs}
    seconds: dict[Entry, list[float]] = {entry: [] for entry in product(net, contenders)}
    skipped: dict[str, str] = {}
    with stored(data) as path:
        for _, entry in product(range(rounds), seconds):
            name = " ".join(entry)
            if name in skipped:
                continue
            try:
                seconds[entry].append(statistics.median(run_child("peers", *entry, epochs, path)[1:]))
            except ChildError as error:
                skipped[name] = str(error)
            rows = list(_rows(seconds, contenders[0], len(data.x)))
            output.write("peers", rows, settings=settings, skipped=skipped)
    print(f"seconds per epoch, data {data.name}")
    output.publish("peers", COLUMNS, rows, settings=settings, skipped=skipped)
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")


@app.command(show=False)
def child(net: str, contender: str, epochs: int, path: Path) -> None:
    """Run one contender and print the seconds of its epochs."""
    data = xpdl.data.load(path)
    print(json.dumps(list(CONTENDERS[contender](data.x, data.y, SETUPS[net], epochs))))


def _rows(seconds: dict[Entry, list[float]], first: str, samples: int) -> Iterator[Row]:
    """Yield a row for each contender that has run.  Ratios need the first contender in the same round."""
    for (net, contender), values in seconds.items():
        if values:
            median, steps = statistics.median(values), -(-samples // SETUPS[net].batch_size)
            pairs = list(zip(values, seconds[net, first], strict=False))
            yield {
                "net": net,
                "contender": contender,
                "median_s": median,
                "fastest_s": min(values),
                "step_us": 1e6 * median / steps,
                "ratio": statistics.median(value / own for value, own in pairs) if pairs else None,
                "first_over_this": statistics.median(own / value for value, own in pairs) if pairs else None,
                "rounds_s": values,
            }


if __name__ == "__main__":
    app()
