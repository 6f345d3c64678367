"""The gradient of a network: its pre-activations are moved, so that one pass serves all weights of a unit.

check         ``check_network``: the verdict on each tensor
assumptions   what is assumed of an activation and a loss, tried out
numeric       the numeric derivatives of every pre-activation, by either method
perturbation  how the cost changes if pre-activations are moved
bars          how wrong rounding can make either gradient
kinks         what the gradient may be where a unit is at a kink
diagnosis     the cause of a wrong gradient, found by making the same mistake
mistakes      mistakes in a forward or backward pass
"""

from xpdl.gradcheck.network.check import check_network

__all__ = ["check_network"]
