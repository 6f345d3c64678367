"""Replay: a training step is recorded, planned, and then repeated in the same memory."""
