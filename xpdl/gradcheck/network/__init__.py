"""Check the gradient of a network by moving its pre-activations: one pass serves all weights of a unit.

check         ``check_network``: the verdict on each tensor
assumptions   tests of what is assumed of an activation and a loss
numeric       the numeric derivatives of every pre-activation, by either method
perturbation  how the cost changes if pre-activations are moved
bars          error bars: how wrong rounding can make either gradient
kinks         the limits of the gradient where a unit is at a kink
diagnosis     the cause of a wrong gradient, found by making the same mistake on purpose
mistakes      mistakes in a forward or backward pass
"""

from xpdl.gradcheck.network.check import check_network

__all__ = ["check_network"]
