"""``train``: check the arguments, put together the training loop (loop.py), and run it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
import os
from pathlib import Path
import signal
from typing import Any
import warnings

import numpy as np

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend, backend as choose_backend
from xpdl.data import inputs
from xpdl.data.disk_inputs import DiskInputs
from xpdl.data.shards import on_disk
from xpdl.distributed.communicators import Communicator, Serial, share
from xpdl.files.checkpoint import (
    Checkpointer,
    compared,
    configuration,
    fingerprint,
    networks as kept_networks,
    rule_of,
)
from xpdl.files.outputs import locked
from xpdl.files.train_state import Carry, TrainState
from xpdl.network import Network
from xpdl.optimizers import Optimizer, adam, networks as rate_networks
from xpdl.randomness import check_seed
from xpdl.training.batches import OnDevice, OnDisk, Source, batches_of
from xpdl.training.callbacks import Callback, Callbacks
from xpdl.training.distributed_step import DistributedSteps
from xpdl.training.evaluation import Evaluator, part
from xpdl.training.loop import DivergenceError, Result, TrainingLoop, epoch_start, resumed
from xpdl.training.population import check_rows, number_of_networks
from xpdl.training.run_config import RunConfig
from xpdl.training.step import Steps
from xpdl.version import __version__

__all__ = ["DivergenceError", "Result", "train"]

Samples = tuple[Array, Array, Array | None]


def train(
    net: Network,
    x: Any,
    y: Any,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int | None = 128,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    validation: Sequence[Any] | None = None,
    backend: str | Backend = "auto",
    dtype: str = "float32",
    seed: int | Sequence[int] = 0,
    callbacks: Sequence[Callback] = (),
    theta: Any = None,
    check_gradients: int | None = None,
    check_seconds: float = 10.0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    resume: "str | os.PathLike[str] | Result | None" = None,
    overwrite: bool = False,
    communicator: Communicator | None = None,
) -> Result:
    """Minimise the mean cost of the samples over theta by mini-batch gradient descent.

    Parameters
    ----------
    net : Network
        The network to train.
    x : array_like
        The samples (n, d), numbers of any dtype, as the network takes them; an array of any library.  uint8 stays uint8
        in the memory of the device.
        An array that is mapped from a file (``numpy.memmap``, or a folder that ``xpdl.data.load`` leaves on disk) stays
        on disk: windows of it are read and shuffled during training.
    y : array_like
        Labels (n,), or targets (n, k); the output of the network decides which numbers are allowed.
    optimizer : Optimizer, default adam()
        The update rule.
    epochs : int, default 10
        The number of passes through the samples.  It includes the epochs of a run that is resumed.
    batch_size : int or None, default 128
        Samples in a step; None for all.  The last step of an epoch takes the samples that are left.
    shuffle : bool, default True
        Whether each epoch has its own order of samples.
    sample_weight : array_like, optional
        Weights (n,): how many times each sample counts in the cost of its batch, see ``Network.loss``.  A sample of
        weight 0 is left out.  Weights (n, k) are those of the outputs; where they are 0, y is missing and may be NaN.
        (K, n) or (K, n, k): weights of each of K networks, such as folds or bootstraps.
    class_weight : mapping or "balanced", optional
        {label: factor}: how many times the samples of this label count; other labels count once.  "balanced" makes all
        labels of y weigh the same: n / (labels * samples of the label).  It multiplies ``sample_weight``.
    validation : sequence of array_like, optional
        (x, y) or (x, y, sample_weight) to evaluate after each epoch.  Weights (K, n) are those of each network.
    backend : str or Backend, default "auto"
        Where to compute, as for ``xpdl.backend``.
    dtype : str, default "float32"
        "float32" or "float64".
    seed : int or sequence of int, default 0
        The seed of initial weights, order of samples and dropout.  The same seed gives the same run on every backend.
        Several seeds train that many networks at once, see Notes.
    callbacks : sequence of Callback, default ()
        Functions f(metrics, step), called after each epoch, see ``xpdl.callbacks``.
    theta : array_like, optional
        The initial parameters (P,), such as ``net.pack([(w, b), ...])``, or (K, P) for K networks; default
        ``net.initialize(seed)``.
    check_gradients : int, optional
        Check the gradient of the loss that is trained, dropout and L2 included, before the first epoch and after every
        ``check_gradients`` epochs.
    check_seconds : float, default 10.0
        When the checks have taken this many seconds in all, no more of them are made.
    progress : bool, default True
        Show a bar on a terminal, elsewhere a line for each epoch.
    checkpoint : path, optional
        A file for the state of the run.  It is written at the start, after every ``every`` epochs, and at the end.
        While the run writes it, another run that would write it is refused.
    every : int, default 1
        Epochs between checkpoints.
    resume : path, "auto" or Result, optional
        A checkpoint; "auto" is the file ``checkpoint`` if it exists, so one command starts a run and goes on with it.
        The run continues as if it had never stopped, to the last bit.  Backend, epochs, validation and callbacks may
        differ from that run, and theta must be None; all other arguments must be the same.  Another learning rate or
        schedule, another constant of the optimizer and other validation samples are used, with a warning; what a
        callback has seen as best on other validation samples is forgotten.  Another update rule is refused.  A
        ``Result`` continues in the same way, with any samples, batches and learning
        rates; callbacks begin anew.
    overwrite : bool, default False
        Whether the checkpoint may replace a file that holds another run.
    communicator : Communicator, optional
        ``xpdl.distributed.connect()`` on each rank of an MPI job.  Together the ranks compute the same run, to
        rounding; each takes its share of every batch.  All ranks must get the same arguments.  Only rank 0 writes
        files, calls callbacks and shows progress.  A run can be resumed on any number of ranks.

    Returns
    -------
    Result
        The parameters, the metrics of each epoch, and the state that is needed to resume the run.  Ctrl-C ends the run
        after the step in progress, and so does SIGTERM if there is a checkpoint; the result is that of the steps so
        far.  A second signal ends the run at once.

    Raises
    ------
    DivergenceError
        If the cost or a parameter becomes NaN or infinite; the error has the result up to the last good epoch.
    GradientError
        If a gradient check fails.
    RunFileError
        If the checkpoint to resume is damaged.
    ValueError, TypeError
        If an argument is not as described, if the checkpoint to resume is of another run, or if the ranks have
        different arguments.
    OSError
        If a file cannot be read or written; if that is the last checkpoint, ``error.result`` is the result.  Also if
        ``checkpoint`` holds another run, or another run is writing it.

    Notes
    -----
    K networks are trained at once if there are K seeds, K initial parameters theta (K, P), sample weights (K, n), or K
    learning rates in the optimizer; what is given once is the same for all.  Each network is the run it would be alone,
    to rounding: with its own initial weights, order of samples and dropout if it has its own seed.  ``result.theta`` is
    (K, P), and the numbers of the history are arrays (K,).  ``KeepBest`` and ``EarlyStopping`` keep the best epoch of
    each network, and the run ends when no network has a better one.

    Examples
    --------
    >>> import numpy as np
    >>> import xpdl
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = xpdl.Network([2, 8, 1], hidden="tanh", output="sigmoid")
    >>> result = xpdl.train(net, x, y, optimizer=xpdl.adam(0.05), epochs=100, backend="numpy", progress=False)
    >>> [int(label) for label in net.predict(result.theta, x)]
    [0, 1, 1, 0]
    >>> longer = xpdl.train(
    ...     net, x, y, optimizer=xpdl.adam(0.05), epochs=120, resume=result, backend="numpy", progress=False
    ... )
    >>> len(longer.history)
    120

    Four networks at once:

    >>> several = xpdl.train(net, x, y, seed=[0, 1, 2, 3], epochs=2, backend="numpy", progress=False)
    >>> several.theta.shape, several.history[-1]["loss"].shape
    ((4, 33), (4,))
    """
    epochs, every = checks.integer("epochs", epochs, least=0), checks.integer("every", every, least=1)
    resume, optimizer = _to_resume(resume, checkpoint, theta), _optimizer(optimizer)
    chosen, dtype, ranks = choose_backend(backend), checks.float_dtype("dtype", dtype), communicator or Serial()
    networks = _networks(net, x, optimizer, seed, theta, sample_weight, resume)
    config = RunConfig(net, chosen, dtype, _seeds(seed), ranks, bool(shuffle), networks)
    with chosen.activate(), locked(checkpoint if config.is_rank_0 else None):
        source = _source(config, x, y, inputs.class_weights(net, y, class_weight, sample_weight), batch_size)
        held = None if validation is None else _validation(config, validation)
        called = Callbacks(_callables(callbacks) if config.is_rank_0 else ())
        called.begin(from_file=not isinstance(resume, Result | None))
        start = _start(config, optimizer, theta, source)
        checkpointer = cache(partial(_checkpointer, config, source, held, optimizer, start.carry, called, resume))
        start = _where_it_ended(config, resume, start, checkpointer, optimizer)
        if ranks.size > 1:
            _check_agreement(config, checkpointer().configuration, optimizer, start, held, epochs)
        loop = TrainingLoop(
            config,
            source,
            DistributedSteps(config, optimizer, source) if ranks.size > 1 else Steps(config, optimizer),
            evaluate=_evaluator(config, held),
            callbacks=called,
            monitor=_monitor(config, source, check_gradients, check_seconds),
            ended=not isinstance(resume, Result | None) and called.ended,
            rule=rule_of(optimizer),
        )
        if checkpoint is not None:
            kept = None if overwrite or resume == checkpoint else start
            loop = _with_checkpoints(loop, checkpointer(), checkpoint, every, epochs, kept)
        return _told(loop.run(start, epochs, progress and config.is_rank_0))


GO_ON = "auto"
"""The value of ``resume`` that stands for the checkpoint, if there is one."""


def _to_resume(resume: Any, checkpoint: Any, theta: Any) -> Any:
    """Return what to resume: for "auto" the checkpoint, or None if there is none yet."""
    if theta is not None and resume is not None:
        raise ValueError("theta and resume cannot both be given: a run that is resumed has a theta already")
    if not isinstance(resume, str) or resume != GO_ON:
        return resume
    if checkpoint is None:
        raise ValueError("resume='auto' needs a checkpoint, got None")
    path = Path(checkpoint)
    return checkpoint if path.exists() and path.stat().st_size else None


def _optimizer(optimizer: Optimizer | None) -> Optimizer:
    """Return the optimizer, Adam for None; ``TypeError`` for anything else."""
    optimizer = adam() if optimizer is None else optimizer
    checks.instance("optimizer", optimizer, Optimizer)
    return optimizer


def _where_it_ended(
    config: RunConfig,
    resume: "str | os.PathLike[str] | Result | None",
    start: TrainState,
    checkpointer: Callable[[], Checkpointer],
    optimizer: Optimizer,
) -> TrainState:
    """Return the state of the run to resume; if there is none, ``start``."""
    if resume is None:
        return start
    if isinstance(resume, Result):
        return resumed(config, resume, start, rule_of(optimizer))
    return checkpointer().read(resume, start)


def _start(config: RunConfig, optimizer: Optimizer, theta: Any, source: Source) -> TrainState:
    """Return the state at the start of a run, at theta or at fresh parameters."""
    net, dtype = config.net, config.dtype
    drawn = [net.initialize(seed, dtype) for seed in config.seeds] if theta is None else []
    given = theta if theta is not None else drawn[0] if config.networks is None else np.stack(drawn)
    entered = inputs.parameters(net, given, config.backend, dtype, several=True)
    if config.networks is not None and entered.ndim == 1:
        entered = config.backend.xp.stack([entered] * config.networks)
    state = optimizer.init(entered)
    if not isinstance(source.lengths, int):
        check_rows(state, len(source.lengths))
    return epoch_start(config, entered, state, [])


def _source(config: RunConfig, x: Any, y: Any, weight: Any, batch_size: int | None) -> Source:
    """Return the samples that count: on disk if x is mapped from files, else on the device."""
    net, backend, dtype = config.net, config.backend, config.dtype
    checks.countable("x", x)
    own = inputs.networks(net, weight, x)
    if on_disk(x):
        if own is not None or isinstance(config.seed, tuple):
            name = "seed" if own is None else "sample_weight"
            raise ValueError(f"{name} must be the same for all networks if x is on disk: they read the same batches")
        data = DiskInputs.checked(net, x, y, weight, dtype)
        return OnDisk(config, batches_of(data.count, batch_size), data)
    x, y, weight = inputs.weighted(net, x, y, weight, backend, dtype)
    host = None if weight is None else backend.to_numpy(weight)
    if own is not None and host is not None:
        counted = inputs.counted(host)
        checks.countable("sample_weight", counted.reshape(-1))
        return OnDevice(config, batches_of(int(counted.sum(axis=1).max()), batch_size), x, y, weight, counted)
    kept = inputs.nonzero_rows(host)
    if kept is not None:
        rows = backend.asarray(kept)
        x, y, weight = (backend.xp.take(values, rows, axis=0) for values in (x, y, weight))
    return OnDevice(config, batches_of(x.shape[0], batch_size), x, y, weight)


def _seeds(seed: Any) -> int | tuple[int, ...]:
    """Return a seed as an int, and several as a tuple."""
    if isinstance(seed, str) or not hasattr(seed, "__len__") or getattr(seed, "shape", None) == ():
        return check_seed(seed)
    if not len(seed):
        raise ValueError("seed must be a number or hold one for each network, got none")
    return tuple(map(check_seed, seed))


def _networks(
    net: Network, x: Any, optimizer: Optimizer, seed: Any, theta: Any, weight: Any, resume: Any
) -> int | None:
    """Return K if the arguments are for K networks; None if they are for a single one."""
    checks.instance("net", net, Network)
    seed = _seeds(seed)
    with np.errstate(all="ignore"):
        rates = rate_networks(optimizer, np.ones(()))
    found = {
        "seed": len(seed) if isinstance(seed, tuple) else None,
        "theta": inputs.shape_of(theta)[0] if len(inputs.shape_of(theta)) == 2 else None,
        "sample_weight": inputs.networks(net, weight, x),
        "optimizer": rates,
    }
    return number_of_networks(found | {"resume": _networks_of(resume)})


def _networks_of(resume: "str | os.PathLike[str] | Result | None") -> int | None:
    """Return for how many networks a run to resume is."""
    if resume is None or isinstance(resume, Result):
        kept = None if resume is None or resume.moment is None else resume.moment.carry.theta
        return None if kept is None or kept.ndim == 1 else kept.shape[0]
    return kept_networks(resume)


def _callables(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    """Return the callbacks; ``TypeError`` unless each is a function or a callable object (a class is not)."""
    entries = callbacks if isinstance(callbacks, Sequence) else [None]
    if any(isinstance(entry, type) or not callable(entry) for entry in entries):
        raise TypeError(f"callbacks must be a list of functions f(metrics, step), got {checks.shorten(callbacks)}")
    return tuple(callbacks)


def _validation(config: RunConfig, validation: Sequence[Any]) -> Samples:
    """Return the validation samples on the device."""
    if not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(f"validation must be (x, y) or (x, y, sample_weight), got {checks.shorten(validation)}")
    x, y, weight = [*validation, None][:3]
    own = inputs.networks(config.net, weight, x)
    if own is not None and own != config.networks:
        text = f"{config.networks or 1} networks, got {own} rows"
        raise ValueError(f"validation sample_weight must have a row for each of {text}")
    return inputs.weighted(config.net, x, y, weight, config.backend, config.dtype, prefix="validation ")


def _evaluator(config: RunConfig, held: Samples | None) -> Callable[[Array], dict[str, Any]]:
    """Return theta -> validation_loss and validation_accuracy; each rank evaluates its share of the samples."""
    if held is None:
        return lambda theta: {}
    own = share(held[0].shape[0], config.communicator)
    x, y, weight = held
    networks = inputs.networks(config.net, weight, x)
    rows = (own, ...) if networks is None else (slice(None), own, ...)
    parts = [part(x[own, :], y[own, :], None if weight is None else weight[rows], config.backend, networks)]
    evaluate = Evaluator(config.net, parts, config.backend, config.dtype, config.communicator.allreduce)
    return lambda theta: {f"validation_{name}": value for name, value in evaluate(theta).items()}


def _told(result: Result) -> Result:
    """Return the result; warn of validation losses that are not finite, because nothing can be chosen by them."""
    wrong = [epoch["epoch"] for epoch in result.history if not np.all(np.isfinite(epoch.get("validation_loss", 0.0)))]
    if wrong:
        warnings.warn(
            f"the validation loss is not finite in epoch {wrong[0]} and {len(wrong) - 1} others", stacklevel=3
        )
    return result


def _monitor(
    config: RunConfig, source: Source, every: int | None, seconds: float
) -> Callable[[int, Array], dict[str, Any]]:
    """Return (epoch, theta) -> the result of a gradient check, if one is due on this rank."""
    if every is None or not config.is_rank_0:
        return lambda epoch, theta: {}
    from xpdl.training.gradient_monitor import GradientMonitor

    if config.networks is not None:
        raise ValueError(f"check_gradients must be None for several networks, got {every}: it checks a single one")
    every, seconds = checks.integer("check_gradients", every, least=1), checks.real("check_seconds", seconds)
    return GradientMonitor(config.net, source.first_samples, config.seeds[0], source.batches, every, seconds)


def _checkpointer(
    config: RunConfig,
    source: Source,
    held: Samples | None,
    optimizer: Optimizer,
    start: Carry,
    called: Callbacks,
    resume: Any,
) -> Checkpointer:
    """Return the writer and reader of checkpoints; it is made only if needed, because its fingerprints take time."""
    batch_size, arrays = source.batches[0], source.arrays()
    run = batch_size, config.shuffle, start.state, config.networks
    same = configuration(config.net, config.dtype, config.seed, arrays, *run)
    origin = {} if isinstance(resume, Result) else {"theta": fingerprint(config.backend.to_numpy(start.theta))}
    validation = [config.backend.to_numpy(values) for values in held or () if values is not None]
    also = compared(optimizer, validation)
    return Checkpointer(same, also, called.callbacks, config.backend, source.batches, origin)


def _with_checkpoints(
    loop: TrainingLoop,
    checkpointer: Checkpointer,
    path: str | os.PathLike[str],
    every: int,
    epochs: int,
    start: TrainState | None,
) -> TrainingLoop:
    """Return the loop with checkpoints; with ``start``, they must not replace a run that does not lead there."""
    signals = (signal.SIGINT, signal.SIGTERM)
    if not loop.config.is_rank_0:
        return replace(loop, every=every, signals=signals)
    if start is not None:
        checkpointer.check_replaces(path, start, epochs)
    return replace(loop, save=partial(checkpointer.write, path), every=every, signals=signals)


def _check_agreement(
    config: RunConfig,
    same: Mapping[str, Any],
    optimizer: Optimizer,
    start: TrainState,
    held: Samples | None,
    epochs: int,
) -> None:
    """Raise ``ValueError`` unless all ranks are about to compute the same run."""
    from xpdl.training.agreement import check_agreement

    host = config.backend.to_numpy
    also = {
        "version": __version__,
        "library": config.backend.name.partition(":")[0],
        "precision": config.backend.precision,
        "theta": fingerprint(host(start.carry.theta)),
        "begun": [len(start.history), start.step],
        "epochs": epochs,
        "validation": [fingerprint(host(values)) for values in held or () if values is not None],
    }
    check_agreement(config.communicator, {**same, **also, **rule_of(optimizer)})
