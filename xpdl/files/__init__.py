"""Files: models, and checkpoints of runs."""
