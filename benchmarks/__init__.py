"""Benchmarks: ``python -m benchmarks.NAME``.

    peers    seconds an MNIST epoch takes here and in other libraries, side by side

A number means little on a machine that others share; so contenders run in processes of their own, in turn, and what is
reported is the median and the ratio.
"""
