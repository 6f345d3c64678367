"""Compare the same computation on several backends: where they differ, and whether one multiplies in reduced precision.

check       ``check_backends``: the choice of backends, and their verdicts
quantities  the quantities of both passes, and the error that each may have
products    how many bits of a factor reach a matrix product
report      the table
"""

from xpdl.gradcheck.parity.check import check_backends
from xpdl.gradcheck.parity.report import BackendResult, BackendsReport

__all__ = ["BackendResult", "BackendsReport", "check_backends"]
