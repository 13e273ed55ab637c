"""Training: the loop, its events, the objective of a step, and checkpoints."""
