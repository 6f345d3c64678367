"""Callbacks: functions that are called after each epoch.

A callback is any function f(metrics, step).  ``metrics`` is a dict of numbers, and ``step`` is the number of steps that
are done, so functions like ``mlflow.log_metrics`` are callbacks.  ``metrics.theta`` has the parameters at that point,
as a NumPy array.  A callback ends the training by raising ``StopTraining``.  If a callback has an attribute ``theta``
that is not None, like the two here, this attribute becomes ``result.theta``.

A callback with a method ``reset`` begins anew in each run: the run calls it first of all.  What a callback without this
method has kept in an earlier run does not become the result.

If a callback has an attribute ``resume_state``, a dict of NumPy arrays and JSON values, checkpoints save it.  When the
run is resumed from a checkpoint, the attribute is set to the saved dict, or to {} if the checkpoint has no such
callback.  If the attribute ``ended`` of the callback is true then, the run is over.
"""

from collections.abc import Callable, Sequence
import math
from typing import Any, Protocol

import numpy as np

from xpdl import checks


class StopTraining(Exception):
    """A callback raises this to end the training; the result is that of the epochs so far.

    Examples
    --------
    >>> import xpdl
    >>> def stop_when_good(metrics, step):
    ...     if metrics["loss"] < 0.1:
    ...         raise xpdl.StopTraining("the loss is below 0.1")
    >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
    >>> options = {"optimizer": xpdl.sgd(1.0), "backend": "numpy", "progress": False}
    >>> result = xpdl.train(net, [[0.0]], [[1.0]], epochs=9, callbacks=[stop_when_good], **options)
    >>> [metrics["loss"] for metrics in result.history]
    [0.5, 0.0]
    """


class Metrics(dict[str, Any]):
    """The metrics of an epoch by name, and the parameters.

    Parameters
    ----------
    numbers : dict
        The metrics: "epoch", "loss", "seconds", "validation_loss" and so on.  Losses and accuracies of K networks are
        arrays (K,).
    theta : callable
        theta() -> the parameters (P,) or (K, P) after this epoch, as a NumPy array.

    Examples
    --------
    >>> import numpy as np
    >>> from xpdl.callbacks import Metrics
    >>> metrics = Metrics({"epoch": 1, "loss": 0.5}, lambda: np.zeros(3))
    >>> metrics["loss"], metrics.theta.shape
    (0.5, (3,))
    """

    def __init__(self, numbers: dict[str, Any], theta: Callable[[], np.ndarray]) -> None:
        super().__init__(numbers)
        self._theta = theta

    @property
    def theta(self) -> np.ndarray:
        """The parameters after this epoch, copied to the host at each access.

        Returns
        -------
        numpy.ndarray
            Parameters (P,) or (K, P).

        Examples
        --------
        >>> import numpy as np
        >>> from xpdl.callbacks import Metrics
        >>> Metrics({"loss": 0.5}, lambda: np.zeros(3)).theta
        array([0., 0., 0.])
        """
        return self._theta()


class Callback(Protocol):
    """A function f(metrics, step) that is called after each epoch.

    Parameters
    ----------
    metrics : Metrics
        The metrics of the epoch.
    step : int
        How many steps are done.

    Examples
    --------
    >>> import xpdl
    >>> def show(metrics, step):
    ...     print(int(metrics["epoch"]), step, metrics["loss"])
    >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
    >>> options = {"optimizer": xpdl.sgd(1.0), "backend": "numpy", "progress": False}
    >>> result = xpdl.train(net, [[0.0], [0.0]], [[1.0], [1.0]], epochs=2, batch_size=1, callbacks=[show], **options)
    1 2 0.25
    2 4 0.0
    """

    def __call__(self, metrics: Any, step: int, /) -> Any: ...


class Callbacks:
    """The callbacks of one run, which act as one."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self.earlier: list[np.ndarray | None] = [None] * len(self.callbacks)

    def begin(self, *, from_file: bool) -> None:
        """Let all begin anew, and note what those have kept that cannot.

        ``from_file``: those with a ``resume_state`` are about to get the one in a checkpoint.
        """
        for number, callback in enumerate(self.callbacks):
            if hasattr(callback, "reset"):
                callback.reset()
            elif not (from_file and hasattr(callback, "resume_state")):
                kept = getattr(callback, "theta", None)
                self.earlier[number] = None if kept is None else np.array(kept)

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Call all of them; raise ``StopTraining`` after the last one if one has stopped the training."""
        reasons = []
        for callback in self.callbacks:
            try:
                callback(metrics, step)
            except StopTraining as reason:
                reasons.append(str(reason))
        if reasons:
            raise StopTraining("; ".join(reasons))

    @property
    def theta(self) -> np.ndarray | None:
        """The parameters that the first one has kept in this run; None if none has kept any."""
        kept = [getattr(callback, "theta", None) for callback in self.callbacks]
        pairs = [(new, old) for new, old in zip(kept, self.earlier, strict=True) if new is not None]
        return next((new for new, old in pairs if old is None or not np.array_equal(new, old)), None)

    @property
    def ended(self) -> bool:
        """Whether one that has read its state from a checkpoint had already ended that run."""
        remembering = (callback for callback in self.callbacks if hasattr(callback, "resume_state"))
        return any(getattr(callback, "ended", False) for callback in remembering)


SIGNS = {"min": 1.0, "max": -1.0}
"""Which way a metric is better: its sign in a cost that is to be low."""

SUFFIXES = {"loss": "min", "accuracy": "max"}
"""The ends of the names of metrics whose direction is known."""


class KeepBest:
    """Keep the parameters of the epoch in which a metric was best; of K networks, for each those of its own best epoch.

    Parameters
    ----------
    monitor : str, optional
        The name of the metric; default "validation_loss", or "loss" if there are no validation samples.
    mode : str, default "auto"
        "min" if low values of the metric are good, "max" if high ones are; "auto" knows losses and accuracies by the
        end of their names.
    min_delta : float, default 0.0
        An epoch is better only if its metric is better by more than this.
    start_epoch : int, default 0
        The first epoch that counts; epochs are numbered from 1.

    Attributes
    ----------
    theta : numpy.ndarray or None
        The parameters (P,) or (K, P) after the best epoch; they become ``result.theta``.
    metrics : dict
        The metrics of the best epoch; for K networks arrays (K,).

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; after the first epoch, if there is no such metric, or if its direction is
        not known.

    Examples
    --------
    >>> import xpdl
    >>> best = xpdl.KeepBest("loss")
    >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
    >>> options = {"optimizer": xpdl.sgd(2.5), "backend": "numpy", "progress": False}  # too large: the loss rises
    >>> result = xpdl.train(net, [[0.0]], [[1.0]], epochs=3, callbacks=[best], **options)
    >>> [metrics["loss"] for metrics in result.history], best.metrics["epoch"]
    ([0.5, 1.125, 2.53125], 1)
    >>> bool((result.theta == best.theta).all())
    True
    """

    remembered: tuple[str, ...] = ("theta", "metrics", "_best")
    """The attributes that a checkpoint keeps."""

    def __init__(
        self, monitor: str | None = None, *, mode: str = "auto", min_delta: float = 0.0, start_epoch: int = 0
    ) -> None:
        self.monitor, self.mode = monitor, checks.choice("mode", mode, ["auto", *SIGNS])
        self.min_delta = checks.real("min_delta", min_delta)
        self.start_epoch = checks.integer("start_epoch", start_epoch, least=0)
        self.reset()

    @property
    def resume_state(self) -> dict[str, Any]:
        """The state that a checkpoint saves of this callback.

        Returns
        -------
        dict
            The attributes named in ``remembered``.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> best, resumed = xpdl.KeepBest("loss"), xpdl.KeepBest("loss")
        >>> best(xpdl.callbacks.Metrics({"epoch": 1, "loss": 0.5}, lambda: np.zeros(3)), step=10)
        >>> resumed.resume_state = best.resume_state
        >>> resumed.metrics, resumed.theta
        ({'epoch': 1, 'loss': 0.5}, array([0., 0., 0.]))
        """
        lists = {name: value.tolist() for name, value in self.metrics.items() if isinstance(value, np.ndarray)}
        return {name: getattr(self, name) for name in self.remembered} | {"metrics": self.metrics | lists}

    @resume_state.setter
    def resume_state(self, state: dict[str, Any]) -> None:
        """Continue from a state, or begin anew if it is empty."""
        self.reset()
        for name in state.keys() & set(self.remembered):
            setattr(self, name, state[name])
        lists = {name: value for name, value in self.metrics.items() if isinstance(value, list)}
        self.metrics.update({name: np.array(value) for name, value in lists.items()})

    def reset(self) -> None:
        """Forget the best epoch; a new run begins with this.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> best = xpdl.KeepBest("loss")
        >>> best(xpdl.callbacks.Metrics({"epoch": 1, "loss": 0.5}, lambda: np.zeros(3)), step=10)
        >>> best.reset()
        >>> best.theta is None, best.metrics
        (True, {})
        """
        self.theta: np.ndarray | None = None
        self.metrics: dict[str, Any] = {}
        self._best: Any = math.inf

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Keep the parameters if this epoch is the best so far.

        Parameters
        ----------
        metrics : Metrics
            The metrics of the epoch.
        step : int
            How many steps are done.
        """
        self.improved(metrics)

    def improved(self, metrics: Metrics) -> Any:
        """Keep the parameters if this epoch is the best so far, and return whether it is.

        Parameters
        ----------
        metrics : Metrics
            The metrics of the epoch.

        Returns
        -------
        bool or array (K,)
            Whether this epoch is the best so far, for each of K networks.

        Raises
        ------
        ValueError
            If there is no such metric, or if its direction is not known.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> best = xpdl.KeepBest("loss")
        >>> losses = enumerate([0.5, 0.7, 0.4], start=1)
        >>> epochs = [xpdl.callbacks.Metrics({"epoch": e, "loss": loss}, lambda: np.zeros(3)) for e, loss in losses]
        >>> [best.improved(metrics) for metrics in epochs]
        [True, False, True]
        """
        key = self.monitor or ("validation_loss" if "validation_loss" in metrics else "loss")
        cost = self._sign(key, metrics) * metrics[key]
        better = (metrics["epoch"] >= self.start_epoch) & (cost < self._best - self.min_delta) & self._waits()
        if np.any(better):
            self.metrics = {name: _chosen(better, new, self.metrics.get(name)) for name, new in metrics.items()}
            self._best = _chosen(better, cost, self._best)
            self.theta = _chosen(better, metrics.theta, self.theta)
        return better

    def _waits(self) -> Any:
        """Return whether a better epoch is waited for."""
        return True

    def _sign(self, key: str, metrics: Metrics) -> float:
        """Return the sign of the metric in a cost; ``ValueError`` if there is no such metric or no known direction."""
        say = "mode='min' or mode='max' says which way a metric of your own is better"
        try:
            checks.choice("monitor", key, metrics)
        except ValueError as error:
            raise ValueError(f"{error}; {say}") from None
        known = (mode for suffix, mode in SUFFIXES.items() if key.endswith(suffix))
        mode = self.mode if self.mode in SIGNS else next(known, None)
        if mode is None:
            raise ValueError(f"monitor must be a loss or an accuracy for mode='auto', got {key!r}; {say}")
        return SIGNS[mode]


def _chosen(better: Any, new: Any, old: Any) -> Any:
    """Return what is new; of K networks only for those that are better, as far as there is something old."""
    if np.ndim(better) == 0 or old is None:
        return new
    return np.where(better.reshape(-1, *(1,) * (np.ndim(new) - 1)), new, old)


class EarlyStopping(KeepBest):
    """Stop when a metric has not improved for some epochs, and keep the best parameters.

    K networks stop one by one: what is kept of a network whose patience is used up stays, and the run ends with the
    last of them.  Source: Prechelt 1998.

    Parameters
    ----------
    patience : int, default 5
        Stop after this many epochs in a row without a new best one.
    monitor : str, optional
        The name of the metric, see ``KeepBest``.
    mode : str, default "auto"
        Which way the metric is better, see ``KeepBest``.
    min_delta : float, default 0.0
        An epoch is better only if its metric is better by more than this.
    start_epoch : int, default 0
        The first epoch that counts; the wait begins there.

    Attributes
    ----------
    theta, metrics
        The parameters and the metrics of the best epoch, see ``KeepBest``.

    Raises
    ------
    ValueError, TypeError
        If patience is not a whole number of at least 1, and as for ``KeepBest``.

    Examples
    --------
    >>> import xpdl
    >>> stopping = xpdl.EarlyStopping(patience=2, monitor="loss")
    >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
    >>> options = {"optimizer": xpdl.sgd(2.5), "backend": "numpy", "progress": False}  # too large: the loss rises
    >>> result = xpdl.train(net, [[0.0]], [[1.0]], epochs=100, callbacks=[stopping], **options)
    >>> len(result.history), stopping.metrics["epoch"]
    (3, 1)
    """

    remembered = (*KeepBest.remembered, "_waited")

    def __init__(
        self,
        patience: int = 5,
        monitor: str | None = None,
        *,
        mode: str = "auto",
        min_delta: float = 0.0,
        start_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta, start_epoch=start_epoch)
        self.patience = checks.integer("patience", patience, least=1)

    def reset(self) -> None:
        """Forget the best epoch and the number of epochs since; a new run begins with this.

        Examples
        --------
        >>> import numpy as np
        >>> import xpdl
        >>> stopping = xpdl.EarlyStopping(patience=2, monitor="loss")
        >>> stopping(xpdl.callbacks.Metrics({"epoch": 1, "loss": 0.5}, lambda: np.zeros(3)), step=10)
        >>> stopping.reset()
        >>> stopping.theta is None, stopping.ended
        (True, False)
        """
        super().reset()
        self._waited: Any = 0

    @property
    def ended(self) -> bool:
        """Whether the patience is used up, with all networks.

        Returns
        -------
        bool

        Examples
        --------
        >>> import xpdl
        >>> stopping = xpdl.EarlyStopping(patience=2, monitor="loss")
        >>> net = xpdl.Network([1, 1], output="linear", init=0.0)
        >>> options = {"optimizer": xpdl.sgd(2.5), "backend": "numpy", "progress": False}  # too large: the loss rises
        >>> result = xpdl.train(net, [[0.0]], [[1.0]], epochs=100, callbacks=[stopping], **options)
        >>> stopping.ended
        True
        """
        return not np.any(self._waits())

    def _waits(self) -> Any:
        return self._waited < self.patience

    def __call__(self, metrics: Metrics, step: int) -> None:
        """Keep the parameters if this epoch is the best so far; stop when the patience is used up.

        Parameters
        ----------
        metrics : Metrics
            The metrics of the epoch.
        step : int
            How many steps are done.

        Raises
        ------
        StopTraining
            When the patience is used up.
        """
        waiting = metrics["epoch"] >= self.start_epoch
        better = self.improved(metrics)
        self._waited = _chosen(better, 0, self._waited + waiting) if np.any(better) else self._waited + waiting
        if self.ended:
            raise StopTraining(f"no better epoch in the last {self.patience}")
