"""Diagnosis: the probable cause of a wrong gradient."""


def diagnose(at, dz, parameters):
    return {}
