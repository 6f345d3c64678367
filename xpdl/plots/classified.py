"""``Classified``: what the pictures of a classifier need.  Labelled samples and their predictions, on the host."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpdl import checks
from xpdl.backends import Backend, backend
from xpdl.data import inputs
from xpdl.network import Network
from xpdl.training.evaluation import ROWS


class Classified(NamedTuple):
    """Labelled samples, their predicted labels and their costs."""

    theta: np.ndarray  # (P,) float64
    x: np.ndarray  # (n, d) float64, or uint8
    labels: np.ndarray  # (n,)
    predicted: np.ndarray  # (n,)
    cost: np.ndarray  # (n,) of each sample, without the L2 term

    @property
    def title(self) -> str:
        """The accuracy and the number of samples, as text."""
        right = np.mean(self.labels == self.predicted)
        return f"accuracy {100 * right:.2f} % of {len(self.labels):,} samples"


def classify(net: Network, theta: Any, x: Any, y: Any) -> Classified:
    """Check theta (P,), x (n, d) and y as ``train`` does, and predict x; ``ValueError`` if net is not a classifier."""
    (_, decide), here = _decision(net), backend("numpy")
    theta = parameters(net, theta, here)
    x, targets = inputs.pair(net, x, y, here, "float64")
    z = logits(net, theta, x)
    own = z[:, -net.sizes[-1] :]
    labels = decide(targets).reshape(-1)
    return Classified(theta, x, labels, np.argmax(z, axis=1), net.head.value(own, targets))


def classes(net: Network) -> int:
    """Return the number of classes; ``ValueError`` for a network of values, or of labels that can be true together."""
    return _decision(net)[0]


def _decision(net: Network) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """Return the number of classes, and the function that turns targets into labels."""
    checks.instance("net", net, Network)
    outputs, head = net.sizes[-1], net.head
    k = head.classes(outputs)
    if k < 2 or head.decide is None:
        got = f"output {checks.shorten(net.output)} of {outputs} unit{'s' * (outputs > 1)}"
        raise ValueError(f"net must tell classes apart, as with 'softmax' or one 'sigmoid', got {got}")
    return k, head.decide


def parameters(net: Network, theta: Any, here: Backend) -> np.ndarray:
    """Return theta (P,) on the host, in float64."""
    found: np.ndarray = inputs.parameters(net, theta, here, "float64")
    return found


def logits(net: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return logits (n, k), of which the largest decides.  One output z gives (0, z): sigmoid(z) = softmax(0, z)[1]."""
    parts = [net.forward(theta, x[start : start + ROWS])[-1].z for start in range(0, len(x), ROWS)]
    z = np.concatenate(parts)
    return z if z.shape[1] > 1 else np.concatenate([np.zeros_like(z), z], axis=1)
