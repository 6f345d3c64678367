"""The gradient of any scalar function, as a black box.

check        ``check_gradient``: the choice of directions, and the report
arguments    trees of arrays and numbers, taken apart into named leaves
blackbox     the user's functions, seen from the host
pairing      a function of any outputs as the scalar <c, fun(*args)>
complex_numbers  how a gradient with respect to complex numbers is written
sparse       sparse gradients and arguments
low_precision  gradients in float16 and bfloat16, judged as such
constrained  arguments that must keep a property, moved along allowed directions only
autodiff     the derivatives that the library of the arguments computes itself
across       one function on several backends
second_order the derivative of a gradient
memory       what the functions keep between calls; memory_layout: arrays that lie in memory as others do
probe        the function around theta, in natural units, and its noise
directional  derivatives along directions: complex step, central and one-sided differences, Taylor test
trust        whether the complex step is a derivative, and a second look before anything is called wrong
tensor       one tensor, entry by entry
together     entries at a kink, which one choice of derivatives must explain
search       one large tensor along directions, and the way to the entries that are wrong
detection    how large an error would have failed; grants: what a second look may grant; planting: the proof on request
tolerance    what rtol grants
slope        the error of a linear model against the step, for the picture of it
causes       what is probably wrong
"""

from xpdl.gradcheck.function.check import check_gradient

__all__ = ["check_gradient"]
