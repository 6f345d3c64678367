"""What is probably wrong with the gradient of a black box.

evidence   a hypothesis about a wrong gradient, and whether the derivatives bear it out
orders     entries in other places: transposed, flipped, shifted, blocks swapped
wholes     one mistake in the whole tensor: a factor, a term, a symmetry, another tensor's gradient
places     words for a set of entries: rows, columns, a block of equal blocks, a triangle
parts      a mistake in such a place, and right entries elsewhere
blocks     the same in a large tensor, by further directions
lines      a number of its own in each row or column, and values that are the same in each
diagnosis  ``diagnose``, one tensor, and ``common_factor`` for all of them
"""

from xpdl.gradcheck.function.causes.blocks import block_only
from xpdl.gradcheck.function.causes.diagnosis import common_factor, diagnose
from xpdl.gradcheck.function.causes.evidence import Evidence

__all__ = ["Evidence", "block_only", "common_factor", "diagnose"]
