"""The attributes of a fitted estimator, with the names that ``MLPClassifier`` uses; most are computed from a few."""

from xpdl.arrays import Array
from xpdl.network import Network


class Attributes:
    """The attributes of a fitted estimator.

    Attributes
    ----------
    network_ : Network
        The network.
    theta_ : array
        Its parameters (P,), in the library and on the device of X.
    history_ : list of dict
        The metrics of each epoch, as in ``xpdl.Result``.  Early stopping adds "validation_score": the accuracy, or R2
        of all outputs together.
    n_iter_ : int
        The epochs of the last fit.
    t_ : int
        The number of samples seen in all epochs.
    """

    network_: Network
    theta_: Array
    history_: list[dict[str, float]]
    n_iter_: int
    t_: int

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, views of ``theta_`` where the library has views.

        Returns
        -------
        list of array
            Arrays (n_in, n_out).

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0])
        >>> [w.shape for w in model.coefs_]
        [(1, 4), (4, 1)]
        """
        return [w for w, _ in self.network_.unpack(self.theta_)]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, views of ``theta_`` where the library has views.

        Returns
        -------
        list of array
            Arrays (n_out,).

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0])
        >>> [b.shape for b in model.intercepts_]
        [(4,), (1,)]
        """
        return [b for _, b in self.network_.unpack(self.theta_)]

    @property
    def n_layers_(self) -> int:
        """The number of layers, input and output included.

        Returns
        -------
        int
            At least 2.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0]).n_layers_
        3
        """
        return len(self.network_.sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of outputs.

        Returns
        -------
        int
            At least 1.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0]).n_outputs_
        1
        """
        return self.network_.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """The activation of the last layer.

        Returns
        -------
        str
            "softmax", "logistic" or "identity"; for a loss of your own its ``activation``.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0]).out_activation_
        'identity'
        """
        return self.network_.head.activation

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of each epoch: the mean of its batches, with the L2 term.

        Returns
        -------
        list of float
            A value for each epoch in ``history_``.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> x, y = [[0.0], [1.0]], [0.0, 2.0]
        >>> model = NetworkRegressor(4, random_state=0).partial_fit(x, y).partial_fit(x, y)
        >>> before, after = model.loss_curve_
        >>> after < before
        True
        """
        return [metrics["loss"] for metrics in self.history_]

    @property
    def loss_(self) -> float:
        """The loss of the last epoch.

        Returns
        -------
        float
            The last value of ``loss_curve_``.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0])
        >>> model.loss_ == model.loss_curve_[-1]
        True
        """
        return self.loss_curve_[-1]

    @property
    def best_loss_(self) -> float | None:
        """The lowest loss of all epochs.

        Returns
        -------
        float or None
            None under early stopping.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkRegressor
        >>> model = NetworkRegressor(4).partial_fit([[0.0], [1.0]], [0.0, 2.0])
        >>> model.best_loss_ == min(model.loss_curve_)
        True
        """
        return min(self.loss_curve_) if self.validation_scores_ is None else None

    @property
    def validation_scores_(self) -> list[float] | None:
        """The score of each epoch under early stopping.

        Returns
        -------
        list of float or None
            None without early stopping.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkClassifier
        >>> model = NetworkClassifier((), learning_rate_init=1.0, early_stopping=True, validation_fraction=0.5, random_state=0)
        >>> model = model.fit([[0.0], [0.0], [1.0], [1.0]], ["no", "no", "yes", "yes"])
        >>> len(model.validation_scores_) == model.n_iter_
        True
        """
        return [metrics["validation_score"] for metrics in self.history_ if "validation_score" in metrics] or None

    @property
    def best_validation_score_(self) -> float | None:
        """The highest score under early stopping.

        Returns
        -------
        float or None
            None without early stopping.

        Examples
        --------
        >>> from xpdl.sklearn import NetworkClassifier
        >>> model = NetworkClassifier((), learning_rate_init=1.0, early_stopping=True, validation_fraction=0.5, random_state=0)
        >>> model = model.fit([[0.0], [0.0], [1.0], [1.0]], ["no", "no", "yes", "yes"])
        >>> model.best_validation_score_
        1.0
        """
        return None if self.validation_scores_ is None else max(self.validation_scores_)
