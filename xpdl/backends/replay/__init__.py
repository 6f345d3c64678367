"""A training step is recorded once, planned, and repeated in the same memory."""
