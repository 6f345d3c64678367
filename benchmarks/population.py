"""K networks in one run against K runs, one after the other: ``python -m benchmarks.population [--net S M]``.

    seeds    each network has its own seed, so its own order of samples: as many samples are read as in K runs
    theta    the networks have different initial weights and one order, so they share the samples of a batch

Each way runs in its own process, which trains a few epochs and reports the sum, over the runs, of the median of all
epochs but the first.  The ways take turns, round after round.  ``ratio`` is the median over the rounds of the time
together over that apart.  Without MNIST (in XPDL_DATA or the cache), as many glyphs are used.
"""

from collections.abc import Iterator
from itertools import product
import json
from pathlib import Path
import statistics
from typing import Annotated, Any

from cyclopts import App, Parameter
import numpy as np

from benchmarks.networks import LR, SETUPS
from benchmarks.output import Output, Row
from benchmarks.processes import child as run_child, samples, stored
import xpdl

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
COLUMNS = {"net": "", "way": "", "networks": "d", "together_s": ".4f", "apart_s": ".4f", "ratio": ".2f"}
WAYS = {
    "seeds": lambda net, seeds: {"seed": seeds},
    "theta": lambda net, seeds: {"theta": np.stack([net.initialize(seed) for seed in seeds])},
}
"""The options of ``train`` for these seeds."""


@app.default
def population(
    *,
    net: Annotated[list[str], Parameter(consume_multiple=True)] = ["S"],  # noqa: B006
    networks: Annotated[list[int], Parameter(consume_multiple=True)] = [1, 4, 16],  # noqa: B006
    backend: str = "numpy",
    rounds: int = 5,
    epochs: int = 4,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Time each number of networks, together and apart.

    Parameters
    ----------
    net
        S, M and L, see networks.py.
    networks
        Numbers of networks.
    backend
        Backend, such as numpy or jax.
    rounds
        Number of processes for each way.
    epochs
        Epochs of each run; the first is not counted.
    quick
        A few samples, one round of two epochs of two networks, to see that it works.
    """
    data = samples(quick)
    rounds, epochs, networks = (1, 2, [2]) if quick else (rounds, epochs, networks)
    settings = {"data": data.name, "samples": len(data.x), "backend": backend, "rounds": rounds, "epochs": epochs}
    seconds: dict[tuple[Any, ...], list[tuple[float, float]]] = {entry: [] for entry in product(net, WAYS, networks)}
    with stored(data) as path:
        for _, entry in product(range(rounds), seconds):
            pair = [run_child("population", *entry, together, backend, epochs, path) for together in (True, False)]
            seconds[entry].append((pair[0], pair[1]))
            output.write("population", list(_rows(seconds)), settings=settings)
    print(f"seconds per epoch, data {data.name}, backend {backend}")
    output.publish("population", COLUMNS, list(_rows(seconds)), settings=settings)


@app.command(show=False)
def child(net: str, way: str, networks: int, together: bool, backend: str, epochs: int, path: Path) -> None:
    """Train the networks together or apart, and print the seconds of an epoch of all of them."""
    data, setup = xpdl.data.load(path), SETUPS[net]
    model = xpdl.Network(setup.sizes, inputs=data.scaling)
    options: dict[str, Any] = {"optimizer": xpdl.adam(LR), "batch_size": setup.batch_size, "backend": backend}
    groups = [list(range(networks))] if together else [[seed] for seed in range(networks)]
    total = 0.0
    for seeds in groups:
        own = WAYS[way](model, seeds) if together else {"seed": seeds[0]}
        run = xpdl.train(model, data.x, data.y, epochs=epochs, progress=False, **options, **own)
        total += statistics.median(epoch["seconds"] for epoch in run.history[1:])
    print(json.dumps(total))


def _rows(seconds: dict[tuple[Any, ...], list[tuple[float, float]]]) -> Iterator[Row]:
    """Yield a row for each entry that has run."""
    for (net, way, networks), pairs in seconds.items():
        if pairs:
            together, apart = zip(*pairs, strict=True)
            yield {
                "net": net,
                "way": way,
                "networks": networks,
                "together_s": statistics.median(together),
                "apart_s": statistics.median(apart),
                "ratio": statistics.median(one / all_ for one, all_ in pairs),
                "rounds_s": pairs,
            }


if __name__ == "__main__":
    app()
