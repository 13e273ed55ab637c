"""Use of trained classifiers: predictions, and the outputs of layers."""
