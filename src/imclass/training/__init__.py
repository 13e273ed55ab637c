"""Training: the loop and its events, the loss and gradients of a step, and checkpoints."""
