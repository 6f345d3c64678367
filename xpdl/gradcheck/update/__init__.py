"""Update rules: what an optimizer does to numbers, and what is wrong with it.

check      ``check_update``: the findings and the verdict
report     the report of the check
subject    the optimizer under test, run on made-up histories of gradients
faults     what can be wrong whatever the rule is
measure    what single steps say of the rule
histories  histories of gradients that tell rules apart
rules      the rules of the literature, their variants, and the mistakes people make
fit        a rule and the hyper-parameters with which it makes the observed steps
identify   which rule it is
"""

from xpdl.gradcheck.update.check import check_update
from xpdl.gradcheck.update.report import UpdateReport

__all__ = ["UpdateReport", "check_update"]
