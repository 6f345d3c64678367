"""What is known after ``fit``, by the names ``MLPClassifier`` has for it: all of it follows from three attributes."""

from xpdl.arrays import Array
from xpdl.network import Network


class Attributes:
    """Attributes of a fitted estimator.

    network_   the ``xpdl.Network``
    theta_     its parameters (P,), in the library and on the device of X
    history_   a dict for each epoch, as ``xpdl.train`` gives it, with "validation_score" under early stopping: the
               accuracy, or R2 (of several outputs together)
    n_iter_    the epochs of the last fit
    t_         the samples of all epochs
    """

    network_: Network
    theta_: Array
    history_: list[dict[str, float]]
    n_iter_: int
    t_: int

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer (n_in, n_out), views of ``theta_`` where the library has them."""
        return [w for w, _ in self.network_.unpack(self.theta_)]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer (n_out,), likewise."""
        return [b for _, b in self.network_.unpack(self.theta_)]

    @property
    def n_layers_(self) -> int:
        """The number of layers, input and output included."""
        return len(self.network_.sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of outputs."""
        return self.network_.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """ "softmax", "logistic" or "identity"; for a loss of your own its ``activation``."""
        return self.network_.head.activation

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of each epoch: the mean of its batches, with the L2 term."""
        return [metrics["loss"] for metrics in self.history_]

    @property
    def loss_(self) -> float:
        """The last of them."""
        return self.loss_curve_[-1]

    @property
    def best_loss_(self) -> float | None:
        """The least of them; None under early stopping."""
        return min(self.loss_curve_) if self.validation_scores_ is None else None

    @property
    def validation_scores_(self) -> list[float] | None:
        """The score of each epoch under early stopping, else None."""
        return [metrics["validation_score"] for metrics in self.history_ if "validation_score" in metrics] or None

    @property
    def best_validation_score_(self) -> float | None:
        """The highest of them."""
        return None if self.validation_scores_ is None else max(self.validation_scores_)
