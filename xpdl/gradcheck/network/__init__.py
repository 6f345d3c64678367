"""The gradient of a network: its pre-activations are moved, so that one pass serves all weights of a unit.

check         the entrance, and the verdict of each tensor
perturbation  the numeric derivative by every pre-activation
bars          how wrong rounding can make either gradient
kinks         what the gradient may be where a unit is at a kink
diagnosis     the cause of a wrong gradient, by making the same mistake
mistakes      those in a forward or backward pass
"""

from xpdl.gradcheck.network.check import check_network

__all__ = ["check_network"]
