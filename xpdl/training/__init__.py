"""Training: one loop over epochs, one step, and what may be asked of them."""
