"""Files: models, checkpoints of runs, and the trees of arrays in them."""
