"""Elementwise operations in C: one table of operations, and kernels for groups of them."""
