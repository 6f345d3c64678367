"""scikit-learn estimators: networks of xpdl where ``MLPClassifier`` and ``MLPRegressor`` would stand.

An estimator turns its parameters into an ``xpdl.Network``, an optimizer and a call of ``xpdl.train``, and nothing else.
"""

try:
    from xpdl.sklearn.estimators import NetworkClassifier, NetworkRegressor
except ImportError as error:
    raise ImportError('the estimators need scikit-learn 1.9 or newer: pip install "xpdl[sklearn]"') from error

__all__ = ["NetworkClassifier", "NetworkRegressor"]
