"""``xpdl check --demo``: a bug that training does not show, and the check that finds it.

The story is that of part 8 of the series that xpdl grew from.  Its softmax layer summed db over the samples but did not
divide by their number, and the network learned all the same.  Source: Ganesh 2018, Deep Learning from first principles
in Python, R and Octave, part 8.
"""

from collections.abc import Callable

from xpdl.arrays import Array
from xpdl.data import Dataset, spiral
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.report import FAIL, PASS
from xpdl.network import Network
from xpdl.optimizers import sgd
from xpdl.progress import say

STEPS = 2000


def run_demo() -> int:
    """Train with the bug, find it and fix it; return 0 if both checks give the right verdict."""
    points = spiral()
    net = Network([2, 3, 3])
    theta = net.initialize(0, "float64")
    right, wrong = _gradients(net, points)
    say(f"Three spirals of points, {len(points.x)} in all, and a network of sizes {list(net.sizes)}.")
    say("Its backward pass has a bug: the db of the softmax layer is the sum over the samples, not the mean.\n")
    costs = (float(net.loss(at, points.x, points.y)) for at in (theta, _descend(wrong, theta)))
    say("It learns all the same: cost {:.3f} before and {:.3f} after {} steps.\n".format(*costs, STEPS))
    say("The gradient check:\n")
    found = check_network(net, theta, points.x, points.y, wrong)
    found.print()
    say("\nWith that db divided by n:\n")
    fixed = check_network(net, theta, points.x, points.y, right)
    fixed.print()
    return 0 if (found.verdict, fixed.verdict) == (FAIL, PASS) else 1


def _gradients(net: Network, points: Dataset) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The right gradient, and the one with the bug."""

    def right(theta: Array) -> Array:
        return net.loss_and_grad(theta, points.x, points.y)[1]

    def wrong(theta: Array) -> Array:
        grad = right(theta)
        grad[net.layout.slices[-1]] *= len(points.x)
        return grad

    return right, wrong


def _descend(gradient: Callable[[Array], Array], theta: Array) -> Array:
    """Plain gradient descent."""
    optimizer = sgd(0.01)
    theta, state = theta.copy(), optimizer.init(theta)
    for _ in range(STEPS):
        theta, state = optimizer.update(theta, gradient(theta), state)
    return theta
