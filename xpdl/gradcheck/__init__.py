"""The gradient checker: is a derivative right, and if not, what is wrong?  It also knows its own error.

function   check_gradient: the gradient of any scalar function
vector     check_vjp, check_jvp, check_jacobian: functions with outputs of any shape
network    check_network: the gradient of a network
update     check_update: an optimizer, against the rules of the literature
parity     check_backends: the same computation on several backends
report     verdicts, and the table; notebook: the same as HTML
problem    a network at a point, for network/ and parity/
linearity  whether an activation is linear near z, for network/ and parity/
demo       ``xpdl check --demo``
"""

from xpdl.gradcheck.function import check_gradient
from xpdl.gradcheck.network import check_network
from xpdl.gradcheck.parity import BackendsReport, check_backends
from xpdl.gradcheck.report import GradientError, Report
from xpdl.gradcheck.update import UpdateReport, check_update
from xpdl.gradcheck.vector import check_jacobian, check_jvp, check_vjp

__all__ = [
    "BackendsReport",
    "GradientError",
    "Report",
    "UpdateReport",
    "check_backends",
    "check_gradient",
    "check_jacobian",
    "check_jvp",
    "check_network",
    "check_update",
    "check_vjp",
]
