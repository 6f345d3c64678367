"""Estimators for scikit-learn: networks of xpdl in place of ``MLPClassifier`` and ``MLPRegressor``.

An estimator only turns its parameters into an ``xpdl.Network``, an optimizer and a call of ``xpdl.train``.
"""

try:
    from xpdl.sklearn.estimators import NetworkClassifier, NetworkRegressor
except ImportError as error:
    raise ImportError('the estimators need scikit-learn 1.9 or newer: pip install "xpdl[sklearn]"') from error

__all__ = ["NetworkClassifier", "NetworkRegressor"]
