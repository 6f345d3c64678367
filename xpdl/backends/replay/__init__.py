"""A training step is written down once, planned, and repeated in the same memory."""
