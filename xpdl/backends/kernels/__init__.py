"""Elementwise work in C: one table of operations, and groups of operations as kernels."""
