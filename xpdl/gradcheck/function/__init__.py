"""The gradient of any scalar function, as a black box.

check        ``check_gradient``: the choice of directions, and the report
blackbox     the user's functions, seen from the host
memory       what the functions keep between calls
probe        the function around theta, in natural units, and its noise
directional  derivatives along directions: complex step, central and one-sided differences, Taylor test
trust        whether the complex step is a derivative, and a second look before anything is called wrong
tensor       one tensor, entry by entry
search       one large tensor along directions, and the search for its wrong entries
causes       the probable cause of a failure
"""

from xpdl.gradcheck.function.check import check_gradient

__all__ = ["check_gradient"]
