"""The derivatives of functions with outputs of any shape, such as the layers of a network.

vjp         check_vjp: backward passes, vjp(cotangent, *args)
jvp         check_jvp: forward passes, jvp(tangents, *args)
jacobian    check_jacobian: whole Jacobians
cotangents  a backward pass and the cotangents that callers hand out: zeros, strides, one number for all entries
linearity   a forward pass is linear in its tangents
directions  a backward and a forward pass, held against each other
batched     the library's own rule under its vmap
rounding    how far two results of one derivative may be apart
outputs     the output whose derivative is wrong
judging     check_gradient of pairings (function/pairing.py): one report for several cotangents
"""

from xpdl.gradcheck.vector.jacobian import check_jacobian
from xpdl.gradcheck.vector.jvp import check_jvp
from xpdl.gradcheck.vector.vjp import check_vjp

__all__ = ["check_jacobian", "check_jvp", "check_vjp"]
