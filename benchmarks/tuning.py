"""The recipe against Optuna's default sampler: ``python -m benchmarks.tuning [--trials 30] [--epochs 5]``.

The data are the first 6,000 images of MNIST, which each seed splits into 4,800 for training and 1,200 for validation.
All samplers have the same space, seeds, trials and epochs, and no trial is stopped early.  The recipe was developed on
other images, 6,000 to 12,000, and with other seeds.

    recipe         the origin's recipe
    tpe            ``optuna.samplers.TPESampler``, the default
    tpe, informed  the same, after the first trial of the recipe, which has usual values
    random         random search

    loss, loss_10, loss_20   the lowest validation loss of all trials, of the first 10, of the first 20
    test_loss                loss of the best trial on the 10,000 test images, which no sampler has seen
"""

from collections.abc import Callable
from itertools import accumulate
import statistics
import time
from typing import Annotated, Any

from cyclopts import App, Parameter
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.output import Output, Row, table
from benchmarks.processes import samples
import xpdl
from xpdl.data import Dataset
from xpdl.tuning import RecipeSampler, Tuned, tune
from xpdl.tuning.space import stages

app = App(help=__doc__, help_format="plaintext", result_action="return_value")
IMAGES, VALIDATION = 6000, 0.2
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "recipe": lambda seed: RecipeSampler(stages("adam"), seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "tpe, informed": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed),
}
COLUMNS = {
    "sampler": "",
    "seed": ".0f",
    "loss_10": ".4f",
    "loss_20": ".4f",
    "loss": ".4f",
    "accuracy": ".4f",
    "test_loss": ".4f",
    "seconds": ".0f",
}
MEDIANS = {"sampler": "", "loss_10": ".4f", "loss_20": ".4f", "loss": ".4f", "test_loss": ".4f", "wins": ".0f"}


@app.default
def tuning(
    *,
    trials: int = 30,
    epochs: int = 5,
    seeds: int = 5,
    quick: bool = False,
    output: Annotated[Output, Parameter(name="*")] = Output(),  # noqa: B008
) -> None:
    """Tune with each sampler and seed.

    Parameters
    ----------
    trials
        Number of trials in each study.
    epochs
        Epochs of each trial.
    seeds
        Number of seeds, from 0.
    quick
        A few samples, three trials, one epoch and two seeds, to see that it works.
    """
    data, rows = samples(quick), []
    trials, epochs, seeds = (3, 1, 2) if quick else (trials, epochs, seeds)
    settings = {"data": data.name, "images": min(IMAGES, len(data.x)), "trials": trials, "epochs": epochs}
    for seed in range(seeds):
        for name in SAMPLERS:
            rows.append(_row(data, name, seed, trials, epochs))
            output.write("tuning", rows, settings=settings)
    medians = [_median(name, rows) for name in SAMPLERS]
    print(f"{settings['images']:,} images of {data.name}, {trials} trials of {epochs} epochs, {seeds} seeds")
    output.publish("tuning", COLUMNS, rows, settings=settings, medians=medians)
    print(f"medians over the seeds, and how often the loss is lower than that of tpe\n{table(MEDIANS, medians)}")


def _row(data: Dataset, name: str, seed: int, trials: int, epochs: int) -> Row:
    """Run one study, and return its row."""
    start = time.perf_counter()
    tuned = _tuned(data, name, seed, trials, epochs)
    seconds = time.perf_counter() - start
    losses = [trial.value if trial.value is not None else float("inf") for trial in tuned.study.trials]
    best = list(accumulate(losses, min))
    return {
        "sampler": name,
        "seed": seed,
        "loss_10": best[min(10, trials) - 1],
        "loss_20": best[min(20, trials) - 1],
        "loss": best[-1],
        "accuracy": tuned.best.user_attrs["accuracy"],
        "test_loss": xpdl.evaluate(tuned.network, tuned.theta, *data.test, backend="numpy")["loss"],
        "seconds": seconds,
        "best": tuned.best.params,
        "losses": losses,
    }


def _tuned(data: Dataset, name: str, seed: int, trials: int, epochs: int) -> Tuned:
    """Return the result of one sampler and one seed."""
    part = Dataset(data.x[:IMAGES], data.y[:IMAGES], name=data.name).split(VALIDATION, seed)
    net = xpdl.Network([part.x.shape[1], 10], inputs=part.scaling)
    options: dict[str, Any] = {"epochs": epochs, "pruner": "none", "backend": "numpy", "seed": seed, "progress": False}
    storage = optuna.storages.InMemoryStorage()
    if name == "tpe, informed":
        tune(net, part.x, part.y, validation=part.test, trials=1, storage=storage, **options)
    return tune(
        net,
        part.x,
        part.y,
        validation=part.test,
        trials=trials,
        sampler=SAMPLERS[name](seed),
        storage=storage,
        **options,
    )


def _median(name: str, rows: list[Row]) -> Row:
    """Return the medians of a sampler over the seeds, and for how many seeds it is better than TPE."""
    own, other = ([row for row in rows if row["sampler"] == sampler] for sampler in (name, "tpe"))
    wins = sum(mine["loss"] < theirs["loss"] for mine, theirs in zip(own, other, strict=True))
    medians = {
        key: statistics.median(row[key] for row in own) for key in MEDIANS if key.endswith(("loss", "_10", "_20"))
    }
    return {"sampler": name, **medians, "wins": wins}


if __name__ == "__main__":
    app()
