"""Check an optimizer: find the update rule that it follows, and what is wrong with it.

check      ``check_update``: the findings and the verdict
report     the report of the check
subject    the optimizer under test, run on made-up histories of gradients
faults     faults that any rule can have
coupling   which entries influence each other: layers
clipping   the clipping of gradients, with any rule behind it
trust      layer-wise rules: LAMB and LARS
measure    measurements by single steps
histories  histories of gradients that tell rules apart
rules      the rules of the literature, their variants, and the mistakes people make
fit        the hyper-parameters with which a rule makes the observed steps
identify   the choice of the rule that fits
low_precision  the steps in float16 and bfloat16
"""

from xpdl.gradcheck.update.check import check_update
from xpdl.gradcheck.update.report import UpdateReport

__all__ = ["UpdateReport", "check_update"]
