"""Update rules: what an optimizer does to numbers, and what is wrong with it.

check      the entrance, and what is wrong whatever the rule
subject    the optimizer, run on made-up histories of gradients
rules      the rules of the literature, their variants, and the mistakes people make
identify   which of them it is, and its hyper-parameters
"""

from xpdl.gradcheck.update.check import UpdateReport, check_update

__all__ = ["UpdateReport", "check_update"]
