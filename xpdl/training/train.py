"""Training: what may be asked of it, checked once and put together to a session (session.py)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
import os
import signal
from typing import TYPE_CHECKING, Any

from xpdl import checks
from xpdl.arrays import Array
from xpdl.backends import Backend, backend as choose_backend
from xpdl.data import inputs
from xpdl.data.disk_inputs import stored
from xpdl.data.shards import on_disk
from xpdl.distributed.communicators import Communicator, Serial, share
from xpdl.network import Network
from xpdl.optimizers import Optimizer, adam
from xpdl.randomness import check_seed
from xpdl.training.batches import OnDevice, OnDisk, Source, batches_of
from xpdl.training.callbacks import Callback
from xpdl.training.distributed_step import SharedSteps
from xpdl.training.evaluation import Evaluator, part
from xpdl.training.loop import DivergenceError, Moment, Result, Session, beginning, taken_up
from xpdl.training.run_config import Setting
from xpdl.training.step import Steps
from xpdl.version import __version__

if TYPE_CHECKING:
    from xpdl.files.checkpoint import RunFiles

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
    validation: Sequence[Any] | None = None,
    backend: str | Backend = "auto",
    dtype: str = "float32",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    theta: Any = None,
    check_gradients: int | None = None,
    check_seconds: float = 10.0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    resume: "str | os.PathLike[str] | Result | None" = None,
    communicator: Communicator | None = None,
) -> Result:
    """Minimise the cost of the samples x (n, d), y over theta by mini-batch gradient descent.

    optimizer   default ``adam()``
    batch_size  samples in a step, None for all; the last step of an epoch takes what is left
    shuffle     whether each epoch takes the samples in an order of its own
    sample_weight
                (n,): how many times each sample counts in the cost of its batch, see ``Network.loss``; a sample of
                weight 0 is left out
    validation  (x, y) or (x, y, sample_weight) to evaluate after each epoch
    backend     a name as for ``xpdl.backend``, or a ``Backend``
    dtype       "float32" or "float64"
    seed        of initial weights, order of the samples and dropout: one seed is one run, on every backend
    callbacks   functions f(metrics, step), see callbacks.py
    theta       where to start; default ``net.initialize(seed)``
    check_gradients, check_seconds
                check the gradient of the loss that is trained, dropout and L2 included, before the first epoch and
                after every so many, until that took so many seconds; ``GradientError`` if it is wrong
    progress    a bar on a terminal, a line an epoch elsewhere; False for silence
    checkpoint  a file to which the whole run is written: at once, after every ``every`` epochs, and when it ends
    resume      such a file, from which to go on: bit for bit as if the run had never ended, up to ``epochs`` in all.
                The other arguments are those of that run, but for backend, epochs, validation and callbacks, which may
                be others, and for theta, which is in the file; schedules and rates are not compared.  Of a ``Result``
                it goes on likewise, with whatever samples, batches and rates are given
    communicator
                ``xpdl.distributed.connect()`` on each rank of an MPI job: together they compute the same run, each its
                share of every batch, to rounding.  All are given the same arguments; of the files, the callbacks and
                what is shown rank 0 takes care, and a run can be resumed on any number of ranks

    x and y may be mapped from files (``numpy.memmap``, or a folder that ``xpdl.data.load`` leaves on disk): then they
    are read while they are trained on, and shuffled as sources.py says.

    x may hold uint8 images, which the network scales to [0, 1]; inputs.py says what labels may look like.  Ctrl-C ends
    the run after the step in progress, with what was learned so far, and so does SIGTERM if there is a checkpoint; a
    second one ends it at once.  ``DivergenceError`` if the cost becomes NaN or infinite, with the result up to the last
    good epoch.  ``RunFileError`` if the file to resume is damaged, ``ValueError`` if it is of another run, ``OSError``
    if the disk fails.
    """
    chosen, dtype = choose_backend(backend), checks.float_dtype("dtype", dtype)
    epochs, every = checks.integer("epochs", epochs, least=0), checks.integer("every", every, least=1)
    if theta is not None and resume is not None:
        raise ValueError("theta and resume cannot both be given: a run that is resumed has its theta")
    optimizer = adam() if optimizer is None else optimizer
    checks.instance("optimizer", optimizer, Optimizer)
    setting = Setting(net, chosen, dtype, check_seed(seed), communicator or Serial(), bool(shuffle))
    with chosen.activate():
        source = _source(setting, x, y, sample_weight, batch_size)
        held = None if validation is None else _validation(setting, validation)
        start = _start(setting, optimizer, theta)
        if isinstance(resume, Result):
            start, resume = taken_up(setting, resume, start), None
        called = _callables(callbacks) if setting.leads else ()
        several = setting.communicator.size > 1
        if several or checkpoint is not None or resume is not None:
            files = _files(setting, source, start.run.state, called)
            start = start if resume is None else files.read(resume, start)
        if several:
            _agree(setting, files.configuration, optimizer, start, held, epochs)
        session = Session(
            setting,
            source,
            steps=SharedSteps(setting, optimizer, source) if several else Steps(setting, optimizer),
            evaluate=(lambda theta: {}) if held is None else _evaluator(setting, held),
            callbacks=called,
        )
        if check_gradients is not None and setting.leads:
            session = _watched(session, checks.integer("check_gradients", check_gradients, least=1), check_seconds)
        if checkpoint is not None:
            save = partial(files.write, checkpoint) if setting.leads else session.save
            session = replace(session, save=save, every=every, signals=(signal.SIGINT, signal.SIGTERM))
        return session.run(start, epochs, progress and setting.leads)


def _start(setting: Setting, optimizer: Optimizer, theta: Any) -> Moment:
    """The beginning of a run, at theta or at fresh parameters."""
    net, backend, dtype, seed, *_ = setting
    entered = inputs.parameters(net, net.initialize(seed, dtype) if theta is None else theta, backend, dtype)
    return beginning(setting, entered, optimizer.init(entered))


def _source(setting: Setting, x: Any, y: Any, weight: Any, batch_size: int | None) -> Source:
    """The samples that count, on the device or, if x is mapped from files, on disk."""
    net, backend, dtype, *_ = setting
    if on_disk(x):
        data = stored(net, x, y, weight, dtype)
        return OnDisk(setting, batches_of(data.count, batch_size), data)
    x, y, weight = inputs.weighted(net, x, y, weight, backend, dtype)
    kept = inputs.counting(None if weight is None else backend.to_numpy(weight))
    if kept is not None:
        rows = backend.asarray(kept)
        x, y, weight = (backend.xp.take(values, rows, axis=0) for values in (x, y, weight))
    return OnDevice(setting, batches_of(x.shape[0], batch_size), x, y, weight)


def _callables(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks, which must be functions or objects that can be called; a class is neither."""
    entries = callbacks if isinstance(callbacks, Sequence) else [None]
    if any(isinstance(entry, type) or not callable(entry) for entry in entries):
        raise TypeError(f"callbacks must be a list of functions f(metrics, step), got {checks.shorten(callbacks)}")
    return tuple(callbacks)


def _validation(setting: Setting, validation: Sequence[Any]) -> Samples:
    """The validation samples on the device."""
    if not isinstance(validation, Sequence) or len(validation) not in (2, 3):
        raise TypeError(f"validation must be (x, y) or (x, y, sample_weight), got {checks.shorten(validation)}")
    x, y, weight = [*validation, None][:3]
    net, backend, dtype, *_ = setting
    return inputs.weighted(net, x, y, weight, backend, dtype, prefix="validation ")


def _evaluator(setting: Setting, held: Samples) -> Callable[[Array], dict[str, float]]:
    """theta -> validation_loss and validation_accuracy; each rank looks at its share of the samples."""
    net, backend, dtype, _, communicator, _ = setting
    own = share(held[0].shape[0], communicator)
    x, y, weight = (values if values is None else values[own, ...] for values in held)
    evaluate = Evaluator(net, [part(x, y, weight, backend)], backend, dtype, communicator.allreduce)
    return lambda theta: {f"validation_{name}": value for name, value in evaluate(theta).items()}


def _watched(session: Session, every: int, seconds: float) -> Session:
    """The same session with gradient checks."""
    from xpdl.training.gradient_monitor import Watch

    net, _, _, seed, *_ = session.setting
    watch = Watch(net, session.source.head, seed, session.source.batches, every, checks.real("check_seconds", seconds))
    return replace(session, watch=watch)


def _files(setting: Setting, source: Source, state: Any, callbacks: Sequence[Callback]) -> "RunFiles":
    """The files of this run."""
    from xpdl.files.checkpoint import RunFiles, configuration

    net, backend, dtype, seed, *_ = setting
    same = configuration(net, dtype, seed, source.arrays(), source.batches[0], setting.shuffle, state)
    return RunFiles(same, callbacks, backend)


def _agree(
    setting: Setting,
    same: Mapping[str, Any],
    optimizer: Optimizer,
    start: Moment,
    held: Samples | None,
    epochs: int,
) -> None:
    """``ValueError`` unless all ranks are about to compute the same run."""
    from xpdl.files.checkpoint import fingerprint
    from xpdl.training.agreement import agree, constants

    host = setting.backend.to_numpy
    also = {
        "version": __version__,
        "library": setting.backend.name.partition(":")[0],
        "precision": setting.backend.precision,
        "theta": fingerprint(host(start.run.theta)),
        "begun": [len(start.history), start.step],
        "epochs": epochs,
        "validation": [fingerprint(host(values)) for values in held or () if values is not None],
    }
    agree(setting.communicator, {**same, **also, **constants(optimizer.fused, "update")})
