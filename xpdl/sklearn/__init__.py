"""Estimators for scikit-learn: networks of xpdl in the place of ``MLPClassifier`` and ``MLPRegressor``.

An estimator makes an ``xpdl.Network``, an optimizer and a call of ``xpdl.train`` from its parameters, nothing else.
"""

try:
    from xpdl.sklearn.estimators import NetworkClassifier, NetworkRegressor
except ImportError as error:
    raise ImportError('the estimators need scikit-learn 1.9 or newer: pip install "xpdl[sklearn]"') from error

__all__ = ["NetworkClassifier", "NetworkRegressor"]
