"""Training: ``train``, the loop over epochs, the training step, and what belongs to them."""
