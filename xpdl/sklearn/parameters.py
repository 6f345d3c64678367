"""The parameters of the estimators: all of ``MLPClassifier``, with the same names and defaults, and some more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.utils._param_validation import Interval, StrOptions

from xpdl.activations import ACTIVATIONS, Activation
from xpdl.backends import Backend
from xpdl.losses import LOSSES
from xpdl.optimizers import Optimizer
from xpdl.scaling import Scaling
from xpdl.sklearn.solvers import SOLVERS
from xpdl.training.callbacks import Callback

HIDDEN: dict[Any, str] = {name: name for name in ACTIVATIONS} | {"logistic": "sigmoid"}
"""The activations of an estimator, and their names in ``xpdl.Network``."""

REGRESSION: dict[Any, str] = {name: name for name in LOSSES if LOSSES[name].decide is None} | {
    "squared_error": "linear",
    "absolute_error": "absolute",
}
"""The losses of a regressor, and their names in ``xpdl.Network``."""


WORDS = {
    "hidden": "activation",
    "l2": "alpha",
    "output": "loss",
    "x": "X",
    "validation x": "X_val",
    "validation y": "y_val",
    "validation sample_weight": "sample_weight_val",
    "theta": "warm_start and partial_fit need the hidden_layer_sizes and features of the last fit: theta",
    "the result to resume": "partial_fit needs the solver and the hidden_layer_sizes of the last fit: its result",
}
"""What messages of ``Network`` and ``train`` begin with, and the words for it here."""


@contextmanager
def in_own_words() -> Iterator[None]:
    """Within the block, let errors speak of the parameters of an estimator."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        known = sorted((word for word in WORDS if text.startswith(f"{word} ")), key=len)
        if not known:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(WORDS[known[-1]] + text.removeprefix(known[-1])) from error


@dataclass(eq=False, repr=False)
class Parameters(BaseEstimator):  # type: ignore[misc]
    """The parameters that both estimators have; ``get_params``, ``set_params`` and ``clone`` use these fields."""

    hidden_layer_sizes: int | Sequence[int] = (100,)
    activation: str | Activation | Sequence[str | Activation] = "relu"
    _: KW_ONLY
    solver: str | Optimizer = "adam"
    alpha: float = 1e-4
    batch_size: Any = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    dropout: float | Sequence[float] = 0.0
    init: str | float = "xavier"
    callbacks: Sequence[Callback] = ()
    backend: str | Backend | None = None
    inputs: Scaling | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = MLPClassifier._parameter_constraints | {
        "activation": [StrOptions(set(HIDDEN)), Activation, list, tuple],
        "solver": [StrOptions(set(SOLVERS)), Optimizer],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "callbacks": ["array-like"],
        "inputs": [Scaling, None],
    }
