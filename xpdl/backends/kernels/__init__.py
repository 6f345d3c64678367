"""Elementwise operations as C: one table of operations, and how a group of them becomes one kernel."""
